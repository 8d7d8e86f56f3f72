//! A TCP proxy that does to a connection what networks do: cut it after so many bytes, hold what is on its way,
//! deliver it late. It can wait for a word in the requests, so that a fault comes exactly where a test wants it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A way through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From recountd to the server.
    Requests,
    /// From the server to recountd.
    Replies,
}

/// What the proxy does when a trap is sprung.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Holds what comes this way, the request that sprang the trap included, until [`Proxy::release`] or
    /// [`Proxy::cut`].
    Hold(Way),
    /// Lets so many bytes more pass this way, counted from the request that sprang the trap, and then cuts the
    /// connection in both ways.
    Cut(Way, u64),
}

/// A proxy in front of a server on this machine. It lets everything pass until it is told otherwise.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: u16,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    trap: Option<Trap>,
    /// By [`Way`].
    holds: [bool; 2],
    /// How many bytes wait because of `holds`.
    held: [usize; 2],
    passed: [u64; 2],
    cut: Option<(Way, u64)>,
    delay: Duration,
    /// Counts the calls of [`Proxy::cut`], which end every connection that was made before.
    age: u64,
    /// Both ends of the open connections, by the number of the connection.
    streams: Vec<(u64, TcpStream)>,
    connections: u64,
    closed: bool,
}

struct Trap {
    word: &'static str,
    left: u64,
    fault: Fault,
}

impl Proxy {
    /// A proxy in front of the server on this port of the loopback.
    pub fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared { server, state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Self { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.lock().connections
    }

    /// Bytes passed on so far, over all connections.
    pub fn passed(&self, way: Way) -> u64 {
        self.shared.lock().passed[way as usize]
    }

    /// Lets so many bytes more pass this way, and then cuts the connection in both ways; once.
    pub fn cut_after(&self, way: Way, bytes: u64) {
        self.shared.lock().cut = Some((way, bytes));
    }

    /// Does this as soon as a request contains `word` for the `nth` time from now; once.
    pub fn trap(&self, word: &'static str, nth: u64, fault: Fault) {
        assert!(nth > 0 && !word.is_empty(), "there is no such request");
        self.shared.lock().trap = Some(Trap { word, left: nth, fault });
    }

    /// Whether the trap was sprung, or none was set.
    pub fn sprung(&self) -> bool {
        self.shared.lock().trap.is_none()
    }

    /// Holds from now on what comes this way.
    pub fn hold(&self, way: Way) {
        self.shared.lock().holds[way as usize] = true;
    }

    /// Whether bytes are held this way now.
    pub fn is_holding(&self, way: Way) -> bool {
        let state = self.shared.lock();
        state.holds[way as usize] && state.held[way as usize] > 0
    }

    /// Waits until bytes are held this way.
    #[track_caller]
    pub fn wait_until_held(&self, way: Way, deadline: Duration) {
        let until = Instant::now() + deadline;
        let mut state = self.shared.lock();
        while state.held[way as usize] == 0 {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing was held ({way:?}) within {deadline:?}");
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Delivers what is held and holds no more; also when nobody waits for the answer any longer.
    pub fn release(&self) {
        self.shared.lock().holds = [false; 2];
        self.shared.changed.notify_all();
    }

    /// From now on each piece of a reply comes later by this.
    pub fn delay(&self, by: Duration) {
        self.shared.lock().delay = by;
    }

    /// Cuts every connection now; what is held is lost. New connections pass.
    pub fn cut(&self) {
        let mut state = self.shared.lock();
        state.age += 1;
        state.holds = [false; 2];
        for (_, stream) in state.streams.drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
        self.shared.changed.notify_all();
    }

    /// Forgets every trap, hold and delay; what is held is delivered.
    pub fn pass(&self) {
        let mut state = self.shared.lock();
        (state.trap, state.cut, state.delay) = (None, None, Duration::ZERO);
        drop(state);
        self.release();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.cut();
        // The thread that accepts is woken by a last connection, and ends.
        TcpStream::connect(("127.0.0.1", self.port)).ok();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().flatten() {
            if self.lock().closed {
                return;
            }
            // A server that is down refuses; through a proxy that shows as a connection that ends at once.
            let Ok(server) = TcpStream::connect(("127.0.0.1", self.server)) else { continue };
            client.set_nodelay(true).ok();
            server.set_nodelay(true).ok();
            let mut state = self.lock();
            state.connections += 1;
            let number = state.connections;
            state.streams.extend([&client, &server].map(|stream| (number, copy(stream))));
            let age = state.age;
            drop(state);
            for (way, from, to) in [
                (Way::Requests, copy(&client), copy(&server)),
                (Way::Replies, copy(&server), copy(&client)),
            ] {
                let shared = Arc::clone(&self);
                thread::spawn(move || {
                    shared.pump(way, age, from, to);
                    if way == Way::Replies {
                        shared.lock().streams.retain(|(of, _)| *of != number);
                    }
                });
            }
        }
    }

    /// Passes on what comes one way of one connection, until it ends.
    fn pump(&self, way: Way, age: u64, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = [0; 16 * 1024];
        // The end of what came before: a word may come in two pieces.
        let mut tail = Vec::new();
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let chunk = &bytes[..count];
            let (passing, cut) = match self.admit(way, age, chunk, &mut tail) {
                Some(admitted) => admitted,
                None => break,
            };
            // A client that has gone does not keep the server from reading the rest, nor the other way round.
            to.write_all(&chunk[..passing]).ok();
            if cut {
                from.shutdown(Shutdown::Both).ok();
                to.shutdown(Shutdown::Both).ok();
                return;
            }
        }
        to.shutdown(Shutdown::Write).ok();
    }

    /// Waits until a chunk may pass; says how much of it, and whether that is the end of the connection. `None`: the
    /// connection was cut meanwhile.
    fn admit(&self, way: Way, age: u64, chunk: &[u8], tail: &mut Vec<u8>) -> Option<(usize, bool)> {
        let at = way as usize;
        let mut state = self.lock();
        if way == Way::Requests {
            state.look_for_the_word(chunk, tail);
        }
        let delay = if way == Way::Replies { state.delay } else { Duration::ZERO };
        if !delay.is_zero() {
            drop(state);
            thread::sleep(delay);
            state = self.lock();
        }
        state.held[at] += chunk.len();
        self.changed.notify_all();
        while state.holds[at] && state.age == age {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.held[at] -= chunk.len();
        if state.age != age {
            return None;
        }
        let (passing, cut) = match &mut state.cut {
            Some((cut_way, left)) if *cut_way == way => {
                let passing = chunk.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= passing as u64;
                (passing, *left == 0)
            }
            _ => (chunk.len(), false),
        };
        if cut {
            state.cut = None;
        }
        state.passed[at] += passing as u64;
        Some((passing, cut))
    }
}

impl State {
    fn look_for_the_word(&mut self, chunk: &[u8], tail: &mut Vec<u8>) {
        let Some(trap) = &mut self.trap else { return tail.clear() };
        let word = trap.word.as_bytes();
        tail.extend_from_slice(chunk);
        let seen = tail.windows(word.len()).filter(|window| *window == word).count() as u64;
        // What was counted must not be counted again.
        let keep = if seen > 0 { 0 } else { tail.len().min(word.len() - 1) };
        tail.drain(..tail.len() - keep);
        trap.left = trap.left.saturating_sub(seen);
        if trap.left == 0 {
            match trap.fault {
                Fault::Hold(way) => self.holds[way as usize] = true,
                Fault::Cut(way, bytes) => self.cut = Some((way, bytes)),
            }
            self.trap = None;
        }
    }
}

fn copy(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a descriptor is left")
}
