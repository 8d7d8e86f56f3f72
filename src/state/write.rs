//! The one writer of the file, in a thread of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::prune::prune;
use super::schema::{explain, make_folder, open_whole};
use super::{OnDisk, Op, RunNumber, StateError, good, lock};
use crate::agenda::{Memory, Record, Remembered, SlotEnd};
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
    /// Runs below this number are those of daemons before this one.
    first: i64,
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
        let mut writer = Self::closed(path, keep, i64::MAX);
        let file = open_locked(path)?;
        let memory = interrupt(&file.connection, i64::MAX, now)
            .and_then(|()| recall(&file.connection))
            .map_err(|error| explain(path, &error))?;
        writer.file = Some(file);
        writer.written.store(true, Ordering::Release);
        Ok((writer, memory))
    }

    /// A writer whose file could not be opened yet; its runs have numbers from `first` on.
    pub fn closed(path: &Path, keep: Keep, first: i64) -> Self {
        let (path, complained, pruned) = (path.to_owned(), None, None);
        let (written, on_disk) = (Arc::new(AtomicBool::new(false)), Arc::default());
        Self { path, keep, file: None, first, written, on_disk, complained, pruned }
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
            let file = open_locked(&self.path)?;
            interrupt(&file.connection, self.first, clock::wall())
                .map_err(|error| explain(&self.path, &error))?;
            self.file = Some(file);
            log::info!("the state can be written again: {}", self.path.display());
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let written = write_all(&mut file.connection, batch);
        written.map_err(|error| explain(&self.path, &error))?;
        self.prune().map_err(|error| explain(&self.path, &error))
    }

    fn prune(&mut self) -> rusqlite::Result<()> {
        let now = clock::monotonic();
        let Some(file) = &self.file else { return Ok(()) };
        if self.pruned.is_some_and(|last| now.saturating_duration_since(last) < PRUNE) {
            return Ok(());
        }
        self.pruned = Some(now);
        prune(&file.connection, &self.path, self.keep, clock::wall())
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

/// Marks as interrupted what had not ended of the runs below `first` (S15).
fn interrupt(connection: &Connection, first: i64, now: DateTime<Utc>) -> rusqlite::Result<()> {
    // A run whose beginning was never written down may have left evidence all the same.
    connection.execute(
        "INSERT OR IGNORE INTO runs (id, job, slot, attempts, started, outcome) \
         SELECT run, job, MIN(began), 1, MIN(began), 'running' FROM evidence \
         WHERE run < ?1 GROUP BY run",
        params![first],
    )?;
    // What runs beside the daemon is not ended by its end, but is over at its time.
    let interrupted = connection.execute(
        "UPDATE runs SET outcome = 'interrupted', finished = ?1, \
         reason = CASE outcome WHEN 'running' \
           THEN 'the daemon ended while it ran; what was written is right' \
           ELSE 'the daemon ended before it started' END \
         WHERE outcome IN ('running', 'waiting') AND id > 0 AND id < ?2",
        params![now.timestamp_millis(), first],
    )?;
    if interrupted > 0 {
        log::warn!("{interrupted} runs were interrupted by the end of the daemon before this one");
    }
    Ok(())
}

/// Reads how far each schedule has come.
fn recall(connection: &Connection) -> rusqlite::Result<Memory> {
    let last_run: Option<i64> = connection
        .query_row("SELECT MAX(id) FROM runs", [], |row| row.get(0))
        .optional()?
        .flatten();
    let mut memory = Memory {
        last_run: last_run.and_then(|id| u64::try_from(id).ok()).unwrap_or(0),
        ..Memory::default()
    };
    let mut jobs = connection.prepare("SELECT name, trigger, done, paused FROM jobs")?;
    let rows = jobs.query_map([], |row| {
        let (name, trigger): (String, String) = (row.get(0)?, row.get(1)?);
        Ok((name, trigger, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?))
    })?;
    for row in rows {
        let (name, trigger, done, paused) = row?;
        if let Some(done) = DateTime::from_timestamp_millis(done) {
            // 0 is no pause, else its beginning.
            let paused = (paused != 0).then(|| DateTime::from_timestamp_millis(paused)).flatten();
            let trigger = Arc::from(trigger);
            memory.jobs.insert(Arc::from(name), Remembered { done, trigger, paused });
        }
    }
    Ok(memory)
}

fn write_all(connection: &mut Connection, batch: &[Op]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for op in batch {
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
                transaction
                    .prepare_cached(
                        "INSERT INTO jobs (name, trigger, done, paused) VALUES (?1, ?2, ?3, ?4) \
                         ON CONFLICT (name) DO UPDATE SET trigger = ?2, done = ?3, paused = ?4",
                    )?
                    .execute(params![
                        &**job,
                        &*memory.trigger,
                        memory.done.timestamp_millis(),
                        memory.paused.map_or(0, |since| since.timestamp_millis()),
                    ])?;
            }
            Op::Retire(job) => {
                for retire in [
                    "DELETE FROM jobs WHERE name = ?1",
                    "DELETE FROM good WHERE job = ?1",
                    "DELETE FROM added WHERE name = ?1",
                ] {
                    transaction.prepare_cached(retire)?.execute(params![&**job])?;
                }
            }
            Op::Forget(job) => {
                for forget in
                    ["DELETE FROM jobs WHERE name = ?1", "DELETE FROM good WHERE job = ?1"]
                {
                    transaction.prepare_cached(forget)?.execute(params![&**job])?;
                }
            }
        }
    }
    transaction.commit()
}

fn ended(to: &Transaction<'_>, record: &Record, at: DateTime<Utc>) -> rusqlite::Result<()> {
    let (attempts, report) = match &record.end {
        SlotEnd::Ran { attempts, report, .. } => (*attempts, report.as_deref()),
        _ => (0, None),
    };
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
