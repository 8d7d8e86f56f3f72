//! Reading the log of runs, also while the daemon writes it.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rusqlite::params;

use super::schema::{explain, open_to_read};
use super::{RunNumber, StateError, evidence};

/// A slot and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The run's number.
    pub id: RunNumber,
    /// The job's name.
    pub job: String,
    /// The slot; of a run beside the daemon, when it began.
    pub slot: DateTime<Utc>,
    /// When its first attempt started; `None` if none did.
    pub started: Option<DateTime<Utc>>,
    /// From then to the end, in milliseconds; `None` if it did not run, or has not ended.
    pub took_ms: Option<i64>,
    /// How many attempts there were.
    pub attempts: u32,
    /// How it ended, in a word; `running` if it has not.
    pub outcome: String,
    /// Why.
    pub reason: Option<String>,
    /// The report as JSON, as `once --json` gives it.
    pub report: Option<String>,
    /// How many counters it wrote.
    pub repairs: u64,
    /// The file with the evidence that the state itself does not hold, if there is one.
    pub evidence: Option<PathBuf>,
}

/// The newest `most` records, of one job or of all, the newest first. `now` tells which of the runs
/// beside the daemon cannot be running any more.
///
/// # Errors
/// There is no such file, or it is none of ours, newer or damaged.
pub fn runs(
    path: &Path,
    job: Option<&str>,
    most: u32,
    now: DateTime<Utc>,
) -> Result<Vec<Row>, StateError> {
    let connection = open_to_read(path)?;
    let read = || {
        let which = if job.is_some() { "job = ?1" } else { "?1 IS NULL" };
        let text = format!(
            "SELECT id, job, slot, started, took_ms, attempts, \
             CASE WHEN until < ?3 THEN 'interrupted' ELSE outcome END, reason, report, \
             COALESCE((SELECT SUM(written) FROM evidence WHERE run = runs.id), 0) \
             FROM runs WHERE {which} \
             ORDER BY COALESCE(started, finished, slot) DESC, id DESC LIMIT ?2",
        );
        let mut statement = connection.prepare(&text)?;
        let rows = statement.query_map(params![job, most, now.timestamp_millis()], |row| {
            let instant = |ms: Option<i64>| ms.and_then(DateTime::from_timestamp_millis);
            let id = row.get(0)?;
            let repairs = row.get::<_, i64>(9)?.unsigned_abs();
            let file = evidence::file(path, id);
            Ok(Row {
                id,
                job: row.get(1)?,
                slot: instant(row.get(2)?).unwrap_or_default(),
                started: instant(row.get(3)?),
                took_ms: row.get(4)?,
                attempts: row.get(5)?,
                outcome: row.get(6)?,
                reason: row.get(7)?,
                report: row.get(8)?,
                repairs,
                evidence: (repairs > evidence::IN_TABLE && file.exists()).then_some(file),
            })
        })?;
        rows.collect::<rusqlite::Result<Vec<Row>>>()
    };
    read().map_err(|error| explain(path, &error))
}
