//! Binds the sockets that the control plane listens on, and accepts connections.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use thiserror::Error;

use super::socket::Socket;
use super::unix::{self, Identity};
pub use crate::config::Address;

/// Why nobody listens there.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The system has no room for such a path.
    #[error(
        "the path of the socket {} is too long: {length} bytes, and {} at most; choose a shorter one",
        path.display(), unix::LONGEST
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its bytes, or those of the place beside it in which it is made.
        length: usize,
    },
    /// Somebody answers at that socket.
    #[error("another recountd listens on {}; stop it, or give this one a path of its own", path.display())]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// Something else is there, which is never removed.
    #[error("{} is there and is no socket; remove it, or choose another path", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The folder is not there.
    #[error("the folder of the socket {} is not there; make it first", path.display())]
    NoFolder {
        /// The path.
        path: PathBuf,
    },
    /// The system does not let us make the socket, or look at the one that is there.
    #[error("cannot listen on {}: {reason}", path.display())]
    Unix {
        /// The path.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// Another process has the port.
    #[error("another process listens on {address}; stop it, or choose another port")]
    PortInUse {
        /// The address.
        address: SocketAddr,
    },
    /// No interface of this machine has the address.
    #[error("{address} is no address of this machine; `127.0.0.1:{}` is", address.port())]
    NotOurs {
        /// The address.
        address: SocketAddr,
    },
    /// The system does not let us have the port.
    #[error("cannot listen on {address}: {reason}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        reason: io::Error,
    },
}

/// A socket that listens. Dropping it removes the file of a Unix socket, if it is still ours.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Unix { listener: UnixListener, path: PathBuf, identity: Identity },
    Tcp(TcpListener),
}

impl Listener {
    /// Listens from now on. For a Unix socket this may take a second, to hear whether somebody
    /// answers at the one that is there.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn bind(address: &Address) -> Result<Self, ListenError> {
        match address {
            Address::Unix(path) => {
                let (listener, identity) = unix::bind(path)?;
                Ok(Self(Kind::Unix { listener, path: path.clone(), identity }))
            }
            Address::Tcp(address) => match TcpListener::bind(address) {
                Ok(listener) => Ok(Self(Kind::Tcp(listener))),
                Err(error) => Err(tcp_error(*address, error)),
            },
        }
    }

    /// The TCP address, with the port that the system chose if it was asked to; none for a Unix socket.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::Unix { .. } => None,
            Kind::Tcp(listener) => listener.local_addr().ok(),
        }
    }

    /// Where it listens, in words.
    pub(super) fn place(&self) -> String {
        match &self.0 {
            Kind::Unix { path, .. } => path.display().to_string(),
            Kind::Tcp(listener) => {
                listener.local_addr().map_or_else(|_| "TCP".to_owned(), |a| a.to_string())
            }
        }
    }

    /// Waits for the next connection.
    pub(super) fn accept(&self) -> io::Result<Socket> {
        match &self.0 {
            Kind::Unix { listener, .. } => listener.accept().map(|(s, _)| Socket::Unix(s)),
            Kind::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                // Without it, a reply in two writes could wait 40 ms for the client; no more than that.
                stream.set_nodelay(true).ok();
                Ok(Socket::Tcp(stream))
            }
        }
    }

    /// Lets nobody in any more and wakes whoever waits in `accept`. Linux ends the waiting when the
    /// listening socket is shut down, for which std has no method but that of a stream.
    pub(super) fn close(&self) {
        let ended = match &self.0 {
            Kind::Unix { listener, .. } => listener
                .try_clone()
                .and_then(|l| UnixStream::from(OwnedFd::from(l)).shutdown(Shutdown::Both)),
            Kind::Tcp(listener) => listener
                .try_clone()
                .and_then(|l| TcpStream::from(OwnedFd::from(l)).shutdown(Shutdown::Both)),
        };
        if let Err(error) = ended {
            log::debug!("admin: {} could not be closed: {error}", self.place());
        }
        self.remove();
    }

    fn remove(&self) {
        if let Kind::Unix { path, identity, .. } = &self.0 {
            unix::remove(path, *identity);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.remove();
    }
}

fn tcp_error(address: SocketAddr, reason: io::Error) -> ListenError {
    match reason.kind() {
        ErrorKind::AddrInUse => ListenError::PortInUse { address },
        ErrorKind::AddrNotAvailable => ListenError::NotOurs { address },
        _ => ListenError::Tcp { address, reason },
    }
}
