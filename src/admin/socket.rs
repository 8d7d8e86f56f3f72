//! A connection's socket, Unix or TCP, as the rest of the module sees it: reads and writes that end at
//! a moment, and an end that another thread can bring about.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::http::Peer;
use crate::clock;

/// Bytes that are read and thrown away at most from somebody whose connection is being closed.
const LAST_WORDS: usize = 512 * 1024;
/// Bytes that are handed to the system at once. It begins its time-out anew with each buffer of a Unix
/// socket that the client empties, so a long write would last for as long as somebody reads a little.
const SLICE: usize = 64 * 1024;

/// An accepted connection.
#[derive(Debug)]
pub(super) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Bytes(usize),
    /// Nothing until the deadline.
    Nothing,
    /// The client has left, or said that it sends nothing more.
    End,
}

impl Socket {
    pub(super) const fn peer(&self) -> Peer {
        match self {
            Self::Unix(_) => Peer::Unix,
            Self::Tcp(_) => Peer::Tcp,
        }
    }

    /// Who is at the other end, where that has an address.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp(s) => s.peer_addr().ok(),
        }
    }

    /// Reads what is there, or waits for it until the deadline.
    pub(super) fn read_by(&self, deadline: Instant, buffer: &mut [u8]) -> io::Result<Heard> {
        loop {
            let Some(left) = left(deadline) else { return Ok(Heard::Nothing) };
            match self {
                Self::Unix(s) => s.set_read_timeout(Some(left)),
                Self::Tcp(s) => s.set_read_timeout(Some(left)),
            }?;
            match self.read(buffer) {
                Ok(0) => return Ok(Heard::End),
                Ok(count) => return Ok(Heard::Bytes(count)),
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads what has arrived already.
    pub(super) fn read_now(&self, buffer: &mut [u8]) -> io::Result<Heard> {
        self.set_nonblocking(true)?;
        let heard = loop {
            match self.read(buffer) {
                Ok(0) => break Ok(Heard::End),
                Ok(count) => break Ok(Heard::Bytes(count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => break Ok(Heard::Nothing),
                Err(error) => break Err(error),
            }
        };
        self.set_nonblocking(false)?;
        heard
    }

    /// Writes all of it, or fails at the deadline.
    pub(super) fn write_by(&self, deadline: Instant, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let left = left(deadline).ok_or(ErrorKind::TimedOut)?;
            let slice = bytes.get(..SLICE).unwrap_or(bytes);
            let written = match self {
                Self::Unix(s) => {
                    s.set_write_timeout(Some(left)).and_then(|()| (&mut &*s).write(slice))
                }
                Self::Tcp(s) => {
                    s.set_write_timeout(Some(left)).and_then(|()| (&mut &*s).write(slice))
                }
            };
            match written {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes what goes out without waiting.
    pub(super) fn write_now(&self, bytes: &[u8]) -> io::Result<()> {
        self.set_nonblocking(true)?;
        match self {
            Self::Unix(s) => (&mut &*s).write_all(bytes),
            Self::Tcp(s) => (&mut &*s).write_all(bytes),
        }
    }

    /// Closes so that the client can read what was sent last: closing over unread bytes would reset
    /// the connection. Waits until the client has closed as well, or for what has arrived already.
    pub(super) fn see_off(&self, until: Option<Instant>) {
        self.shut(Shutdown::Write);
        let (mut scratch, mut left) = ([0; 4096], LAST_WORDS);
        while left > 0 {
            let heard = match until {
                Some(until) => self.read_by(until, &mut scratch),
                None => self.read_now(&mut scratch),
            };
            let Ok(Heard::Bytes(count)) = heard else { return };
            left = left.saturating_sub(count);
        }
    }

    /// Ends one direction or both, for whoever reads or writes at this moment as well. A socket
    /// that has ended already is none the worse for it.
    pub(super) fn shut(&self, how: Shutdown) {
        let _ended_already = match self {
            Self::Unix(s) => s.shutdown(how),
            Self::Tcp(s) => s.shutdown(how),
        };
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(s) => (&mut &*s).read(buffer),
            Self::Tcp(s) => (&mut &*s).read(buffer),
        }
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Self::Unix(s) => s.set_nonblocking(nonblocking),
            Self::Tcp(s) => s.set_nonblocking(nonblocking),
        }
    }
}

/// What is left until the deadline; none if it is over. A time-out of 0 would mean none at all, and
/// the system counts in microseconds.
fn left(deadline: Instant) -> Option<Duration> {
    let left = deadline.saturating_duration_since(clock::monotonic());
    (!left.is_zero()).then(|| left.max(Duration::from_micros(100)))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
