//! Another client of Redis, that only wants to hear a PONG, again and again.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::figures::Lateness;

/// A PING is due each millisecond.
const EVERY: Duration = Duration::from_millis(1);

/// The client at work.
pub struct Pinging {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u32>>,
}

impl Pinging {
    /// Starts it, on a connection of its own to the Redis on this port. It waits for a reply as long as it takes.
    pub fn start(port: u16) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("Redis listens");
        stream.set_nodelay(true).expect("TCP takes the option");
        ping(&mut stream);
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || ping_until(&stop, &mut stream)
        });
        Self { stop, thread }
    }

    /// Ends it, once it has its last reply, and says how long it had to wait for them.
    pub fn stop(self) -> Lateness {
        self.stop.store(true, Ordering::Relaxed);
        let waits = self.thread.join().expect("Redis goes on answering");
        Lateness::of(waits).expect("there was at least one PING")
    }
}

/// The waits in microseconds.
fn ping_until(stop: &AtomicBool, stream: &mut TcpStream) -> Vec<u32> {
    let mut waits = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        ping(stream);
        let mut wait = begin.elapsed();
        thread::sleep(EVERY.saturating_sub(wait));
        // Those that were due while this one waited would have waited for the rest of its time.
        loop {
            waits.push(u32::try_from(wait.as_micros()).unwrap_or(u32::MAX));
            if wait <= EVERY {
                break;
            }
            wait -= EVERY;
        }
    }
    waits
}

fn ping(stream: &mut TcpStream) {
    let mut reply = [0; 7];
    stream.write_all(b"PING\r\n").expect("Redis takes commands");
    stream.read_exact(&mut reply).expect("Redis answers");
    assert_eq!(&reply, b"+PONG\r\n", "Redis answers PING");
}
