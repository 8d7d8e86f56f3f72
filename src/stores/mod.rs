//! The two stores. Only these files name the crates `mysql`, `redis` and `rustls`.

pub mod error;
pub mod mysql;
pub mod redis;
pub mod tls;

use std::time::Duration;

use crate::config::ServerKind;

/// How long a server may take to accept a connection and greet us.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether a URL can be used, the files included that it names.
///
/// # Errors
/// Why it cannot, without the URL itself: it holds a password.
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
