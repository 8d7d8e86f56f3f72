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
    /// The target's name where the query has several, else empty and not in the report.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
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
    /// Ids whose difference could not be told from a write in flight; nothing was written, or what
    /// was written only brought them nearer to their truth (R5).
    pub unproven: u64,
    /// Those of the drifted that Redis lacked.
    pub missing: u64,
    /// Ids that Redis has and MySQL's result has not, and that stayed so.
    pub ghosts: u64,
    /// Whether some of them were left for want of time.
    #[serde(skip)]
    pub hurried: bool,
    /// The sum of truth − counter over the drifted.
    pub drift_sum: Amount,
    /// The sum of its sizes.
    pub drift_abs_sum: Amount,
    /// The [`Findings::MAX_SAMPLES`] of the drifted and the ghosts that were off most, the worst
    /// first.
    pub samples: Vec<Sample>,
    /// Those of the drifted whose counter was below the truth.
    #[serde(skip)]
    pub too_low: u64,
    /// How many counters each row tells of, one for each target of the job.
    #[serde(skip)]
    pub targets: u64,
}

impl Default for Findings {
    fn default() -> Self {
        Self {
            counters: 0,
            drifted: 0,
            repaired: 0,
            unproven: 0,
            hurried: false,
            missing: 0,
            ghosts: 0,
            drift_sum: Amount::ZERO,
            drift_abs_sum: Amount::ZERO,
            samples: Vec::new(),
            too_low: 0,
            targets: 1,
        }
    }
}

impl Findings {
    /// The most samples that a report holds.
    pub const MAX_SAMPLES: usize = 10;

    /// Takes note of a change that is proven right, of the target of this name, which is empty where the
    /// query has only one.
    pub fn add(&mut self, target: &str, change: &Change) {
        if change.removes() {
            self.ghosts += 1;
        } else {
            self.count_drifted(change);
        }
        self.add_sample(target, change);
    }

    fn count_drifted(&mut self, change: &Change) {
        self.drifted += 1;
        self.missing += u64::from(change.from.is_none());
        self.too_low += u64::from(change.drift().to_f64() > 0.0);
        self.drift_sum = self.drift_sum.plus(change.drift());
        self.drift_abs_sum = self.drift_abs_sum.plus(change.drift().abs());
    }

    /// Keeps the change if it is among the worst; of equal ones, those that came first.
    fn add_sample(&mut self, target: &str, change: &Change) {
        let size = change.drift().abs().to_f64();
        let is_full = self.samples.len() >= Self::MAX_SAMPLES;
        if is_full && self.samples.last().is_some_and(|least| least.size() >= size) {
            return;
        }
        let place = self.samples.partition_point(|kept| kept.size() >= size);
        let (target, id) = (target.to_owned(), change.id.to_string());
        self.samples.insert(place, Sample { target, id, redis: change.from, mysql: change.to });
        self.samples.truncate(Self::MAX_SAMPLES);
    }

    /// How many counters there are in all the targets.
    #[must_use]
    pub fn in_all(&self) -> u64 {
        self.counters.saturating_mul(self.targets.max(1))
    }

    /// Whether there is nothing to tell. A query that returned no row may have found ghosts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { counters, drifted, repaired, unproven, missing, ghosts, .. } = self;
        [counters, drifted, repaired, unproven, missing, ghosts].iter().all(|number| **number == 0)
    }

    /// How the drift lies, in words: its share of the counters, and its sign. Empty if there is none.
    #[must_use]
    pub fn drift_in_words(&self) -> String {
        if self.drifted == 0 {
            return String::new();
        }
        let (low, high) = (self.too_low, self.drifted.saturating_sub(self.too_low));
        let share = share(self.drifted, self.in_all());
        format!("{share}, {low} too low, {high} too high")
    }
}

/// A share in percent: two digits after the point, and never 0 for what is something.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "two digits need no exact count")]
pub fn share(part: u64, of: u64) -> String {
    let percent = part as f64 * 100.0 / of.max(1) as f64;
    if part > 0 && percent < 0.01 { "<0.01%".to_owned() } else { format!("{percent:.2}%") }
}

impl Sample {
    /// How far the counter was off: truth − counter, absent being 0 (R1).
    #[must_use]
    pub fn drift(&self) -> Amount {
        Amount::between(self.redis, self.mysql)
    }

    fn size(&self) -> f64 {
        self.drift().abs().to_f64()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::{Id, Proof};

    fn change(id: u64, from: Option<i64>, to: Option<i64>) -> Change {
        let [from, to] = [from, to].map(|n| n.map(Amount::Int));
        Change { id: Id::Number(id), from, to, proof: Proof::Still }
    }

    #[test]
    fn the_samples_are_the_worst_of_the_drifted_and_the_ghosts_the_worst_first() {
        let mut found = Findings::default();
        for id in 1..=50 {
            found.add("", &change(id, Some(100), Some(101)));
        }
        found.add("", &change(60, Some(5), Some(2)));
        found.add("", &change(61, Some(900), None));
        found.add("", &change(62, None, Some(40)));
        let ids: Vec<&str> = found.samples.iter().map(|sample| sample.id.as_str()).collect();
        assert_eq!(ids, ["61", "62", "60", "1", "2", "3", "4", "5", "6", "7"]);
        assert_eq!((found.drifted, found.too_low, found.ghosts), (52, 51, 1));
    }

    #[test]
    fn a_sample_names_its_target_only_where_there_are_several() {
        let mut found = Findings::default();
        found.add("", &change(1, Some(1), Some(9)));
        found.add("likes", &change(1, Some(1), Some(2)));
        let samples = serde_json::to_value(&found.samples).unwrap();
        assert_eq!(samples[0], serde_json::json!({"id": "1", "redis": 1, "mysql": 9}));
        assert_eq!(samples[1]["target"], "likes");
    }

    #[test]
    fn the_share_is_that_of_all_the_targets() {
        let mut found = Findings { counters: 100, targets: 2, ..Findings::default() };
        for id in 1..=100 {
            found.add("", &change(id, Some(1), Some(2)));
        }
        assert_eq!(found.drift_in_words(), "50.00%, 100 too low, 0 too high");
    }

    #[test]
    fn ghosts_alone_are_something_to_tell() {
        let mut found = Findings::default();
        assert!(found.is_empty());
        found.add("", &change(1, Some(5), None));
        assert!(!found.is_empty());
    }

    #[test]
    fn a_share_says_how_much_of_the_whole_it_is() {
        for (part, of, text) in
            [(12, 20_000, "0.06%"), (1, 1, "100.00%"), (1, 1_000_000, "<0.01%"), (0, 0, "0.00%")]
        {
            assert_eq!(share(part, of), text);
        }
    }
}
