//! Asking the evidence: what was written to a counter, by whom, and why (R10).

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params};

use super::evidence::{self, COLUMNS, from_line, from_row};
use super::schema::{explain, open_to_read};
use super::{RunNumber, StateError, lock};
use crate::reconcile::{Amount, Id, Repair};

/// The state file, open for questions; the daemon may write to it meanwhile.
pub struct History {
    path: PathBuf,
    connection: Connection,
}

/// A repair and the run that made it.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The run.
    pub run: RunNumber,
    /// What it wrote.
    pub repair: Repair,
    /// Where the counter was; `None` if that is not on record.
    pub place: Option<String>,
}

/// An id that was repaired in several runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Offender {
    /// The target's name where the query has several, else empty.
    pub target: String,
    /// The id.
    pub id: Id,
    /// In so many runs.
    pub runs: u64,
    /// The sum of what they added.
    pub added: Amount,
    /// The sum of its sizes.
    pub added_abs: Amount,
    /// When it was repaired last.
    pub last: DateTime<Utc>,
}

/// All that is known of what a run wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The job's name.
    pub job: String,
    /// Whether the run goes on still.
    pub is_running: bool,
    /// Where its counters live, by the target's name.
    pub places: Vec<(String, String)>,
    /// How many counters it wrote.
    pub written: u64,
    /// What is kept of that, the oldest first.
    pub repairs: Vec<Repair>,
}

