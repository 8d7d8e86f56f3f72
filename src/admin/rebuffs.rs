//! Tells the log that somebody tries tokens: one line a minute, however many there are.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;

/// Lines are no less than this apart.
const EVERY: Duration = Duration::from_secs(60);

/// Who was turned away for a wrong token.
#[derive(Debug, Default)]
pub(super) struct Rebuffs(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    since: u64,
}

impl Rebuffs {
    /// Notes one, and logs it if it is the first in a minute. The token is not even known here.
    pub(super) fn note(&self, peer: Option<SocketAddr>) {
        let now = clock::monotonic();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.at.is_some_and(|at| now.saturating_duration_since(at) < EVERY) {
            told.since += 1;
            return;
        }
        let since = std::mem::take(&mut told.since);
        told.at = Some(now);
        drop(told);
        let peer = peer.map_or_else(|| "somebody".to_owned(), |peer| peer.to_string());
        let before = match since {
            0 => String::new(),
            count => format!(" ({count} more since the last such line)"),
        };
        log::warn!(
            "admin: {peer} showed a wrong token{before}; more within a minute are only counted"
        );
    }
}
