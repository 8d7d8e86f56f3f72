//! How many are in at once: a bounded number of threads, each with one connection. When all are taken,
//! who has waited longest without having sent a whole request makes room for who comes next; if there
//! is nobody like that, who does not take the reply.

use std::collections::{BTreeMap, VecDeque};
use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::limits::Limits;
use super::socket::Socket;
use crate::clock;

/// How long a thread may need to notice that its connection has ended, or its reply been taken.
const BREATH: Duration = Duration::from_millis(100);

/// The connections of one listener.
pub(super) struct Crowd {
    connections: usize,
    streams: usize,
    stuck: Duration,
    inside: Mutex<Inside>,
    changed: Condvar,
}

#[derive(Default)]
struct Inside {
    places: BTreeMap<u64, Place>,
    /// Those for whom somebody was pushed out whose thread has not ended yet: never more than that.
    next: VecDeque<Socket>,
    threads: usize,
    entered: u64,
    closed: bool,
}

struct Place {
    socket: Arc<Socket>,
    doing: Doing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// It has not sent a whole request since.
    Waiting(Instant),
    /// Its request is being answered.
    Working,
    /// Its reply is being sent since.
    Replying(Instant),
    /// Its reply goes on and on.
    Streaming,
    /// It made room, and gets the answer to what it has sent in full, if it has, and no more.
    PushedOut,
}

/// What becomes of a connection that comes in.
pub(super) enum Entry {
    /// It needs a new thread, which begins with this.
    Thread(Seat),
    /// A thread that is about to be free takes it.
    Queued,
    /// Everybody inside is being answered.
    Full(Socket),
    /// Nobody is let in any more.
    Closed,
}

/// A connection that is in, and the thread that it has.
pub(super) struct Seat {
    pub(super) socket: Arc<Socket>,
    number: u64,
    crowd: Arc<Crowd>,
    left: bool,
}

impl Crowd {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let (connections, streams) = (limits.connections.max(1), limits.streams);
        let stuck = limits.patience.stuck;
        Arc::new(Self {
            connections,
            streams,
            stuck,
            inside: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Lets a connection in, for whom somebody may have to go. It waits for no client; for threads
    /// of ours that are about to be free, a moment.
    pub(super) fn enter(self: &Arc<Self>, socket: Socket) -> Entry {
        let until = clock::monotonic() + BREATH;
        let mut inside = self.inside();
        loop {
            if inside.closed {
                return Entry::Closed;
            }
            if inside.threads < self.connections {
                inside.threads += 1;
                return Entry::Thread(self.seat(&mut inside, socket));
            }
            if inside.push_out(self.stuck) {
                inside.next.push_back(socket);
                return Entry::Queued;
            }
            let left = until.saturating_duration_since(clock::monotonic());
            if left.is_zero() || !inside.is_about_to_change() {
                break;
            }
            let waited = self.changed.wait_timeout(inside, left);
            inside = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        // Those in the queue have not sent a request either, as far as anybody has looked.
        if inside.next.pop_front().is_some() {
            inside.next.push_back(socket);
            return Entry::Queued;
        }
        Entry::Full(socket)
    }

    /// Ends every connection, whatever it is at.
    pub(super) fn close(&self) {
        let mut inside = self.inside();
        inside.closed = true;
        inside.next.clear();
        self.changed.notify_all();
        inside.places.values().for_each(|place| place.socket.shut(Shutdown::Both));
    }

    fn seat(self: &Arc<Self>, inside: &mut Inside, socket: Socket) -> Seat {
        let (socket, number) = (Arc::new(socket), inside.entered);
        inside.entered += 1;
        let doing = Doing::Waiting(clock::monotonic());
        inside.places.insert(number, Place { socket: Arc::clone(&socket), doing });
        Seat { socket, number, crowd: Arc::clone(self), left: false }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn is_about_to_change(&self) -> bool {
        let ends = |doing| matches!(doing, Doing::Replying(_) | Doing::PushedOut);
        self.places.values().any(|place| ends(place.doing))
    }

    /// Makes the one leave who waits longest, or else who has not taken its reply for longest; false
    /// if there is neither. Of one who waits, only what it could still send is cut off: a request
    /// that has arrived in full, and was only not read yet, is answered.
    fn push_out(&mut self, stuck: Duration) -> bool {
        let now = clock::monotonic();
        let makes_room = |(_, place): &(&u64, &Place)| match place.doing {
            Doing::Waiting(since) => Some((Shutdown::Read, since)),
            Doing::Replying(since) if now.saturating_duration_since(since) >= stuck => {
                Some((Shutdown::Both, since))
            }
            _ => None,
        };
        let candidates = self.places.iter().filter_map(|entry| {
            let (how, since) = makes_room(&entry)?;
            Some((how == Shutdown::Both, since, *entry.0, how))
        });
        let chosen =
            candidates.min_by_key(|(is_stuck, since, number, _)| (*is_stuck, *since, *number));
        let Some((_, _, number, how)) = chosen else { return false };
        if let Some(place) = self.places.get_mut(&number) {
            place.doing = Doing::PushedOut;
            place.socket.shut(how);
        }
        true
    }
}

impl Seat {
    /// It waits for a request, or for the client to leave.
    pub(super) fn waits(&self) {
        self.changes(Doing::Waiting(clock::monotonic()));
    }

    /// It has sent a whole request.
    pub(super) fn works(&self) {
        self.changes(Doing::Working);
    }

    /// Its reply is being sent.
    pub(super) fn replies(&self) {
        self.changes(Doing::Replying(clock::monotonic()));
    }

    /// Whether its reply may go on and on; false if too many do.
    pub(super) fn streams(&self) -> bool {
        let mut inside = self.crowd.inside();
        let streams = inside.places.values().filter(|p| p.doing == Doing::Streaming).count();
        let Some(place) = inside.places.get_mut(&self.number) else { return false };
        // Who was pushed out has somebody waiting for its thread.
        let granted = streams < self.crowd.streams && place.doing != Doing::PushedOut;
        if granted {
            place.doing = Doing::Streaming;
        }
        granted
    }

    /// Whether this connection is to end after what it is at.
    pub(super) fn is_to_end(&self) -> bool {
        let inside = self.crowd.inside();
        let place = inside.places.get(&self.number);
        inside.closed || place.is_none_or(|place| place.doing == Doing::PushedOut)
    }

    /// Leaves; the thread goes on with who is next, or ends if there is nobody.
    pub(super) fn leave(mut self) -> Option<Self> {
        self.left = true;
        let mut inside = self.crowd.inside();
        inside.places.remove(&self.number);
        self.crowd.changed.notify_all();
        if let Some(next) = inside.next.pop_front() {
            return Some(self.crowd.seat(&mut inside, next));
        }
        inside.threads = inside.threads.saturating_sub(1);
        None
    }

    fn changes(&self, to: Doing) {
        let mut inside = self.crowd.inside();
        if let Some(place) = inside.places.get_mut(&self.number)
            && place.doing != Doing::PushedOut
        {
            place.doing = to;
            self.crowd.changed.notify_all();
        }
    }
}

/// A thread that could not be started takes nobody else.
impl Drop for Seat {
    fn drop(&mut self) {
        if !self.left {
            let mut inside = self.crowd.inside();
            inside.places.remove(&self.number);
            inside.threads = inside.threads.saturating_sub(1);
            if inside.threads == 0 {
                inside.next.clear();
            }
        }
    }
}
