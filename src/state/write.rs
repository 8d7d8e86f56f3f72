//! The one writer of the file, in a thread of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use rusqlite::{Connection, Transaction, params};

use super::blind::Blind;
use super::prune::prune;
use super::recall::{interrupt, note, recall};
use super::schema::{explain, make_folder, open_whole};
use super::{OnDisk, Op, RunNumber, StateError, good, lock, shown};
use crate::agenda::{Memory, Record, SlotEnd};
use crate::clock;
use crate::config::Keep;

/// Changes in one transaction.
const BATCH: usize = 2_000;
/// How long to wait before a disk that failed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How often a disk that goes on failing is complained of.
const COMPLAIN: Duration = Duration::from_secs(60);
/// How often old records are removed.
const PRUNE: Duration = Duration::from_secs(600);

/// The writer and its file.
pub struct Writer {
    path: PathBuf,
    keep: Keep,
    file: Option<Open>,
    /// What to mind if the memory was not read at the start.
    blind: Option<Blind>,
    /// Whether the disk took what was written last.
    written: Arc<AtomicBool>,
    on_disk: Arc<OnDisk>,
    complained: Option<Instant>,
    pruned: Option<Instant>,
}

/// An open file, and the lock that keeps a second daemon away from it.
struct Open {
    connection: Connection,
    _lock: File,
}

impl Writer {
    /// Opens the file, marks what was interrupted, and reads what is remembered.
    pub fn open(path: &Path, keep: Keep, now: DateTime<Utc>) -> Result<(Self, Memory), StateError> {
        let mut writer = Self::new(path, keep, None);
        let file = open_locked(path)?;
        let memory = interrupt(&file.connection, i64::MAX, now)
            .and_then(|()| recall(&file.connection))
            .map_err(|error| explain(path, &error))?;
        writer.file = Some(file);
        writer.written.store(true, Ordering::Release);
        Ok((writer, memory))
    }

    /// A writer whose file could not be opened yet, of a daemon that began without its memory.
    pub fn closed(path: &Path, keep: Keep, blind: Blind) -> Self {
        Self::new(path, keep, Some(blind))
    }

    fn new(path: &Path, keep: Keep, blind: Option<Blind>) -> Self {
        let (path, complained, pruned) = (path.to_owned(), None, None);
        let (written, on_disk) = (Arc::new(AtomicBool::new(false)), Arc::default());
        Self { path, keep, file: None, blind, written, on_disk, complained, pruned }
    }

    /// Whether the disk took what was written last, for others to look at.
    pub fn written(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.written)
    }

    /// How far it has come, for others to wait for.
    pub fn on_disk(&self) -> Arc<OnDisk> {
        Arc::clone(&self.on_disk)
    }

    /// Writes what comes until nobody sends any more. What the disk does not take is kept and tried
    /// again; the channel behind it bounds how much.
    pub fn serve(mut self, ops: &Receiver<Op>) {
        let mut batch: Vec<Op> = Vec::new();
        let mut open = true;
        while open || !batch.is_empty() {
            if batch.is_empty() {
                match ops.recv() {
                    Ok(op) => batch.push(op),
                    Err(_) => return,
                }
            }
            while batch.len() < BATCH
                && let Ok(op) = ops.try_recv()
            {
                batch.push(op);
            }
            let written = self.write(&batch);
            self.written.store(written.is_ok(), Ordering::Release);
            match written {
                Ok(()) => {
                    self.on_disk.add(batch.len());
                    batch.clear();
                    self.prune();
                }
                Err(error) => {
                    self.complain(&error);
                    // At the end nobody waits for long: what the disk does not take then is lost.
                    open = !matches!(wait(ops, &mut batch), Err(RecvTimeoutError::Disconnected));
                    if !open {
                        return;
                    }
                }
            }
        }
    }

    fn write(&mut self, batch: &[Op]) -> Result<(), StateError> {
        if self.file.is_none() {
            self.file = Some(self.open_late()?);
            log::info!("the state can be written again: {}", self.path.display());
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let written = write_all(&mut file.connection, batch, self.blind.as_mut());
        written.map_err(|error| explain(&self.path, &error))
    }

    /// Opens a file that could not be opened at the start.
    fn open_late(&mut self) -> Result<Open, StateError> {
        let fail = |error| explain(&self.path, &error);
        let file = open_locked(&self.path)?;
        let (first, is_unread) = match &mut self.blind {
            Some(blind) => blind.look(&file.connection).map_err(fail)?,
            None => (i64::MAX, false),
        };
        interrupt(&file.connection, first, clock::wall()).map_err(fail)?;
        if is_unread {
            log::error!(
                "the state has jobs that were added at run time, or pauses, which were not read at \
                 the start: restart the daemon"
            );
            self.on_disk.set_unread();
        }
        Ok(file)
    }

    /// Removes old records now and then. What was written before stays written, whatever comes of it.
    fn prune(&mut self) {
        let now = clock::monotonic();
        let Some(file) = &self.file else { return };
        if self.pruned.is_some_and(|last| now.saturating_duration_since(last) < PRUNE) {
            return;
        }
        self.pruned = Some(now);
        if let Err(error) = prune(&file.connection, &self.path, self.keep, clock::wall()) {
            // Once for each time it is tried.
            let error = explain(&self.path, &error);
            log::error!("old records cannot be removed, the next try is in 10 minutes: {error}");
        }
    }

    fn complain(&mut self, error: &StateError) {
        let now = clock::monotonic();
        if self.complained.is_none_or(|last| now.saturating_duration_since(last) >= COMPLAIN) {
            log::error!("the state cannot be written, the schedule goes on: {error}");
            self.complained = Some(now);
        }
    }
}

