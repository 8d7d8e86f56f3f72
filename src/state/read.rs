//! Reading the log of runs, also while the daemon writes it.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, ToSql, params};

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
    /// When it ended; `None` if it has not.
    pub finished: Option<DateTime<Utc>>,
    /// From its start to its end, in milliseconds; `None` if it did not run, or has not ended.
    pub took_ms: Option<i64>,
    /// How many attempts there were.
    pub attempts: u32,
    /// Why it was begun: `slot`, `trigger`, or `once` for a run beside the daemon.
    pub cause: String,
    /// Whether it was told to write nothing.
    pub dry_run: bool,
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

/// What the state knows of a job's last runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Last {
    /// The last run of the daemon that has ended, run or not.
    pub ended: Option<Row>,
    /// When a run of the daemon last found every counter true, or made it so.
    pub clean: Option<DateTime<Utc>>,
}

const COLUMNS: &str = "id, job, slot, started, finished, took_ms, attempts, \
    COALESCE(cause, CASE WHEN id < 0 THEN 'once' ELSE 'slot' END), dry, \
    CASE WHEN until < ?1 THEN 'interrupted' ELSE outcome END, reason, report, \
    COALESCE((SELECT SUM(written) FROM evidence WHERE run = runs.id), 0)";
const NEWEST: &str = "ORDER BY COALESCE(started, finished, slot) DESC, id DESC LIMIT";

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
    let which = if job.is_some() { "job = ?2" } else { "?2 IS NULL" };
    ask(path, |connection| select(connection, path, which, job, now, most))
}

/// One record; `None` if there is no such run.
///
/// # Errors
/// As [`runs`].
pub fn run(path: &Path, id: RunNumber, now: DateTime<Utc>) -> Result<Option<Row>, StateError> {
    ask(path, |connection| select(connection, path, "id = ?2", id, now, 1))
        .map(|mut rows| rows.pop())
}

/// What the state knows of the last runs of these jobs.
///
/// # Errors
/// As [`runs`].
pub fn last<'a>(
    path: &Path,
    jobs: impl Iterator<Item = &'a str>,
    now: DateTime<Utc>,
) -> Result<Vec<Last>, StateError> {
    ask(path, |connection| {
        let which = "job = ?2 AND id > 0 AND outcome NOT IN ('running', 'waiting')";
        let mut clean = connection.prepare(
            "SELECT finished FROM runs WHERE job = ?1 AND id > 0 \
             AND outcome IN ('clean', 'repaired') \
             ORDER BY COALESCE(started, finished, slot) DESC LIMIT 1",
        )?;
        let last = |job: &str| {
            let ended = select(connection, path, which, job, now, 1)?.pop();
            let found = clean.query_row(params![job], |row| row.get::<_, Option<i64>>(0));
            let clean = found.optional()?.flatten().and_then(DateTime::from_timestamp_millis);
            Ok(Last { ended, clean })
        };
        jobs.map(last).collect()
    })
}

fn ask<T>(
    path: &Path,
    question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, StateError> {
    let connection = open_to_read(path)?;
    question(&connection).map_err(|error| explain(path, &error))
}

fn select(
    connection: &Connection,
    path: &Path,
    which: &str,
    of: impl ToSql,
    now: DateTime<Utc>,
    most: u32,
) -> rusqlite::Result<Vec<Row>> {
    let text = format!("SELECT {COLUMNS} FROM runs WHERE {which} {NEWEST} ?3");
    let mut statement = connection.prepare_cached(&text)?;
    let rows = statement.query_map(params![now.timestamp_millis(), of, most], |row| {
        let instant = |ms: Option<i64>| ms.and_then(DateTime::from_timestamp_millis);
        let id = row.get(0)?;
        let repairs = row.get::<_, i64>(12)?.unsigned_abs();
        let file = evidence::file(path, id);
        Ok(Row {
            id,
            job: row.get(1)?,
            slot: instant(row.get(2)?).unwrap_or_default(),
            started: instant(row.get(3)?),
            finished: instant(row.get(4)?),
            took_ms: row.get(5)?,
            attempts: row.get(6)?,
            cause: row.get(7)?,
            dry_run: row.get(8)?,
            outcome: row.get(9)?,
            reason: row.get(10)?,
            report: row.get(11)?,
            repairs,
            evidence: (repairs > evidence::IN_TABLE && file.exists()).then_some(file),
        })
    })?;
    rows.collect()
}
