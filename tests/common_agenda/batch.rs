//! The slots that came due together, and the moment of a trigger, which is like a slot of its own.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use recountd::agenda::Cause;
use recountd::config::Job;

/// How many late slots run at once without coalesce (S6).
pub const CATCH_UP: usize = 100;

/// The slots of a job that came due in one turn of the loop.
#[derive(Debug)]
pub struct Batch {
    pub job: Arc<Job>,
    pub cause: Cause,
    pub seen: DateTime<Utc>,
    /// When the longest jitter is over.
    pub ready_by: DateTime<Utc>,
    pub slots: Vec<(DateTime<Utc>, State)>,
    /// The numbers that its runs have, as do those of the other jobs in the same turn.
    pub numbers: (u64, u64),
}

impl Batch {
    /// How many runs and records it makes (S6).
    pub fn numbered(&self) -> usize {
        let (all, in_grace) = (self.slots.len(), self.in_grace());
        let most = in_grace.min(CATCH_UP) + usize::from(in_grace > CATCH_UP);
        if self.job.limits.coalesce { 1 } else { most + usize::from(in_grace < all) }
    }

    /// How many of its slots were seen in time.
    pub fn in_grace(&self) -> usize {
        self.slots.iter().filter(|(slot, _)| self.seen - *slot <= grace(&self.job)).count()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Neither started nor ended.
    Open,
    Started,
    Ended,
}

/// How late a slot of the job may be seen and still run.
pub fn grace(job: &Job) -> TimeDelta {
    TimeDelta::from_std(job.limits.misfire_grace).unwrap()
}
