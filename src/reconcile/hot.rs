//! Hot ids: samples of the drift of a counter that never stands still for long (R5).

mod judge;

use std::time::Duration;

use super::amount::Amount;
use super::confirm::longest_gap;
use super::repair::Proof;

/// Sandwiches taken of an id: a reading, a snapshot of its truth, a reading (R5).
pub const SANDWICHES: usize = 48;

/// Runs of equal readings kept of an id, twice as many as the plan makes. Beyond them its samples
/// prove nothing, so that what an id costs is bounded (about 50 kB).
const MOST_RUNS: usize = 2 * 26 * 50;

/// What is to be added to a counter, once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correction {
    /// What is added to whatever the counter holds when it is written.
    pub by: Amount,
    /// [`Proof::Agreed`] or [`Proof::Nearest`].
    pub proof: Proof,
}

/// The samples of one id. All times count from the same instant and never go backwards; a question
/// is asked at one and answered at another, and what it saw was true somewhere in between.
#[derive(Debug, Clone)]
pub struct Samples {
    settle: Duration,
    runs: Vec<Run>,
    sandwiches: Vec<Sandwich>,
    /// Sandwiches in which the counter was true.
    zeros: usize,
    /// Whether something was seen that this rule cannot judge.
    spoilt: bool,
}

/// Readings in a row that gave the same.
#[derive(Debug, Clone, Copy)]
struct Run {
    value: i64,
    /// When the first of them was answered.
    since: Duration,
    /// When the last of them was asked.
    until: Duration,
    /// Whether the readings paused before it, so that anything may have happened.
    blind: bool,
}

/// A truth, taken at an instant between two times.
#[derive(Debug, Clone, Copy)]
struct Sandwich {
    asked: Duration,
    answered: Duration,
    truth: i64,
}

impl Samples {
    /// Begins to collect.
    #[must_use]
    pub fn new(settle: Duration) -> Self {
        Self { settle, runs: Vec::new(), sandwiches: Vec::new(), zeros: 0, spoilt: false }
    }

    /// Takes a reading of the counter. Absent is 0 (R1).
    pub fn observe(&mut self, asked: Duration, answered: Duration, counter: Option<Amount>) {
        // Sums of numbers that are not whole are not exact, so their samples need not agree.
        let Amount::Int(value) = counter.unwrap_or(Amount::ZERO) else {
            self.spoilt = true;
            return;
        };
        let mut blind = false;
        if let Some(run) = self.runs.last_mut() {
            blind = asked.saturating_sub(run.until) > longest_gap(self.settle);
            if run.value == value && !blind {
                run.until = asked;
                return;
            }
        }
        if self.runs.len() == MOST_RUNS {
            self.spoilt = true;
            return;
        }
        self.runs.push(Run { value, since: answered, until: asked, blind });
    }

    /// Takes the truth out of a snapshot that was taken between two times. A reading should come
    /// right before and right after it.
    pub fn truth(&mut self, asked: Duration, answered: Duration, truth: Amount) {
        match truth {
            Amount::Int(truth) if self.sandwiches.len() < SANDWICHES => {
                self.zeros += usize::from(self.runs.last().is_some_and(|run| run.value == truth));
                self.sandwiches.push(Sandwich { asked, answered, truth });
            }
            _ => self.spoilt = true,
        }
    }

    /// Whether the counter was true so often already that the samples will not agree on anything else:
    /// most hot ids only looked wrong because a write was in flight. Nothing is known of it then,
    /// and further samples are not worth their time.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        self.spoilt || self.zeros > SANDWICHES / 8
    }

    /// What the samples prove; `None`: nothing, the id stays unproven.
    #[must_use]
    pub fn judge(&self) -> Option<Correction> {
        if self.spoilt {
            return None;
        }
        let bounds = self.bounds()?;
        let (by, proof) = match self.agreed() {
            Some(by) if bounds.contains(by) => (by, Proof::Agreed),
            _ => (bounds.nearest()?, Proof::Nearest),
        };
        Some(Correction { by: Amount::Int(by), proof })
    }
}
