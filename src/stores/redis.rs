//! Redis: the connection. What is done with counters is in counters.rs and write.rs. Every command is
//! bounded in size and in time (R9).

use std::mem::Discriminant;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ::redis::{Connection, FromRedisValue, cmd};

use super::CONNECT_TIMEOUT;
use crate::config::{Server, Target};

mod connect;
mod counters;
mod error;
mod script;
mod write;

pub use counters::Page;
pub use error::{RedisError, RedisErrorKind};

/// How long one command may take before the connection is given up.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long after it was sent a write may still come to effect, by Redis's own clock. What has been
/// given up by then must not surprise the next run.
pub const WRITE_WINDOW: Duration = Duration::from_secs(2);

/// Whether a URL can be used, the files included that it names.
///
/// # Errors
/// Why it cannot; the text holds no password.
pub fn check_url(url: &str) -> Result<(), String> {
    connect::client(url).map(|_| ())
}

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyKind {
    /// The key is not there.
    Absent,
    /// What the target needs.
    Fits,
    /// Something else, in Redis's word.
    Other(String),
}

/// A connection to one server. After any I/O error it is dropped with its owner: what comes next
/// on the wire could be the answer to an earlier question.
pub struct Redis {
    server: Arc<Server>,
    connection: Connection,
    deadline: Instant,
    /// The server has no ZMSCORE (older than 6.2).
    singly: bool,
    /// The server's clock in ms at an instant of ours; unknown where TIME is forbidden.
    clock: Option<(u64, Instant)>,
    /// The scripts that the server knows, by kind of target.
    loaded: Vec<(Discriminant<Target>, String)>,
}

impl Redis {
    /// Connects. No command waits for its reply past `deadline` by more than a second.
    ///
    /// # Errors
    /// The server cannot be reached or does not let us in; after [`CONNECT_TIMEOUT`] at the latest.
    pub fn open(server: &Arc<Server>, deadline: Instant) -> Result<Self, RedisError> {
        let fail = |kind| RedisError::new(server, kind);
        let client =
            connect::client(server.url.reveal()).map_err(|e| fail(RedisErrorKind::Url(e)))?;
        // Looking a host name up has no time limit of its own; a thread can be left behind.
        let (answer, connected) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("redis".to_owned())
            .spawn(move || {
                answer.send(client.get_connection_with_timeout(CONNECT_TIMEOUT)).ok();
            })
            .map_err(|error| fail(RedisErrorKind::Thread(error.to_string())))?;
        let connection = match connected.recv_timeout(CONNECT_TIMEOUT) {
            Ok(result) => result.map_err(|e| RedisError::new(server, &e).while_connecting())?,
            Err(_) => return Err(fail(RedisErrorKind::NoAnswer)),
        };
        let server = Arc::clone(server);
        Ok(Self { server, connection, deadline, singly: false, clock: None, loaded: Vec::new() })
    }

    /// How long a command without work takes: the way there and back.
    ///
    /// # Errors
    /// As every command: the connection broke, or the server answered with an error.
    pub fn round_trip(
        &mut self,
        mut stopwatch: impl FnMut() -> Instant,
    ) -> Result<Duration, RedisError> {
        let mut best = REPLY_TIMEOUT;
        for _ in 0..3 {
            let begun = stopwatch();
            self.ask::<String>(&cmd("PING"))?;
            best = best.min(stopwatch().duration_since(begun));
        }
        Ok(best)
    }

    /// Whether it is a replica that takes no writes (R7).
    ///
    /// # Errors
    /// As every command.
    pub fn is_read_only_replica(&mut self) -> Result<bool, RedisError> {
        let mut info = cmd("INFO");
        let info: String = match self.ask(info.arg("replication")) {
            Ok(info) => info,
            // An ACL may forbid INFO; a replica then refuses the first write by itself.
            Err(error) if error.kind.is_forbidden() => return Ok(false),
            Err(error) => return Err(error),
        };
        let says = |line| info.lines().any(|l| l.trim() == line);
        Ok(says("role:slave") && says("slave_read_only:1"))
    }

    /// The server's version (`check --connect`).
    ///
    /// # Errors
    /// As every command.
    pub fn version(&mut self) -> Result<String, RedisError> {
        let mut info = cmd("INFO");
        let info: String = self.ask(info.arg("server"))?;
        let version = info.lines().find_map(|l| l.trim().strip_prefix("redis_version:"));
        Ok(version.unwrap_or("of unknown version").to_owned())
    }

    /// What the key of a target that all ids share holds.
    ///
    /// # Errors
    /// As every command.
    pub fn key_kind(&mut self, target: &Target) -> Result<KeyKind, RedisError> {
        let kind: String = self.ask(cmd("TYPE").arg(target.key()))?;
        Ok(match kind.as_str() {
            "none" => KeyKind::Absent,
            kind if kind == target.redis_type() => KeyKind::Fits,
            _ => KeyKind::Other(kind),
        })
    }

    /// The server's clock in ms. It is later there by now: what is reckoned from this is on the
    /// early side.
    fn read_clock(&mut self) -> Result<Option<(u64, Instant)>, RedisError> {
        match self.ask::<(u64, u64)>(&cmd("TIME")) {
            Ok((seconds, micros)) => {
                let ms = seconds.saturating_mul(1000).saturating_add(micros / 1000);
                Ok(Some((ms, crate::clock::monotonic())))
            }
            Err(error) if error.kind.is_forbidden() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn ask<T: FromRedisValue>(&mut self, command: &::redis::Cmd) -> Result<T, RedisError> {
        self.limit_reply_time()?;
        let answer = command.query(&mut self.connection);
        answer.map_err(|error| RedisError::new(&self.server, &error))
    }

    /// The library clears the time limits of a connection once it is set up, so they are set anew.
    fn limit_reply_time(&self) -> Result<(), RedisError> {
        let left = self.deadline.saturating_duration_since(crate::clock::monotonic());
        let limit = Some(REPLY_TIMEOUT.min(left + Duration::from_secs(1)));
        self.connection
            .set_read_timeout(limit)
            .and_then(|()| self.connection.set_write_timeout(limit))
            .map_err(|error| RedisError::new(&self.server, &error))
    }
}