/// Lets a failing disk rest, and notices meanwhile whether the daemon ends.
fn wait(ops: &Receiver<Op>, batch: &mut Vec<Op>) -> Result<(), RecvTimeoutError> {
    let end = clock::monotonic() + TRY_AGAIN;
    loop {
        let left = end.saturating_duration_since(clock::monotonic());
        match ops.recv_timeout(left) {
            Ok(op) if batch.len() < BATCH => batch.push(op),
            Ok(_) | Err(RecvTimeoutError::Timeout) => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
        }
    }
}

fn open_locked(path: &Path) -> Result<Open, StateError> {
    make_folder(path)?;
    let lock = lock::take(path)?;
    Ok(Open { connection: open_whole(path)?, _lock: lock })
}

fn write_all(
    connection: &mut Connection,
    batch: &[Op],
    mut blind: Option<&mut Blind>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let mut highest = 0;
    for op in batch {
        if let Some(run) = op.run() {
            if blind.as_ref().is_some_and(|blind| !blind.owns(run)) {
                continue;
            }
            highest = run.raw().max(highest);
        }
        match op {
            Op::Waits(order) => {
                transaction
                    .prepare_cached(
                        "INSERT OR IGNORE INTO runs (id, job, slot, attempts, outcome, cause, dry) \
                         VALUES (?1, ?2, ?3, 0, 'waiting', ?4, ?5)",
                    )?
                    .execute(params![
                        RunNumber::from(order.run),
                        &*order.job.name,
                        order.slot.timestamp_millis(),
                        order.cause.word(),
                        order.cause.is_dry(),
                    ])?;
            }
            Op::Started { order, at } => {
                transaction
                    .prepare_cached(
                        "INSERT INTO runs (id, job, slot, attempts, started, outcome, cause, dry) \
                         VALUES (?1, ?2, ?3, ?4, ?5, 'running', ?6, ?7) \
                         ON CONFLICT (id) DO UPDATE SET attempts = ?4, \
                         started = COALESCE(started, ?5), outcome = 'running'",
                    )?
                    .execute(params![
                        RunNumber::from(order.run),
                        &*order.job.name,
                        order.slot.timestamp_millis(),
                        order.attempt,
                        at.timestamp_millis(),
                        order.cause.word(),
                        order.cause.is_dry(),
                    ])?;
            }
            Op::Ended(record, at) => ended(&transaction, record, *at)?,
            Op::Remember { job, memory } => {
                let knows_pause = blind.as_mut().is_none_or(|blind| blind.knows_pause(job, memory));
                transaction
                    .prepare_cached(
                        "INSERT INTO jobs (name, trigger, done, paused) VALUES (?1, ?2, ?3, ?4) \
                         ON CONFLICT (name) DO UPDATE SET trigger = ?2, done = ?3, \
                         paused = CASE WHEN ?5 THEN ?4 ELSE paused END",
                    )?
                    .execute(params![
                        &**job,
                        &*memory.trigger,
                        memory.done.timestamp_millis(),
                        memory.paused.map_or(0, |since| since.timestamp_millis()),
                        knows_pause,
                    ])?;
            }
            Op::Forget(job) => forget(&transaction, job)?,
            Op::Retire(job) => {
                forget(&transaction, job)?;
                transaction
                    .prepare_cached("DELETE FROM added WHERE name = ?1")?
                    .execute(params![&**job])?;
            }
        }
    }
    if highest > 0 {
        note(&transaction, highest)?;
    }
    transaction.commit()
}

fn forget(from: &Transaction<'_>, job: &str) -> rusqlite::Result<()> {
    for text in ["DELETE FROM jobs WHERE name = ?1", "DELETE FROM good WHERE job = ?1"] {
        from.prepare_cached(text)?.execute(params![job])?;
    }
    Ok(())
}

fn ended(to: &Transaction<'_>, record: &Record, at: DateTime<Utc>) -> rusqlite::Result<()> {
    let (attempts, report) = match &record.end {
        SlotEnd::Ran { attempts, report, .. } => (*attempts, report.as_deref()),
        _ => (0, None),
    };
    let at = shown::end_of(record, at);
    if let Some(report) = report {
        good::remember(to, &record.job, report, at)?;
    }
    // A report is made of numbers and strings; there is nothing in it that JSON could refuse.
    let report = report.and_then(|report| serde_json::to_string(report).ok());
    to.prepare_cached(
        "INSERT OR REPLACE INTO runs \
         (id, job, slot, attempts, started, finished, took_ms, outcome, reason, report, cause, dry) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        RunNumber::from(record.run),
        &*record.job.name,
        record.slot.timestamp_millis(),
        attempts,
        record.started.map(|t| t.timestamp_millis()),
        at.timestamp_millis(),
        record.took.map(|t| i64::try_from(t.as_millis()).unwrap_or(i64::MAX)),
        record.end.word(),
        record.reason(),
        report,
        record.cause.word(),
        record.cause.is_dry(),
    ])?;
    Ok(())
}
