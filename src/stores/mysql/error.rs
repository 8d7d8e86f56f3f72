//! What can go wrong with MySQL, and the way out of it.

use std::error::Error as _;
use std::io;

use thiserror::Error;

use crate::stores::error::{Kind, StoreError};
use crate::stores::one_line;
use crate::stores::tls::TlsError;

/// An error of one MySQL server.
pub type MysqlError = StoreError<MysqlErrorKind>;

/// What went wrong with MySQL.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum MysqlErrorKind {
    /// The URL is not understood, or names a file that cannot be used.
    #[error("the url cannot be used: {0}")]
    Url(String),
    /// No TLS that both sides agree on.
    #[error("{0}")]
    Tls(TlsError),
    /// The account is of a kind that the library cannot log in to.
    #[error("the account cannot be logged in to: {0}")]
    Plugin(String),
    /// No thread could be started for the connection.
    #[error("no thread for the connection: {0}")]
    Thread(String),
    /// Nothing answers at that address.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// Something accepts the connection and stays silent.
    #[error("no answer within 2 s")]
    NoAnswer,
    /// The user or the password is wrong, or the user may not read this.
    #[error("{0}")]
    Denied(String),
    /// The database is not there.
    #[error("{0}")]
    NoDatabase(String),
    /// The query names a table or a column that is not there, or is no SQL.
    #[error("{0}")]
    BadQuery(String),
    /// The query would write.
    #[error("the query would write: {0}")]
    WouldWrite(String),
    /// The statement returns no rows at all.
    #[error("the query is not a SELECT: it returns no columns")]
    NoResult,
    /// The query has one column only.
    #[error("the query returns one column")]
    OneColumn,
    /// The query has no such column.
    #[error("the query has no column `{name}`; it has {known}")]
    NoColumn {
        /// The name in `targets`.
        name: String,
        /// The columns that the query has.
        known: String,
    },
    /// A `?` outside of quotes.
    #[error("the query has a `?` outside of quotes")]
    Placeholder,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Lost(String),
    /// Any other answer of the server.
    #[error("error {code}: {message}")]
    Server {
        /// The server's number for it.
        code: u16,
        /// The server's words.
        message: String,
    },
}

impl MysqlErrorKind {
    /// Whether the query runs as it is, and not as a part of another one: two of its columns may
    /// have one name (1060).
    #[must_use]
    pub fn cannot_be_narrowed(&self) -> bool {
        matches!(self, Self::BadQuery(_) | Self::Server { code: 1060, .. })
    }
}

impl Kind for MysqlErrorKind {
    const STORE: &'static str = "MySQL";

    fn help(&self) -> &'static str {
        match self {
            Self::Url(_) => "correct url",
            Self::Tls(error) => error.help(),
            Self::Plugin(_) => {
                "use mysql_native_password, caching_sha2_password or ed25519 for this user"
            }
            Self::Thread(_) => "raise TasksMax, or lower workers",
            Self::Unreachable(_) | Self::NoAnswer => "check that it runs and that url is right",
            Self::Denied(_) => {
                "check user, password, GRANT SELECT, and whether TLS (ssl-… in url) is demanded"
            }
            Self::NoDatabase(_) => "correct the database in url, or grant access to it",
            Self::BadQuery(_) => "correct query; it must run as it is at a mysql prompt",
            Self::WouldWrite(_) | Self::NoResult => "make query one SELECT",
            Self::OneColumn => "select the id first and its value second",
            Self::NoColumn { .. } => "correct targets, or name the column with AS",
            Self::Placeholder => "write the value itself",
            Self::Lost(_) => "nothing was deleted; the next run starts over",
            Self::Server { code: 1205 | 1213, .. } => "it is tried again",
            Self::Server { code: 1040 | 1203, .. } => "raise max_connections, or lower workers",
            Self::Server { code: 1226, .. } => "raise this limit of the user, or lower workers",
            Self::Server { code: 1317 | 1969 | 3024, .. } => {
                "it was stopped; speed the query up, or raise timeout (and max_statement_time or \
                 max_execution_time at the server, if shorter)"
            }
            Self::Server { .. } => "see the server's documentation for this number",
        }
    }

    fn is_passing(&self) -> bool {
        match self {
            Self::Thread(_)
            | Self::Unreachable(_)
            | Self::NoAnswer
            | Self::Lost(_)
            | Self::Server { .. } => true,
            Self::Url(_)
            | Self::Tls(_)
            | Self::Plugin(_)
            | Self::Denied(_)
            | Self::NoDatabase(_)
            | Self::BadQuery(_)
            | Self::WouldWrite(_)
            | Self::NoResult
            | Self::OneColumn
            | Self::NoColumn { .. }
            | Self::Placeholder => false,
        }
    }
}

impl From<::mysql::Error> for MysqlErrorKind {
    fn from(error: ::mysql::Error) -> Self {
        use ::mysql::{DriverError, Error};
        match error {
            Error::MySqlError(error) => {
                let message = one_line(&error.message);
                match error.code {
                    1045 | 1130 | 1142 | 1143 | 1370 | 1698 | 1820 => Self::Denied(message),
                    1251 | 1524 | 2059 => Self::Plugin(message),
                    3159 => Self::Tls(TlsError::Demanded(message)),
                    // A proxy says by the first two that its server is gone; the others are a
                    // server that goes down, or somebody who ends connections.
                    2006 | 2013 | 1053 | 1077 | 1079 | 1927 | 4031 => Self::Lost(message),
                    1044 | 1049 => Self::NoDatabase(message),
                    1054 | 1055 | 1064 | 1140 | 1146 | 1222 | 1305 | 1630 => {
                        Self::BadQuery(message)
                    }
                    1792 => Self::WouldWrite(message),
                    code => Self::Server { code, message },
                }
            }
            Error::DriverError(DriverError::MismatchedStmtParams(..)) => Self::Placeholder,
            Error::DriverError(DriverError::CouldNotConnect(Some((_, reason, _)))) => {
                Self::Unreachable(one_line(&reason))
            }
            Error::DriverError(
                DriverError::ConnectTimeout | DriverError::CouldNotConnect(None),
            ) => Self::Unreachable("no address answers".to_owned()),
            Error::DriverError(DriverError::TlsNotSupported) => Self::Tls(TlsError::NotOffered),
            Error::DriverError(
                error @ (DriverError::UnknownAuthPlugin(_)
                | DriverError::OldMysqlPasswordDisabled
                | DriverError::CleartextPluginDisabled),
            ) => Self::Plugin(one_line(&error.to_string())),
            Error::IoError(error) => Self::of_io(&error),
            // The library's packets wrap what the connection failed with.
            Error::CodecError(error) => match error.source().and_then(|e| e.downcast_ref()) {
                Some(error) => Self::of_io(error),
                None => Self::Lost(one_line(&error.to_string())),
            },
            Error::TlsError(error) => Self::Tls(TlsError::Failed(one_line(&error.to_string()))),
            other => Self::Lost(one_line(&other.to_string())),
        }
    }
}

impl MysqlErrorKind {
    fn of_io(error: &io::Error) -> Self {
        let text = || one_line(&error.to_string());
        match TlsError::of(error) {
            Some(error) => Self::Tls(error),
            None if is_refusal(error.kind()) => Self::Unreachable(text()),
            None => Self::Lost(text()),
        }
    }
}

fn is_refusal(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::ConnectionRefused | Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NotFound
    )
}
