//! What a benchmark notes of each run's start, from inside the daemon's process.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use chrono::{DateTime, Utc};

/// The starts of all runs. Workers write to it side by side without waiting for each other, or they would measure
/// that.
pub struct Starts {
    used: AtomicUsize,
    /// The second of the slot above, the microseconds from it to the start below.
    starts: Vec<AtomicU64>,
}

impl Starts {
    pub fn with_room(room: usize) -> Self {
        Self { used: AtomicUsize::new(0), starts: (0..room).map(|_| AtomicU64::new(0)).collect() }
    }

    pub fn add(&self, slot: DateTime<Utc>, start: DateTime<Utc>) {
        let late = (start - slot).num_microseconds().unwrap_or(i64::MAX).max(0);
        let late = u32::try_from(late).unwrap_or(u32::MAX);
        let second = u32::try_from(slot.timestamp()).unwrap_or(u32::MAX);
        if let Some(place) = self.starts.get(self.used.fetch_add(1, Ordering::Relaxed)) {
            place.store(u64::from(second) << 32 | u64::from(late), Ordering::Relaxed);
        }
    }

    /// How late the runs started whose slot lies in this time, in microseconds.
    pub fn lateness_of_slots(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<u32> {
        let within = |start: &u64| {
            let second = i64::try_from(start >> 32).unwrap_or_default();
            from.timestamp() < second && second <= to.timestamp()
        };
        let starts = self.starts.iter().map(|start| start.load(Ordering::Relaxed));
        // The cast keeps the lower half, which is what is wanted.
        starts.filter(within).map(|start| start as u32).collect()
    }
}
