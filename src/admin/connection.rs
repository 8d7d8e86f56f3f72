//! Serves one connection: requests in, replies out, each by its deadline. The only file, with its folder,
//! that names the library that parses and frames; sockets, threads and time are ours.

mod values;

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use http_net::{BodyPlan, Limits as Framing, Method as Name, Progress, ServerConn, ServerEvent};

use self::values::{Expectation, by_hand, refusal, response, whole};
use super::Service;
use super::crowd::Seat;
use super::http::{Body, Chunks, Reply, Request};
use super::problem::Problem;
use super::socket::{Heard, Socket};
use crate::clock;

/// Serves until the client leaves, runs out of time, or does what ends a connection.
pub(super) fn serve(seat: &Seat, service: &Service) {
    let limits = &service.limits;
    let framing = Framing::new()
        .with_max_start_line(limits.start_line)
        .with_max_header_bytes(limits.header_bytes)
        .with_max_headers(limits.headers)
        .with_max_body(limits.body as u64);
    let mut conn = ServerConn::with_limits(framing);
    // There are tokens in what was read.
    conn.set_wipe(true);
    let mut connection = Connection { seat, service, conn, out: Vec::new() };
    if connection.converse().is_ok() {
        connection.linger();
    }
}

/// Turns somebody away without waiting for anything.
pub(super) fn turn_away(socket: &Socket, problem: Problem) {
    if socket.write_now(&by_hand(problem, true)).is_ok() {
        socket.see_off(None);
    }
}

/// There is nobody left to talk to, or nothing that could still be said.
struct Gone;

enum Next {
    Whole(Request),
    Refused(Problem),
    /// Refused before the library has a request that it could answer.
    Slow,
}

struct Connection<'a> {
    seat: &'a Seat,
    service: &'a Service,
    conn: ServerConn,
    out: Vec<u8>,
}

