//! The two stores. Only these files name the crates `mysql` and `redis`.

pub mod error;
pub mod mysql;
pub mod redis;

use std::time::Duration;

use crate::config::ServerKind;

/// How long a server may take to accept a connection and greet us.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether the library that will connect accepts a URL.
///
/// # Errors
/// Why it does not, without the URL itself: it holds a password.
pub fn check_url(kind: ServerKind, url: &str) -> Result<(), String> {
    match kind {
        ServerKind::Mysql => mysql::check_url(url),
        ServerKind::Redis => redis::check_url(url),
    }
}

/// A message of a server or a library as one line, so that a reason stays one.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
