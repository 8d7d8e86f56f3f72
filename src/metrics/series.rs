//! What is kept of each job: little until it has run.

use chrono::{DateTime, Utc};

use crate::agenda::RunId;
use crate::report::{Findings, Outcome};

/// The upper bounds of the lengths of runs, in seconds. They are few, since each job has its own.
pub const RUN: [f64; 9] = [0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 180.0, 600.0, f64::INFINITY];

/// The upper bounds of lateness, in seconds, for all jobs together.
pub const LATENESS: [f64; 16] = [
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    f64::INFINITY,
];

/// A job as it was counted.
#[derive(Debug)]
pub struct Series {
    /// The first scrape that named it.
    pub known_since: Option<DateTime<Utc>>,
    /// Whether the last scrape named it, or none has come since it was first counted.
    pub is_seen: bool,
    /// What was counted; `None` until there is something.
    pub counts: Option<Box<Counts>>,
}

impl Default for Series {
    fn default() -> Self {
        Self { known_since: None, is_seen: true, counts: None }
    }
}

/// What was counted of a job.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Slots by outcome; only outcomes that have come.
    pub slots: Vec<(&'static str, u64)>,
    /// Counters by what the reports say of them.
    pub compared: u64,
    pub drifted: u64,
    pub repaired: u64,
    pub unproven: u64,
    /// The record of the last pause, and how many slots of it were counted.
    pub pause: Option<(RunId, u64)>,
    /// Attempts that were followed by another.
    pub retries: u64,
    /// Drifted and unproven of the last run that came to its end.
    pub last: Option<(u64, u64)>,
    /// How long its runs took.
    pub seconds: Option<Buckets<{ RUN.len() }>>,
}

impl Counts {
    pub fn add_slots(&mut self, outcome: &'static str, slots: u64) {
        if slots == 0 {
            return;
        }
        match self.slots.iter_mut().find(|(word, _)| *word == outcome) {
            Some((_, count)) => *count += slots,
            None => self.slots.push((outcome, slots)),
        }
    }

    /// The record of a pause comes again with every slot that goes by, and stands for all of them.
    pub fn add_paused(&mut self, outcome: &'static str, run: RunId, slots: u64) {
        let counted = self.pause.filter(|(last, _)| *last == run).map_or(0, |(_, slots)| slots);
        self.pause = Some((run, slots));
        self.add_slots(outcome, slots.saturating_sub(counted));
    }

    pub fn add_findings(&mut self, outcome: Outcome, found: &Findings) {
        self.compared += found.in_all();
        self.drifted += found.drifted;
        self.repaired += found.repaired;
        self.unproven += found.unproven;
        if matches!(outcome, Outcome::Clean | Outcome::Repaired | Outcome::Partial) {
            self.last = Some((found.drifted, found.unproven));
        }
    }
}

/// A histogram whose bounds are known elsewhere.
#[derive(Debug, Clone)]
pub struct Buckets<const N: usize> {
    counts: [u64; N],
    sum: f64,
}

impl<const N: usize> Default for Buckets<N> {
    fn default() -> Self {
        Self { counts: [0; N], sum: 0.0 }
    }
}

impl<const N: usize> Buckets<N> {
    /// Counts a value into the first bucket whose upper bound is not below it.
    pub fn observe(&mut self, bounds: &[f64; N], value: f64) {
        let buckets = bounds.iter().zip(&mut self.counts);
        if let Some((_, count)) = { buckets }.find(|(bound, _)| value <= **bound) {
            *count += 1;
            self.sum += value;
        }
    }

    /// The sum of what was counted, how much that was, and how much in each bucket alone.
    pub fn figures(&self, bounds: &[f64; N]) -> (f64, u64, Vec<(f64, u64)>) {
        let buckets = bounds.iter().copied().zip(self.counts).collect();
        (self.sum, self.counts.iter().sum(), buckets)
    }
}
