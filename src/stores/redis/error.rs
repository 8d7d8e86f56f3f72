//! What can go wrong with Redis, and the way out of it.

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use ::redis::{ErrorKind, ServerErrorKind};
use thiserror::Error;

use crate::stores::error::{Kind, StoreError};
use crate::stores::one_line;
use crate::stores::tls::TlsError;

/// An error of one Redis server.
pub type RedisError = StoreError<RedisErrorKind>;

impl RedisError {
    /// The same, known to have happened before the connection stood.
    #[must_use]
    pub fn while_connecting(mut self) -> Self {
        if let RedisErrorKind::Lost(reason) = self.kind {
            self.kind = RedisErrorKind::Unreachable(reason);
        }
        self
    }
}

/// What went wrong with Redis.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RedisErrorKind {
    /// The URL is not understood, or names a file that cannot be used.
    #[error("the url cannot be used: {0}")]
    Url(String),
    /// No TLS that both sides agree on.
    #[error("{0}")]
    Tls(TlsError),
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
    /// The key of an id is something else.
    #[error("the key {key} is not a {wanted}")]
    OtherType {
        /// The key.
        key: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// What is there is no counter.
    #[error("{target} holds `{value}` for id {id}, which is no counter")]
    NotACounter {
        /// Where.
        target: String,
        /// The id.
        id: String,
        /// What is there, cut short.
        value: String,
    },
    /// It is a node of a cluster, and the key lives on another.
    #[error("{0}")]
    Cluster(String),
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

impl Kind for RedisErrorKind {
    const STORE: &'static str = "Redis";

    fn help(&self) -> &'static str {
        match self {
            Self::Url(_) => "correct url",
            Self::Tls(error) => error.help(),
            Self::Thread(_) => "raise TasksMax, or lower workers",
            Self::Unreachable(_) | Self::NoAnswer => {
                "check that it runs, that url is right, and that it is rediss:// just where there is TLS"
            }
            Self::Denied(_) => "check user, password and ACL",
            Self::WrongType(_) | Self::OtherType { .. } => "correct target, or remove the key",
            Self::NotACounter { .. } => "correct target, or remove it",
            Self::Cluster(_) => "recountd does not follow a cluster; point url at the key's node",
            Self::ReadOnly(_) => "point url at the primary",
            Self::Full(_) => "raise maxmemory",
            Self::Lost(_) => "what was written is right; the next run goes on from there",
            Self::Server(_) => "see the server's log",
        }
    }

    fn is_passing(&self) -> bool {
        match self {
            Self::Url(_)
            | Self::Tls(_)
            | Self::Denied(_)
            | Self::WrongType(_)
            | Self::OtherType { .. }
            | Self::NotACounter { .. }
            | Self::Cluster(_) => false,
            Self::Thread(_)
            | Self::Unreachable(_)
            | Self::NoAnswer
            | Self::ReadOnly(_)
            | Self::Full(_)
            | Self::Lost(_)
            | Self::Server(_) => true,
        }
    }
}

impl RedisErrorKind {
    /// Whether the server let us in and forbade this one command.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Denied(_))
    }

    /// Whether it is not known what became of the command.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }

    /// Whether the server does not know the command.
    #[must_use]
    pub fn is_unknown_command(&self) -> bool {
        matches!(self, Self::Server(message) if message.contains("unknown command"))
    }
}

impl From<&::redis::RedisError> for RedisErrorKind {
    fn from(error: &::redis::RedisError) -> Self {
        if let Some(error) = io_error(error).and_then(TlsError::of) {
            return Self::Tls(error);
        }
        let message = one_line(&error.to_string());
        match (error.kind(), error.code()) {
            (ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm), _)
            | (_, Some("NOAUTH" | "WRONGPASS" | "NOPERM")) => Self::Denied(message),
            (ErrorKind::Server(ServerErrorKind::ReadOnly), _) => Self::ReadOnly(message),
            (_, Some("WRONGTYPE")) => Self::WrongType(message),
            (_, Some("MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN" | "TRYAGAIN")) => {
                Self::Cluster(message)
            }
            (_, Some("OOM")) => Self::Full(message),
            (ErrorKind::Io, _) if error.is_connection_refusal() => Self::Unreachable(message),
            (ErrorKind::Server(_) | ErrorKind::Extension, _) => Self::Server(message),
            _ => Self::Lost(message),
        }
    }
}

/// The input or output error that an error wraps, if it does; the library has no name for it.
fn io_error(error: &::redis::RedisError) -> Option<&io::Error> {
    type Shared = Arc<dyn std::error::Error + Send + Sync>;
    error.source()?.downcast_ref::<Shared>()?.downcast_ref()
}
