//! What keeps an undo from what is another's: what other runs have written since, and which repairs
//! were taken off already.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};

use super::evidence::{COLUMNS, from_line, from_row};
use super::{Evidence, History, RunNumber, StateError};
use crate::jobs;
use crate::reconcile::{Id, Repair};

/// A target's name and an id.
type Counter = (Arc<str>, Id);

/// The claims of one undo. It has a connection of its own.
pub struct Claims {
    history: History,
    job: String,
    /// The run that is undone.
    run: RunNumber,
    /// The undo; `None`: a dry run.
    by: Option<RunNumber>,
    /// When the run wrote its counters first.
    ours: HashMap<Counter, DateTime<Utc>>,
    /// When others wrote some of them last, if that was not before.
    others: HashMap<Counter, DateTime<Utc>>,
    /// How far the evidence has been read: the table, and each file.
    read: i64,
    files: HashMap<RunNumber, u64>,
}

impl Claims {
    /// Reads what other runs than `run` have written since. Nothing is claimed before
    /// [`Claims::made_by`].
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn open(state: &Path, run: RunNumber, evidence: &Evidence) -> Result<Self, StateError> {
        let mut ours = HashMap::new();
        // The oldest repair comes first, and stays.
        for repair in &evidence.repairs {
            ours.entry(counter(repair)).or_insert(repair.at);
        }
        let mut claims = Self {
            history: History::open(state)?,
            job: evidence.job.clone(),
            run,
            by: None,
            ours,
            others: HashMap::new(),
            read: 0,
            files: HashMap::new(),
        };
        claims.read_on()?;
        Ok(claims)
    }

    /// It is no dry run, and this is its number.
    pub fn made_by(&mut self, undo: RunNumber) {
        self.by = Some(undo);
    }

    /// Reads what has been written down since it last did.
    fn read_on(&mut self) -> Result<(), StateError> {
        let Self { history, job, run, by, ours, others, read, files } = self;
        if ours.is_empty() {
            return Ok(());
        }
        let mut look = |repair: Repair| {
            let counter = counter(&repair);
            if ours.get(&counter).is_some_and(|at| repair.at >= *at) {
                let last = others.entry(counter).or_insert(repair.at);
                *last = repair.at.max(*last);
            }
        };
        *read = history.ask(|connection| {
            let last = "SELECT MAX(nr) FROM repairs";
            let last: Option<i64> = connection.query_row(last, [], |row| row.get(0))?;
            let text = format!(
                "SELECT {COLUMNS} FROM repairs WHERE nr > ?1 AND nr <= ?2 AND job = ?3 \
                 AND run <> ?4 AND run IS NOT ?5"
            );
            let last = last.unwrap_or(*read);
            let mut statement = connection.prepare_cached(&text)?;
            for row in statement.query_map(params![*read, last, *job, *run, *by], from_row)? {
                look(row?.1);
            }
            Ok(last)
        })?;
        for other in history.runs_of(job)? {
            if other == *run || Some(other) == *by {
                continue;
            }
            let start = files.get(&other).copied().unwrap_or(0);
            let end = history.each_line_after(other, start, |line| {
                if let Some(repair) = from_line(line) {
                    look(repair);
                }
            })?;
            files.insert(other, end);
        }
        Ok(())
    }

    /// Whether each claim was made; a dry run asks whether it could be.
    fn try_claim(&self, repairs: &[&Repair]) -> Result<Vec<bool>, StateError> {
        let Self { history, run, by, .. } = self;
        history.ask(|connection| {
            let key = |repair: &Repair| {
                (repair.target.to_string(), repair.id.to_bytes(), repair.at.timestamp_millis())
            };
            if by.is_none() {
                let text = "SELECT 1 FROM claims \
                     WHERE run = ?1 AND target = ?2 AND id = ?3 AND at = ?4";
                let mut claimed = connection.prepare_cached(text)?;
                let free = repairs.iter().map(|repair| {
                    let (target, id, at) = key(repair);
                    let found = claimed.query_row(params![run, target, id, at], |_| Ok(()));
                    Ok(found.optional()?.is_none())
                });
                return free.collect();
            }
            let transaction =
                Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
            let text = "INSERT OR IGNORE INTO claims VALUES (?1, ?2, ?3, ?4)";
            let mut made = Vec::new();
            for repair in repairs {
                let (target, id, at) = key(repair);
                let mut insert = transaction.prepare_cached(text)?;
                made.push(insert.execute(params![run, target, id, at])? > 0);
            }
            transaction.commit()?;
            Ok(made)
        })
    }

    fn try_release(&self, repairs: &[&Repair]) -> Result<(), StateError> {
        self.history.ask(|connection| {
            let transaction =
                Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
            let text = "DELETE FROM claims WHERE run = ?1 AND target = ?2 AND id = ?3 AND at = ?4";
            for repair in repairs {
                let at = repair.at.timestamp_millis();
                let with = params![self.run, &*repair.target, repair.id.to_bytes(), at];
                transaction.prepare_cached(text)?.execute(with)?;
            }
            transaction.commit()
        })
    }
}

impl jobs::Claims for Claims {
    fn overwritten(&mut self, repairs: &[&Repair]) -> Vec<bool> {
        if let Err(error) = self.read_on() {
            log::error!(
                "what others wrote is not known, so these counters are left alone: {error}"
            );
            return vec![true; repairs.len()];
        }
        let last = |repair: &&Repair| self.others.get(&counter(repair)).copied();
        repairs.iter().map(|repair| last(repair).is_some_and(|at| at >= repair.at)).collect()
    }

    fn claim(&mut self, repairs: &[&Repair]) -> Vec<bool> {
        if repairs.is_empty() {
            return Vec::new();
        }
        self.try_claim(repairs).unwrap_or_else(|error| {
            log::error!("what is taken off cannot be written down, so it is left alone: {error}");
            vec![false; repairs.len()]
        })
    }

    fn release(&mut self, repairs: &[&Repair]) {
        if repairs.is_empty() {
            return;
        }
        if let Err(error) = self.try_release(repairs) {
            log::warn!("{} counters that were left alone stay so: {error}", repairs.len());
        }
    }
}

fn counter(repair: &Repair) -> Counter {
    (Arc::clone(&repair.target), repair.id.clone())
}
