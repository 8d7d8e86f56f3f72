//! The answers to requests that carry an `Idempotency-Key`, so that a retry is given the same one.

use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{OptionalExtension, params};

use super::StateError;
use super::schema::{explain, open_beside};

/// How long an answer is kept.
const KEPT: TimeDelta = TimeDelta::hours(24);
/// The most answers that are kept; beyond that the oldest go.
const MOST: u32 = 10_000;

/// Where answers are kept: the state file of a daemon that runs.
#[derive(Debug, Clone)]
pub struct Answers(PathBuf);

/// An answer that was given before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What tells one request from another, as it was given.
    pub request: String,
    /// The answer, as it was given.
    pub answer: String,
}

impl Answers {
    /// The answers in this state file.
    #[must_use]
    pub fn of(state: &Path) -> Self {
        Self(state.to_owned())
    }

    /// The answer to an earlier request with this key, if it is kept still.
    ///
    /// # Errors
    /// The file is not there, or damaged.
    pub fn find(&self, key: &str, now: DateTime<Utc>) -> Result<Option<Kept>, StateError> {
        let connection = open_beside(&self.0)?;
        let text = "SELECT request, answer FROM answers WHERE key = ?1 AND at > ?2";
        let oldest = (now - KEPT).timestamp_millis();
        let found = connection.query_row(text, params![key, oldest], |row| {
            Ok(Kept { request: row.get(0)?, answer: row.get(1)? })
        });
        found.optional().map_err(|error| explain(&self.0, &error))
    }

    /// Keeps an answer, and lets the old ones go.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn keep(&self, key: &str, kept: &Kept, now: DateTime<Utc>) -> Result<(), StateError> {
        let mut connection = open_beside(&self.0)?;
        let mut write = || {
            let transaction = connection.transaction()?;
            transaction.execute(
                "INSERT OR REPLACE INTO answers (key, request, answer, at) VALUES (?1, ?2, ?3, ?4)",
                params![key, kept.request, kept.answer, now.timestamp_millis()],
            )?;
            transaction.execute(
                "DELETE FROM answers WHERE at <= ?1 OR key IN \
                 (SELECT key FROM answers ORDER BY at DESC LIMIT -1 OFFSET ?2)",
                params![(now - KEPT).timestamp_millis(), MOST],
            )?;
            transaction.commit()
        };
        write().map_err(|error| explain(&self.0, &error))
    }
}
