//! A run as JSON: what `runs --json`, the API and the event stream give.

use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Row, RunNumber};
use crate::agenda::{Order, Record, SlotEnd};

/// A [`Row`] with its times in a zone.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// The run's number.
    pub id: RunNumber,
    /// The job's name.
    pub job: String,
    /// The slot; of a triggered run, the moment of the trigger.
    pub slot: String,
    /// `slot`, `trigger` or `once`.
    pub cause: String,
    /// Whether it was told to write nothing.
    pub dry_run: bool,
    /// When its first attempt started.
    pub started_at: Option<String>,
    /// When it ended.
    pub finished_at: Option<String>,
    /// From its start to its end, in milliseconds.
    pub duration_ms: Option<i64>,
    /// How many attempts there were.
    pub attempts: u32,
    /// How it ended, in a word; `waiting` or `running` if it has not.
    pub outcome: String,
    /// Why.
    pub reason: Option<String>,
    /// The report, as `once --json` gives it.
    pub report: Option<Box<RawValue>>,
    /// How many counters it wrote.
    pub repairs: u64,
    /// The file with the evidence that the state itself does not hold.
    pub evidence: Option<PathBuf>,
}

impl Row {
    /// The row as JSON has it.
    #[must_use]
    pub fn shown(self, zone: Tz) -> Shown {
        let text = |at: DateTime<Utc>| time(at, zone);
        Shown {
            id: self.id,
            job: self.job,
            slot: text(self.slot),
            cause: self.cause,
            dry_run: self.dry_run,
            started_at: self.started.map(text),
            finished_at: self.finished.map(text),
            duration_ms: self.took_ms,
            attempts: self.attempts,
            outcome: self.outcome,
            reason: self.reason,
            report: self.report.and_then(|json| RawValue::from_string(json).ok()),
            repairs: self.repairs,
            evidence: self.evidence,
        }
    }

    /// The row without the samples of its report: where many jobs are shown they are most of it.
    #[must_use]
    pub fn brief(mut self) -> Self {
        let brief = |json: String| {
            let mut report: serde_json::Value = serde_json::from_str(&json).ok()?;
            *report.get_mut("samples")? = serde_json::Value::Array(Vec::new());
            Some(report.to_string())
        };
        self.report = self.report.and_then(brief);
        self
    }

    /// What the state will hold of a run that ended `at`.
    #[must_use]
    pub fn of(record: &Record, at: DateTime<Utc>) -> Self {
        let (attempts, report) = match &record.end {
            SlotEnd::Ran { attempts, report, .. } => (*attempts, report.as_deref()),
            _ => (0, None),
        };
        Self {
            id: record.run.into(),
            job: record.job.name.to_string(),
            slot: record.slot,
            started: record.started,
            finished: Some(end_of(record, at)),
            took_ms: record.took.map(|took| i64::try_from(took.as_millis()).unwrap_or(i64::MAX)),
            attempts,
            cause: record.cause.word().to_owned(),
            dry_run: record.cause.is_dry(),
            outcome: record.end.word().to_owned(),
            reason: record.reason(),
            report: report.and_then(|report| serde_json::to_string(report).ok()),
            repairs: report.map_or(0, |report| report.findings.repaired),
            evidence: None,
        }
    }

    /// What the state will hold of a run that has begun; `started` if it is with the pool.
    #[must_use]
    pub fn begun(order: &Order, started: Option<DateTime<Utc>>) -> Self {
        Self {
            id: order.run.into(),
            job: order.job.name.to_string(),
            slot: order.slot,
            started,
            finished: None,
            took_ms: None,
            attempts: if started.is_some() { order.attempt } else { 0 },
            cause: order.cause.word().to_owned(),
            dry_run: order.cause.is_dry(),
            outcome: if started.is_some() { "running" } else { "waiting" }.to_owned(),
            reason: None,
            report: None,
            repairs: 0,
            evidence: None,
        }
    }
}

/// When a run ended: the time of the loop's turn, which is a little older than what the worker may have
/// read meanwhile. No run ends before it starts.
pub(super) fn end_of(record: &Record, at: DateTime<Utc>) -> DateTime<Utc> {
    record.started.map_or(at, |started| started.max(at))
}

/// An instant as JSON has it: RFC 3339 in the job's zone, the finest unit being the millisecond.
#[must_use]
pub fn time(at: DateTime<Utc>, zone: Tz) -> String {
    at.trunc_subsecs(3).with_timezone(&zone).to_rfc3339_opts(SecondsFormat::AutoSi, false)
}
