//! The record of a run that goes on beside the daemon, of `once` or of `undo`, on the same file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::prune::prune;
use super::schema::{explain, make_folder, open};
use super::{RunNumber, StateError, evidence, good};
use crate::config::{Job, Keep};
use crate::report::Report;

/// A run beside the daemon, from its beginning to its end. It takes no lock.
pub struct Beside {
    path: PathBuf,
    connection: Connection,
    number: RunNumber,
}

/// How such a run ended.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a> {
    /// In a word.
    pub outcome: &'a str,
    /// Why, if the word does not say it all.
    pub reason: Option<&'a str>,
    /// What it found.
    pub report: Option<&'a Report>,
    /// How long it took.
    pub took: Duration,
}

impl Beside {
    /// How much longer than its timeout a run may take to end.
    pub const SLACK: Duration = Duration::from_secs(60);

    /// Writes down that a run begins; the file is made if it is not there. It is over after
    /// `at_most`: if nothing is heard of it by then, it was killed.
    ///
    /// # Errors
    /// The file is foreign, newer, damaged, or cannot be written.
    pub fn begin(
        path: &Path,
        job: &str,
        now: DateTime<Utc>,
        at_most: Duration,
    ) -> Result<Self, StateError> {
        make_folder(path)?;
        let connection = open(path)?;
        let until = TimeDelta::from_std(at_most).ok().and_then(|time| now.checked_add_signed(time));
        let until = until.unwrap_or(DateTime::<Utc>::MAX_UTC).timestamp_millis();
        let begin = || {
            let transaction =
                Transaction::new_unchecked(&connection, TransactionBehavior::Immediate)?;
            // Not the lowest that is left: a number that was pruned names no other run.
            let last = transaction.query_row("SELECT lowest FROM beside", [], |row| row.get(0))?;
            let number = RunNumber::beside(last);
            transaction.execute("UPDATE beside SET lowest = ?1", params![number])?;
            let now = now.timestamp_millis();
            transaction.execute(
                "INSERT INTO runs (id, job, slot, attempts, started, outcome, until) \
                 VALUES (?1, ?2, ?3, 1, ?3, 'running', ?4)",
                params![number, job, now, until],
            )?;
            transaction.commit()?;
            Ok(number)
        };
        let number = begin().map_err(|error: rusqlite::Error| explain(path, &error))?;
        // A file of that number can only be left over from a state that is gone.
        fs::remove_file(evidence::file(path, number)).ok();
        Ok(Self { path: path.to_owned(), connection, number })
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> RunNumber {
        self.number
    }

    /// Writes down how it ended, and removes what is too old: the daemon may never run here.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn ended(
        self,
        job: &Job,
        ending: &Ending<'_>,
        now: DateTime<Utc>,
        keep: Keep,
    ) -> Result<(), StateError> {
        let end = || {
            let report = ending.report.and_then(|report| serde_json::to_string(report).ok());
            self.connection.execute(
                "UPDATE runs SET finished = MAX(started, ?2), took_ms = ?3, outcome = ?4, \
                 reason = ?5, report = ?6, until = NULL WHERE id = ?1",
                params![
                    self.number,
                    now.timestamp_millis(),
                    i64::try_from(ending.took.as_millis()).unwrap_or(i64::MAX),
                    ending.outcome,
                    ending.reason,
                    report,
                ],
            )?;
            if let Some(report) = ending.report {
                good::remember(&self.connection, job, report, now)?;
            }
            prune(&self.connection, &self.path, keep, now)
        };
        end().map_err(|error| explain(&self.path, &error))
    }
}
