//! Reading the log of runs, also while the daemon writes it.

use std::path::Path;

use chrono::{DateTime, Utc};
use rusqlite::params;

use super::StateError;
use super::schema::{explain, open_to_read};

/// A slot and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The run's number.
    pub id: i64,
    /// The job's name.
    pub job: String,
    /// The slot.
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
}

/// The newest `most` records, of one job or of all, the newest first.
///
/// # Errors
/// There is no such file, or it is none of ours, newer or damaged.
pub fn runs(path: &Path, job: Option<&str>, most: u32) -> Result<Vec<Row>, StateError> {
    let connection = open_to_read(path)?;
    let read = || {
        let mut statement = connection.prepare(
            "SELECT id, job, slot, started, took_ms, attempts, outcome, reason, report FROM runs \
             WHERE ?1 IS NULL OR job = ?1 ORDER BY id DESC LIMIT ?2",
        )?;
        let rows = statement.query_map(params![job, most], |row| {
            let instant = |ms: Option<i64>| ms.and_then(DateTime::from_timestamp_millis);
            Ok(Row {
                id: row.get(0)?,
                job: row.get(1)?,
                slot: instant(row.get(2)?).unwrap_or_default(),
                started: instant(row.get(3)?),
                took_ms: row.get(4)?,
                attempts: row.get(5)?,
                outcome: row.get(6)?,
                reason: row.get(7)?,
                report: row.get(8)?,
            })
        })?;
        rows.collect::<rusqlite::Result<Vec<Row>>>()
    };
    read().map_err(|error| explain(path, &error))
}