impl Connection<'_> {
    /// Answers request after request; well if the connection is to be closed from our side.
    fn converse(&mut self) -> Result<(), Gone> {
        let patience = &self.service.limits.patience;
        let mut wait = patience.first;
        loop {
            self.seat.waits();
            self.conn.shrink_idle();
            let reply = match self.next(wait)? {
                Next::Whole(request) => {
                    self.seat.works();
                    self.answer(&request)
                }
                Next::Refused(problem) => problem.into(),
                Next::Slow => return self.give_up(),
            };
            if self.seat.is_to_end() {
                self.conn.set_keep_alive(false);
            }
            self.seat.replies();
            self.send(reply)?;
            if self.conn.progress() == Progress::Closed {
                return Ok(());
            }
            wait = patience.idle;
        }
    }

    /// Reads the next request to its end, or as far as it takes to refuse it.
    fn next(&mut self, wait: Duration) -> Result<Next, Gone> {
        let begins_by = clock::monotonic() + wait;
        let mut ends_by = None;
        let mut request = None;
        loop {
            let found = match self.conn.poll() {
                Ok(ServerEvent::Request(head)) => {
                    Some(values::head(&head, self.seat.socket.peer()))
                }
                Ok(ServerEvent::Body(bytes)) => {
                    let body = request.as_mut().map(|request: &mut Request| &mut request.body);
                    body.ok_or(Gone)?.extend_from_slice(bytes);
                    continue;
                }
                Ok(ServerEvent::RequestEnd) => match request.take() {
                    Some(whole) => return Ok(Next::Whole(whole)),
                    // The end of one that was refused by its head.
                    None => continue,
                },
                Ok(ServerEvent::NeedInput) => None,
                Ok(_) => return Err(Gone),
                Err(error) => return refusal(error).map(Next::Refused).ok_or(Gone),
            };
            match found {
                Some((head, expects)) => match self.admit(head, &expects)? {
                    Ok(head) => request = Some(head),
                    Err(problem) => return Ok(Next::Refused(problem)),
                },
                None if self.read(begins_by, &mut ends_by)? => {}
                None => return Ok(Next::Slow),
            }
        }
    }

    /// Decides on a request by its head, so that nobody sends a body for nothing.
    fn admit(
        &mut self,
        mut request: Request,
        expects: &Expectation,
    ) -> Result<Result<Request, Problem>, Gone> {
        if let Err(problem) = self.service.door.admit(&request) {
            // Who shows none may be a page that is about to ask for it.
            if problem.kind() == "token" && request.header("authorization").is_some() {
                self.service.rebuffs.note(self.seat.socket.address());
            }
            return Ok(Err(problem));
        }
        request.forget("authorization");
        match expects {
            Expectation::None => {}
            Expectation::Continue => {
                self.out.clear();
                // It fails where the body is there already; then nobody waits for this.
                if self.conn.send_continue(&mut self.out).is_ok() {
                    self.flush(&[])?;
                }
            }
            Expectation::Unknown => {
                let detail = "the only expectation that is met is `100-continue`";
                return Ok(Err(Problem::new(417, "expectation", "Unknown expectation", detail)));
            }
            Expectation::Tunnel => {
                let detail = "this is no proxy: there is no CONNECT";
                return Ok(Err(Problem::new(501, "not-implemented", "Not implemented", detail)));
            }
        }
        Ok(Ok(request))
    }

    /// Reads once; false if a request that has begun was not there in time.
    fn read(&mut self, begins_by: Instant, ends_by: &mut Option<Instant>) -> Result<bool, Gone> {
        let request = self.service.limits.patience.request;
        if ends_by.is_none() && self.conn.progress() != Progress::Idle {
            *ends_by = Some(clock::monotonic() + request);
        }
        let heard = self.seat.socket.read_by(ends_by.unwrap_or(begins_by), self.conn.read_buf());
        match heard.map_err(|_| Gone)? {
            Heard::Bytes(count) => {
                self.conn.commit(count);
                ends_by.get_or_insert_with(|| clock::monotonic() + request);
            }
            Heard::End => self.conn.feed_eof(),
            Heard::Nothing if ends_by.is_some() => return Ok(false),
            Heard::Nothing => return Err(Gone),
        }
        Ok(true)
    }

    fn answer(&self, request: &Request) -> Reply {
        let handler = AssertUnwindSafe(|| (self.service.handler)(request));
        let what = || format!("admin: {:?} {}", request.method, request.path);
        match panic::catch_unwind(handler) {
            Ok(reply) if (200..600).contains(&reply.status) => return reply,
            Ok(reply) => log::error!("{}: {} is no status of a reply", what(), reply.status),
            Err(payload) => {
                log::error!("{}: a defect in recountd: {}", what(), words_of(&*payload));
            }
        }
        Problem::internal().into()
    }

    fn send(&mut self, reply: Reply) -> Result<(), Gone> {
        let is_head = self.conn.request().is_some_and(|r| r.method() == Name::Head);
        let head = response(reply.status, &reply.headers);
        let mut share = None;
        let (response, chunks) = match reply.body {
            Body::Whole(bytes) if is_head => (head.body(bytes), None),
            Body::Whole(bytes) => {
                share = self.service.room.take(bytes.len());
                match share {
                    Some(_) => (head.body(bytes), None),
                    None => (whole(no_room()), None),
                }
            }
            Body::Stream(chunks) if is_head || self.seat.streams() => {
                (head.chunked(), Some(chunks))
            }
            Body::Stream(_) => {
                let limit = self.service.limits.streams;
                let detail = format!("{limit} event streams are open, and no more can be");
                (whole(Problem::busy(detail)), None)
            }
        };
        self.out.clear();
        let begun = self.conn.respond_head_only(&response, &mut self.out);
        let (plan, response) = match begun {
            Ok(plan) => (plan, response),
            Err(error) => {
                log::error!("admin: a reply of {} cannot be sent: {error}", response.status());
                let response = whole(Problem::internal());
                let begun = self.conn.respond_head_only(&response, &mut self.out);
                (begun.map_err(|_| Gone)?, response)
            }
        };
        let body = response.body_bytes().filter(|_| plan == BodyPlan::Raw).unwrap_or_default();
        self.flush(body)?;
        drop(share);
        match chunks.filter(|_| response.body_bytes().is_none()) {
            Some(chunks) if !is_head => self.send_chunks(chunks),
            Some(_) => self.end_stream(),
            None => Ok(()),
        }
    }

    fn send_chunks(&mut self, mut chunks: Chunks) -> Result<(), Gone> {
        while !self.seat.is_to_end() {
            let next = panic::catch_unwind(AssertUnwindSafe(|| chunks.next()));
            let Some(chunk) = next.map_err(|payload| {
                // The client sees a body without an end, as it should.
                log::error!("admin: a stream: a defect in recountd: {}", words_of(&*payload));
                Gone
            })?
            else {
                break;
            };
            self.out.clear();
            // One for whom there is no room is cut off, and may come back to begin anew.
            let share = self.service.room.take(chunk.len()).ok_or(Gone)?;
            self.conn.send_body(&chunk, &mut self.out).map_err(|_| Gone)?;
            self.flush(&[])?;
            drop(share);
            self.look_after_client()?;
        }
        self.end_stream()
    }

    fn end_stream(&mut self) -> Result<(), Gone> {
        self.out.clear();
        self.conn.end_body(&mut self.out).map_err(|_| Gone)?;
        self.flush(&[])
    }

    /// Notices that a client has left, for which a write alone may take two chunks.
    fn look_after_client(&mut self) -> Result<(), Gone> {
        let buffer = self.conn.read_buf();
        if buffer.is_empty() {
            return Ok(());
        }
        match self.seat.socket.read_now(buffer) {
            Ok(Heard::Bytes(count)) => self.conn.commit(count),
            Ok(Heard::Nothing) => {}
            Ok(Heard::End) | Err(_) => return Err(Gone),
        }
        Ok(())
    }

    /// Sends `out` and what comes after it.
    fn flush(&mut self, more: &[u8]) -> Result<(), Gone> {
        let limits = &self.service.limits;
        // Somebody may be waiting for this thread.
        let to_end = self.seat.is_to_end();
        let bytes = self.out.len() + more.len();
        let wait = if to_end { limits.patience.stuck } else { limits.time_for(bytes) };
        let (deadline, socket) = (clock::monotonic() + wait, &self.seat.socket);
        let sent = socket.write_by(deadline, &self.out);
        sent.and_then(|()| socket.write_by(deadline, more)).map_err(|_| Gone)
    }

    /// Says that the request took too long. The library has none yet that it could answer.
    fn give_up(&mut self) -> Result<(), Gone> {
        let is_head = self.conn.request().is_some_and(|r| r.method() == Name::Head);
        let within = self.service.limits.patience.request;
        let detail = format!("the request was not complete within {within:?}");
        let slow = Problem::new(408, "slow", "Request too slow", detail);
        self.out = by_hand(slow, !is_head);
        self.flush(&[])
    }

    /// Ends the connection from our side. Who waits outside does not wait for this.
    fn linger(&self) {
        self.seat.waits();
        let until = clock::monotonic() + self.service.limits.patience.linger;
        self.seat.socket.see_off(Some(until));
    }
}

fn no_room() -> Problem {
    Problem::busy("other clients are still reading large replies; try again in a second")
}

fn words_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
}
