//! What can go wrong with Redis, and the way out of it.

use std::fmt;

use ::redis::{ErrorKind, ServerErrorKind};
use thiserror::Error;

use crate::config::Server;
use crate::stores::one_line;

/// An error of one Redis server. `Display` is one line: the server, the reason, the way out.
#[derive(Debug, Clone, PartialEq, Error)]
pub struct RedisError {
    server: String,
    url: String,
    /// What went wrong.
    pub kind: RedisErrorKind,
}

impl RedisError {
    /// An error of `server`.
    #[must_use]
    pub fn new(server: &Server, kind: RedisErrorKind) -> Self {
        Self { server: server.name.clone(), url: server.url.to_string(), kind }
    }

    /// The library's error, read.
    #[must_use]
    pub fn of(server: &Server, error: &::redis::RedisError) -> Self {
        Self::new(server, RedisErrorKind::from(error))
    }

    /// The same, known to have happened before the connection stood.
    #[must_use]
    pub fn while_connecting(mut self) -> Self {
        if let RedisErrorKind::Lost(reason) = self.kind {
            self.kind = RedisErrorKind::Unreachable(reason);
        }
        self
    }
}

impl fmt::Display for RedisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, url, kind } = self;
        write!(f, "Redis {server} ({url}): {kind}; {}", kind.help())
    }
}

/// What went wrong with Redis.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RedisErrorKind {
    /// No thread could be started for connecting.
    #[error("no thread for connecting: {0}")]
    Thread(String),
    /// Nothing answers at that address.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// Something accepts the connection and stays silent.
    #[error("no answer within 2 s")]
    NoAnswer,
    /// The password is wrong or missing, or the user may not do this.
    #[error("{0}")]
    Denied(String),
    /// The key became something else while the run went on.
    #[error("{0}")]
    WrongType(String),
    /// It takes no writes.
    #[error("{0}")]
    ReadOnly(String),
    /// It is full.
    #[error("{0}")]
    Full(String),
    /// The connection broke, or a reply made no sense.
    #[error("the connection broke: {0}")]
    Lost(String),
    /// Any other answer of the server.
    #[error("{0}")]
    Server(String),
}

impl RedisErrorKind {
    /// The way out, in a few words.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::Thread(_) => "raise TasksMax, or lower workers",
            Self::Unreachable(_) | Self::NoAnswer => "check that it runs and that url is right",
            Self::Denied(_) => "check user, password and ACL",
            Self::WrongType(_) => "correct target, or remove the key",
            Self::ReadOnly(_) => "point url at the primary",
            Self::Full(_) => "raise maxmemory",
            Self::Lost(_) => "what was written is right; the next run goes on from there",
            Self::Server(_) => "see the server's log",
        }
    }

    /// Whether a later attempt may succeed without anybody changing anything (S9).
    #[must_use]
    pub fn is_passing(&self) -> bool {
        !matches!(self, Self::Denied(_) | Self::WrongType(_))
    }

    /// Whether the server let us in and forbade this one command.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Denied(_))
    }
}

impl From<&::redis::RedisError> for RedisErrorKind {
    fn from(error: &::redis::RedisError) -> Self {
        let message = one_line(&error.to_string());
        match (error.kind(), error.code()) {
            (ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm), _)
            | (_, Some("NOAUTH" | "WRONGPASS" | "NOPERM")) => Self::Denied(message),
            (ErrorKind::Server(ServerErrorKind::ReadOnly), _) => Self::ReadOnly(message),
            (_, Some("WRONGTYPE")) => Self::WrongType(message),
            (_, Some("OOM")) => Self::Full(message),
            (ErrorKind::Io, _) if error.is_connection_refusal() => Self::Unreachable(message),
            (ErrorKind::Server(_) | ErrorKind::Extension, _) => Self::Server(message),
            _ => Self::Lost(message),
        }
    }
}
