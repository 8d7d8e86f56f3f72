//! Clients that take their time: each is looked at ten times a second, by a thread that many of them share.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use recountd::clock;

use super::{Way, count};

/// From one look at a client to the next.
const TURN: Duration = Duration::from_millis(100);

/// The looks of a turn are spread over so many slices, or all clients would come at the same moment.
const SLICES: u32 = 10;

/// How long a connection may take to be made; meanwhile the other clients of the thread wait.
const CONNECT: Duration = Duration::from_millis(50);

/// What a slow reader takes in one turn.
const SIP: usize = 256;

/// How they behave.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It sends nothing.
    Idle,
    /// It sends a byte of a request in each turn.
    Slow,
    /// It watches the events, and reads little in each turn.
    Watch,
}

struct Client {
    stream: TcpStream,
    sent: usize,
}

/// Lets so many clients go on for ever.
pub fn go(way: &Way, manner: Manner, clients: usize, number: usize) {
    let path = if manner == Manner::Watch { "/v1/events" } else { "/v1/jobs" };
    let request = way.request("GET", path, "");
    let mut clients: Vec<Option<Client>> = (0..clients).map(|_| None).collect();
    let slice = clients.len().div_ceil(SLICES as usize);
    // The threads come one after the other, as the slices do.
    let offset = Duration::from_micros(1_250) * u32::try_from(number).unwrap_or_default();
    let mut next = clock::monotonic() + offset;
    loop {
        for slice in clients.chunks_mut(slice) {
            thread::sleep(next.saturating_duration_since(clock::monotonic()));
            for client in slice {
                *client = match client.take() {
                    None => come(way, manner, &request),
                    Some(client) => go_on(client, manner, &request),
                };
            }
            // A turn that took too long is not made up for.
            next = (next + TURN / SLICES).max(clock::monotonic());
        }
    }
}

fn come(way: &Way, manner: Manner, request: &[u8]) -> Option<Client> {
    let Ok(mut stream) = TcpStream::connect_timeout(&way.address, CONNECT) else {
        count(&way.counts.unconnected);
        return None;
    };
    count(&way.counts.connected);
    stream.set_nodelay(true).ok()?;
    if manner == Manner::Watch {
        stream.write_all(request).ok()?;
    }
    stream.set_nonblocking(true).ok()?;
    Some(Client { stream, sent: 0 })
}

/// One turn; none if the daemon has dropped it.
fn go_on(mut client: Client, manner: Manner, request: &[u8]) -> Option<Client> {
    let mut scratch = [0; SIP];
    match client.stream.read(&mut scratch) {
        Ok(0) => return None,
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(_) => return None,
    }
    if manner == Manner::Slow {
        let byte = request.get(client.sent..=client.sent)?;
        client.sent += client.stream.write(byte).ok()?;
    }
    Some(client)
}
