//! What a run found, and how it ended (R10).

use chrono::{DateTime, FixedOffset, SecondsFormat};
use serde::Serialize;

use crate::reconcile::{Amount, Change};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Every counter was true.
    Clean,
    /// Every counter is true now.
    Repaired,
    /// Every provable drift is repaired, some ids stayed unproven.
    Partial,
    /// A guard stopped it before any write.
    Refused,
    /// Only with `--dry-run`: it would write.
    Drift,
    /// An error; the reason says which.
    Failed,
}

impl Outcome {
    /// The word of the report, the log and the state.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Repaired => "repaired",
            Self::Partial => "partial",
            Self::Refused => "refused",
            Self::Drift => "drift",
            Self::Failed => "failed",
        }
    }

    /// The exit code of `once`.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Clean | Self::Repaired => 0,
            Self::Failed => 1,
            Self::Partial => 3,
            Self::Refused => 4,
            Self::Drift => 5,
        }
    }
}

/// One id that was wrong, as an example.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// The id as Redis writes it.
    pub id: String,
    /// What the counter held; null where there was none.
    pub redis: Option<Amount>,
    /// The truth; null for a ghost.
    pub mysql: Option<Amount>,
}

/// What a run found so far. Every number counts ids.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Findings {
    /// Rows of truth.
    pub counters: u64,
    /// Counters that differed from the truth and stayed so.
    pub drifted: u64,
    /// Those of them that are true now.
    pub repaired: u64,
    /// Ids whose difference could not be told from a write in flight; nothing was written.
    pub unproven: u64,
    /// Those of the drifted that Redis lacked.
    pub missing: u64,
    /// Ids that Redis has and MySQL's result has not, and that stayed so.
    pub ghosts: u64,
    /// The sum of truth − counter over the drifted.
    pub drift_sum: Amount,
    /// The sum of its sizes.
    pub drift_abs_sum: Amount,
    /// At most [`Findings::MAX_SAMPLES`] of the drifted and the ghosts.
    pub samples: Vec<Sample>,
}

impl Default for Findings {
    fn default() -> Self {
        Self {
            counters: 0,
            drifted: 0,
            repaired: 0,
            unproven: 0,
            missing: 0,
            ghosts: 0,
            drift_sum: Amount::ZERO,
            drift_abs_sum: Amount::ZERO,
            samples: Vec::new(),
        }
    }
}

impl Findings {
    /// The most samples that a report holds.
    pub const MAX_SAMPLES: usize = 10;

    /// Takes note of a change that is proven right.
    pub fn add(&mut self, change: &Change) {
        if change.removes() {
            self.add_ghost(change);
        } else {
            self.add_drifted(change);
        }
    }

    fn add_drifted(&mut self, change: &Change) {
        self.drifted += 1;
        self.missing += u64::from(change.from.is_none());
        self.drift_sum = self.drift_sum.plus(change.drift());
        self.drift_abs_sum = self.drift_abs_sum.plus(change.drift().abs());
        self.add_sample(change);
    }

    /// Takes note of a ghost.
    pub fn add_ghost(&mut self, change: &Change) {
        self.ghosts += 1;
        self.add_sample(change);
    }

    fn add_sample(&mut self, change: &Change) {
        if self.samples.len() < Self::MAX_SAMPLES {
            let id = change.id.to_string();
            self.samples.push(Sample { id, redis: change.from, mysql: change.to });
        }
    }
}

/// What `once --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The job's name.
    pub job: String,
    /// How the run ended.
    pub outcome: Outcome,
    /// Whether it was told to write nothing.
    pub dry_run: bool,
    /// When it started, in the job's zone.
    #[serde(serialize_with = "rfc3339")]
    pub started_at: DateTime<FixedOffset>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What it found.
    #[serde(flatten)]
    pub findings: Findings,
    /// Why it ended so, in one line with the way out; null where the figures say it all.
    pub reason: Option<String>,
}

fn rfc3339<S: serde::Serializer>(at: &DateTime<FixedOffset>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&at.to_rfc3339_opts(SecondsFormat::Millis, false))
}
