//! HTTP over a Unix socket: the connector and the transport that ureq leaves to others.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Error, Timeout};

use crate::clock;

/// Connects to one socket, whatever the URL says.
#[derive(Debug)]
pub(super) struct UnixConnector(pub(super) PathBuf);

impl Connector<()> for UnixConnector {
    type Out = UnixTransport;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<UnixTransport>, Error> {
        let stream = match limit(details.timeout) {
            Some(limit) => self.connect_within(limit, details.timeout.reason)?,
            None => UnixStream::connect(&self.0)?,
        };
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(UnixTransport { stream, buffers }))
    }
}

impl UnixConnector {
    /// A daemon that is stopped accepts nobody, and connect(2) has no time-out of its own: a thread
    /// waits for it, and is left behind if it takes too long.
    fn connect_within(&self, limit: Duration, reason: Timeout) -> Result<UnixStream, Error> {
        let path = self.0.clone();
        let (connected, wait) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("connect".to_owned())
            .spawn(move || connected.send(UnixStream::connect(path)).ok())?;
        match wait.recv_timeout(limit) {
            Ok(stream) => Ok(stream?),
            Err(_) => Err(Error::Timeout(reason)),
        }
    }
}

/// A Unix socket has no address to look up; ureq wants an answer all the same.
#[derive(Debug)]
pub(super) struct NoAddress;

impl Resolver for NoAddress {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct UnixTransport {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl Transport for UnixTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        self.stream.set_write_timeout(limit(timeout))?;
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        self.stream.write_all(output).map_err(|error| slow_or(error, timeout.reason))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        let began = clock::monotonic();
        let limit = limit(timeout);
        loop {
            let left = limit.map(|limit| limit.saturating_sub(began.elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(Error::Timeout(timeout.reason));
            }
            self.stream.set_read_timeout(left)?;
            match self.stream.read(self.buffers.input_append_buf()) {
                // A signal that the command takes care of is not the end of the answer.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(slow_or(error, timeout.reason)),
                Ok(amount) => {
                    self.buffers.input_appended(amount);
                    return Ok(amount > 0);
                }
            }
        }
    }

    /// No connection is used twice.
    fn is_open(&mut self) -> bool {
        false
    }
}

/// The time that is left; `None` without end. A socket takes no time-out of 0.
fn limit(timeout: NextTimeout) -> Option<Duration> {
    timeout.not_zero().map(|limit| *limit)
}

fn slow_or(error: io::Error, reason: Timeout) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(reason),
        _ => Error::Io(error),
    }
}
