//! A well-behaved client: it asks for /healthz ten times a second, over a new connection each time.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use recountd::clock;

use super::line::Line;

/// From one question to the next.
const EVERY: Duration = Duration::from_millis(100);

/// Who has no answer after this takes the daemon for dead.
const PATIENCE: Duration = Duration::from_secs(2);

/// What became of the questions.
#[derive(Debug, Default)]
pub struct Heard {
    /// How long each that was answered well took, in microseconds.
    pub micros: Vec<u32>,
    /// Those that were not.
    pub refused: u64,
}

pub fn over_tcp(address: SocketAddr, until: Instant) -> Heard {
    let request = request(&address.to_string());
    probe(until, || {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Line::new(stream).ask(&request)
    })
}

pub fn over_unix(path: &Path, until: Instant) -> Heard {
    let request = request("localhost");
    probe(until, || {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Line::new(stream).ask(&request)
    })
}

fn request(host: &str) -> Vec<u8> {
    format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").into_bytes()
}

fn probe(until: Instant, ask: impl Fn() -> io::Result<u16>) -> Heard {
    let mut heard = Heard::default();
    let mut next = clock::monotonic();
    while next < until {
        thread::sleep(next.saturating_duration_since(clock::monotonic()));
        let begun = clock::monotonic();
        match ask() {
            Ok(200) => {
                let took = clock::monotonic() - begun;
                heard.micros.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
            }
            _ => heard.refused += 1,
        }
        next = (next + EVERY).max(clock::monotonic());
    }
    heard
}
