//! How far the writer has come, for those who must not answer before it has.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::clock;

/// The changes that have reached the disk, counted since the start.
#[derive(Debug, Default)]
pub struct OnDisk {
    count: Mutex<u64>,
    more: Condvar,
}

impl OnDisk {
    /// So many more have.
    pub(super) fn add(&self, changes: usize) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += changes as u64;
        self.more.notify_all();
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