impl History {
    /// Opens the file.
    ///
    /// # Errors
    /// There is no such file, or it is none of ours, newer or damaged.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        Ok(Self { path: path.to_owned(), connection: open_to_read(path)? })
    }

    /// Every repair of an id, the oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of_id(&self, job: &str, id: &Id) -> Result<Vec<Written>, StateError> {
        let mut found = self.ask(|connection| {
            let text = format!("SELECT {COLUMNS} FROM repairs WHERE job = ?1 AND id = ?2");
            let mut statement = connection.prepare(&text)?;
            let rows = statement.query_map(params![job, id.to_bytes()], from_row)?;
            let written = |(run, repair)| Written { run, repair, place: None };
            rows.map(|row| row.map(written)).collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let start = evidence::line_start(id);
        for run in self.runs_of(job)? {
            self.each_line(run, |line| {
                if line.starts_with(&start)
                    && let Some(repair) = from_line(line)
                {
                    found.push(Written { run, repair, place: None });
                }
            })?;
        }
        found.sort_by_key(|written| written.repair.at);
        for Written { run, repair, place } in &mut found {
            *place = self.ask(|connection| {
                let text = "SELECT place FROM evidence WHERE run = ?1 AND target = ?2";
                let mut statement = connection.prepare_cached(text)?;
                statement.query_row(params![*run, &*repair.target], |row| row.get(0)).optional()
            })?;
        }
        Ok(found)
    }

    /// The ids that were repaired in several runs, at most `most` of them, the most often repaired
    /// first. Only repairs in the table count: the first thousand of each run.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn offenders(&self, job: &str, most: u32) -> Result<Vec<Offender>, StateError> {
        self.ask(|connection| {
            let mut statement = connection.prepare(
                "SELECT target, id, COUNT(DISTINCT run) AS runs FROM repairs \
                 WHERE job = ?1 AND proof <> 'undo' GROUP BY id, target HAVING runs > 1 \
                 ORDER BY runs DESC, MAX(at) DESC LIMIT ?2",
            )?;
            let rows = statement.query_map(params![job, most], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, i64>(2)?))
            })?;
            let text = format!(
                "SELECT {COLUMNS} FROM repairs \
                 WHERE job = ?1 AND id = ?2 AND target = ?3 AND proof <> 'undo'"
            );
            let mut each = connection.prepare(&text)?;
            let mut offenders = Vec::new();
            for row in rows {
                let (target, id, runs) = row?;
                let (mut added, mut added_abs) = (Amount::ZERO, Amount::ZERO);
                let mut last = DateTime::<Utc>::MIN_UTC;
                for repair in each.query_map(params![job, id, target], from_row)? {
                    let (_, repair) = repair?;
                    added = added.plus(repair.added());
                    added_abs = added_abs.plus(repair.added().abs());
                    last = last.max(repair.at);
                }
                let (id, runs) = (Id::from_bytes(&id), runs.unsigned_abs());
                offenders.push(Offender { target, id, runs, added, added_abs, last });
            }
            Ok(offenders)
        })
    }

    /// Whether a run of the job wrote more than the table holds.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn has_files(&self, job: &str) -> Result<bool, StateError> {
        let runs = self.runs_of(job)?;
        Ok(runs.into_iter().any(|run| evidence::file(&self.path, run).exists()))
    }

    /// In how many other runs than `run` an id was repaired in a target, or in any if that is
    /// empty; of those in the table.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn runs_that_repaired(
        &self,
        job: &str,
        target: &str,
        id: &Id,
        run: Option<RunNumber>,
    ) -> Result<u64, StateError> {
        self.ask(|connection| {
            connection.query_row(
                "SELECT COUNT(DISTINCT run) FROM repairs \
                 WHERE job = ?1 AND id = ?2 AND run IS NOT ?3 AND proof <> 'undo' \
                 AND target = ?4",
                params![job, id.to_bytes(), run, target],
                |row| row.get::<_, i64>(0).map(i64::unsigned_abs),
            )
        })
    }

    /// When the last run of a job ended that found every counter true.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn last_clean(&self, job: &str) -> Result<Option<DateTime<Utc>>, StateError> {
        let finished: Option<i64> = self.ask(|connection| {
            connection.query_row(
                "SELECT MAX(finished) FROM runs WHERE job = ?1 AND outcome = 'clean'",
                params![job],
                |row| row.get(0),
            )
        })?;
        Ok(finished.and_then(DateTime::from_timestamp_millis))
    }

    /// What a run wrote; `None` if there is no such run. `now` tells whether one beside the daemon
    /// can be running still; one of the daemon's cannot where no daemon runs.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of_run(
        &self,
        run: RunNumber,
        now: DateTime<Utc>,
    ) -> Result<Option<Evidence>, StateError> {
        let Some((job, is_running, report)): Option<(_, bool, _)> = self.ask(|connection| {
            let text = "SELECT job, outcome = 'running' AND (until IS NULL OR until >= ?2), \
                 report FROM runs WHERE id = ?1";
            connection
                .query_row(text, params![run, now.timestamp_millis()], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<String>>(2)?))
                })
                .optional()
        })?
        else {
            return Ok(None);
        };
        let is_running = is_running && (run.is_beside() || lock::is_held(&self.path));
        let mut written = 0;
        let places = self.ask(|connection| {
            let text = "SELECT target, place, written FROM evidence WHERE run = ?1";
            let mut statement = connection.prepare(text)?;
            let rows = statement.query_map(params![run], |row| {
                written += row.get::<_, i64>(2)?.unsigned_abs();
                Ok((row.get(0)?, row.get(1)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let mut repairs = self.ask(|connection| {
            let text = format!("SELECT {COLUMNS} FROM repairs WHERE run = ?1 ORDER BY nr");
            let mut statement = connection.prepare(&text)?;
            let rows = statement.query_map(params![run], from_row)?;
            rows.map(|row| row.map(|(_, repair)| repair)).collect::<rusqlite::Result<Vec<_>>>()
        })?;
        self.each_line(run, |line| repairs.extend(from_line(line)))?;
        // The count of a run that was killed may lack the last ones; where the disk has failed, the
        // report may be all that there is.
        let written = written.max(repairs.len() as u64).max(repaired(report.as_deref()));
        Ok(Some(Evidence { job, is_running, places, written, repairs }))
    }

    /// The runs of a job that left evidence.
    pub(super) fn runs_of(&self, job: &str) -> Result<Vec<RunNumber>, StateError> {
        self.ask(|connection| {
            let text = "SELECT DISTINCT run FROM evidence WHERE job = ?1";
            let mut statement = connection.prepare(text)?;
            let rows = statement.query_map(params![job], |row| row.get(0))?;
            rows.collect()
        })
    }

    fn each_line(&self, run: RunNumber, take: impl FnMut(&[u8])) -> Result<(), StateError> {
        self.each_line_after(run, 0, take).map(|_| ())
    }

    /// The lines of a run's file from a place in it on, in bytes; gives where they end.
    pub(super) fn each_line_after(
        &self,
        run: RunNumber,
        start: u64,
        take: impl FnMut(&[u8]),
    ) -> Result<u64, StateError> {
        let path = evidence::file(&self.path, run);
        evidence::each_line(&path, start, take)
            .map_err(|error| StateError::Unavailable { reason: error.to_string(), path })
    }

    pub(super) fn ask<T>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        question(&self.connection).map_err(|error| explain(&self.path, &error))
    }
}

/// How many counters a report says were repaired.
fn repaired(report: Option<&str>) -> u64 {
    let report: Option<serde_json::Value> = report.and_then(|json| serde_json::from_str(json).ok());
    report.and_then(|report| report.get("repaired")?.as_u64()).unwrap_or(0)
}
