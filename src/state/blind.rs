//! What a writer minds whose daemon began without its memory: the file could be opened only later, and
//! holds what that daemon has never read.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};

use super::RunNumber;
use super::recall::highest;
use crate::agenda::Remembered;

/// A daemon that began without its memory.
#[derive(Debug)]
pub struct Blind {
    began: DateTime<Utc>,
    /// Numbers up to here are those of other daemons' runs.
    taken: i64,
    /// The jobs that were paused since the start: their pauses are the daemon's own from then on.
    paused: HashSet<Arc<str>>,
}

impl Blind {
    /// A daemon that began at `now`. Its runs have numbers that no other has: the file may have those
    /// from 1 on, and at fewer than a thousand runs a second no earlier daemon that was blind has come
    /// as far as the milliseconds since the epoch.
    pub fn new(now: DateTime<Utc>) -> Self {
        Self { began: now, taken: now.timestamp_millis().max(0), paused: HashSet::new() }
    }

    /// The number before those of its runs.
    pub fn last_run(&self) -> u64 {
        u64::try_from(self.taken).unwrap_or(0)
    }

    /// The file is open at last. Gives the first number that may be one of this daemon's, and whether
    /// the file has something that the daemon should have known from its start on.
    pub fn look(&mut self, at: &Connection) -> rusqlite::Result<(i64, bool)> {
        let highest = highest(at)?;
        if highest > self.taken {
            // Only a clock that was set back can do that.
            log::error!("runs are not recorded up to number {highest}, which others have had");
            self.taken = highest;
        }
        let is_unread = at.query_row(
            "SELECT EXISTS (SELECT 1 FROM added WHERE at < ?1) \
             OR EXISTS (SELECT 1 FROM jobs WHERE paused <> 0)",
            params![self.began.timestamp_millis()],
            |row| row.get(0),
        )?;
        Ok((self.taken.saturating_add(1), is_unread))
    }

    /// Whether a run may be written down, or has the number of another.
    pub fn owns(&self, run: RunNumber) -> bool {
        run.raw() > self.taken
    }

    /// Whether the daemon knows if a job is paused: of a pause that only the file knows it can say
    /// nothing, until it has paused the job itself.
    pub fn knows_pause(&mut self, job: &Arc<str>, memory: &Remembered) -> bool {
        if memory.paused.is_some() {
            self.paused.insert(Arc::clone(job));
        }
        self.paused.contains(job)
    }
}
