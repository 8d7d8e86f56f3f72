//! How much memory replies may take while their clients read them: a bound for all listeners together,
//! since each client that asks for a list of ten thousand jobs and reads none of it holds one.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock;

/// The room that there is.
#[derive(Debug)]
pub(super) struct Room {
    all: usize,
    small: usize,
    patience: Duration,
    taken: Mutex<Taken>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct Taken {
    sent: usize,
    waiting: usize,
}

/// What one reply takes until it is dropped; nothing for a small one.
#[derive(Debug)]
pub(super) struct Share<'a> {
    room: &'a Room,
    bytes: usize,
}

impl Room {
    pub(super) fn new(all: usize, small: usize, patience: Duration) -> Self {
        Self { all, small, patience, taken: Mutex::default(), left: Condvar::new() }
    }

    /// Takes room for a reply, for which it may have to wait; none if there was none in time, or if too
    /// much waits already: what waits is in memory as well.
    pub(super) fn take(&self, bytes: usize) -> Option<Share<'_>> {
        if bytes < self.small {
            return Some(Share { room: self, bytes: 0 });
        }
        let mut taken = self.taken();
        if !self.fits(taken.sent, bytes) {
            if !self.fits(taken.waiting, bytes) {
                return None;
            }
            taken.waiting += bytes;
            taken = self.wait(taken, bytes);
            taken.waiting -= bytes;
        }
        let fits = self.fits(taken.sent, bytes);
        fits.then(|| {
            taken.sent += bytes;
            Share { room: self, bytes }
        })
    }

    fn wait<'a>(&self, taken: MutexGuard<'a, Taken>, bytes: usize) -> MutexGuard<'a, Taken> {
        let (until, mut taken) = (clock::monotonic() + self.patience, taken);
        while !self.fits(taken.sent, bytes) {
            let left = until.saturating_duration_since(clock::monotonic());
            if left.is_zero() {
                break;
            }
            taken = self.left.wait_timeout(taken, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        taken
    }

    /// One that is larger than everything fits where there is nothing else.
    const fn fits(&self, beside: usize, bytes: usize) -> bool {
        beside == 0 || beside.saturating_add(bytes) <= self.all
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let mut taken = self.room.taken();
            taken.sent = taken.sent.saturating_sub(self.bytes);
            self.room.left.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_what_is_small_passes_and_what_is_huge_goes_alone() {
        let room = Room::new(100, 10, Duration::ZERO);
        let first = room.take(60).unwrap();
        assert!(room.take(41).is_none());
        let second = room.take(40).unwrap();
        assert!(room.take(10).is_none());
        let _small: Vec<_> = (0..100).map(|_| room.take(9).unwrap()).collect();
        drop(first);
        assert!(room.take(60).is_some());
        drop(second);
        let _huge = room.take(1000).unwrap();
        assert!(room.take(10).is_none());
    }

    #[test]
    fn who_waits_gets_the_room_that_is_left_and_what_waits_is_bounded() {
        let room = Room::new(100, 10, Duration::from_secs(60));
        let first = room.take(100).unwrap();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| room.take(70).is_some());
            while room.taken().waiting == 0 {
                std::thread::yield_now();
            }
            // It is refused at once, however long others may wait.
            assert!(room.take(31).is_none());
            drop(first);
            assert!(waits.join().unwrap());
        });
        let taken = room.taken();
        assert_eq!((taken.sent, taken.waiting), (0, 0));
    }
}
