//! The last good run of each job: what a later result is measured against (R7).

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params};

use crate::config::Job;
use crate::jobs;
use crate::report::{Outcome, Report};

/// Takes note of a run if it was good: it neither failed nor was refused, and was no dry run.
pub fn remember(
    to: &Connection,
    job: &Job,
    report: &Report,
    at: DateTime<Utc>,
) -> rusqlite::Result<()> {
    let is_good = matches!(report.outcome, Outcome::Clean | Outcome::Repaired | Outcome::Partial);
    if report.dry_run || !is_good {
        return Ok(());
    }
    to.prepare_cached(
        "INSERT INTO good (job, basis, rows, finished) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (job) DO UPDATE SET basis = ?2, rows = ?3, finished = ?4",
    )?
    .execute(params![
        &*job.name,
        jobs::basis(job),
        i64::try_from(report.findings.counters).unwrap_or(i64::MAX),
        at.timestamp_millis(),
    ])?;
    Ok(())
}

/// How many rows the result had in the last good run; `None` if there was none yet, or if the query
/// or where its counters live has been edited since.
pub fn recall(from: &Connection, job: &Job) -> rusqlite::Result<Option<u64>> {
    let rows: Option<i64> = from
        .query_row(
            "SELECT rows FROM good WHERE job = ?1 AND basis = ?2",
            params![&*job.name, jobs::basis(job)],
            |row| row.get(0),
        )
        .optional()?;
    Ok(rows.and_then(|rows| u64::try_from(rows).ok()))
}
