//! How far the writer has come, for those who must not answer before it has; and what it found.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::clock;

/// The changes that have reached the disk, counted since the start.
#[derive(Debug, Default)]
pub struct OnDisk {
    count: Mutex<u64>,
    more: Condvar,
    unread: AtomicBool,
}

impl OnDisk {
    /// So many more have.
    pub(super) fn add(&self, changes: usize) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += changes as u64;
        self.more.notify_all();
    }

    /// The file has something that the daemon should have known from its start on.
    pub(super) fn set_unread(&self) {
        self.unread.store(true, Ordering::Release);
    }

    /// Whether the file could be opened only after the start, and has jobs that were added at run time,
    /// or pauses, which this daemon has not read. Only another start takes them in.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Acquire)
    }

    /// Waits until as many as `wanted` have, but no longer than `patience`; gives whether they have.
    pub fn wait(&self, wanted: u64, patience: Duration) -> bool {
        let end = clock::monotonic() + patience;
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        while *count < wanted {
            let left = end.saturating_duration_since(clock::monotonic());
            if left.is_zero() {
                return false;
            }
            let waited = self.more.wait_timeout(count, left);
            count = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}
