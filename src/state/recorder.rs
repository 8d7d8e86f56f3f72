//! The ledger of one run, on the state file (R7, R10).

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use thiserror::Error;

use super::evidence::{self, IN_FILE, IN_TABLE};
use super::schema::{PRIVATE, explain, open_beside};
use super::{RunNumber, StateError, good};
use crate::clock;
use crate::config::Job;
use crate::jobs::{self, Gate, Ledger};
use crate::reconcile::Repair;

/// How long to leave a disk alone that has failed; what is repaired meanwhile is only counted.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Repairs after which the count is written, once they go into the file.
const COUNT_EVERY: u64 = 1_000;

/// Keeps the evidence of one run. It has a connection of its own, which is opened in the run's
/// thread when it is first needed: a run waits neither for the loop nor for the other runs.
///
/// What [`Ledger::wrote`] was told survives SIGKILL: it is committed, or in the file, when the call
/// returns. Only the count of repairs may then lack the last thousand. A disk that fails costs
/// evidence and is complained of once a run; it never fails the run.
pub struct Recorder {
    state: PathBuf,
    run: RunNumber,
    job: Arc<Job>,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    open: Option<Open>,
    /// Repairs of each target that have not been counted in the state yet.
    uncounted: BTreeMap<Arc<str>, u64>,
    failed: Option<Instant>,
    complained: bool,
}

struct Open {
    connection: Connection,
    in_table: u64,
    in_file: u64,
    file: Option<File>,
    /// The targets whose place is written down.
    placed: HashSet<Arc<str>>,
}

/// Why evidence is not kept.
#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("{}: {error}", .path.display())]
    File { path: PathBuf, error: io::Error },
}

impl Recorder {
    /// For one attempt of a run; a later attempt goes on where this one ended.
    #[must_use]
    pub fn new(state: &Path, run: RunNumber, job: &Arc<Job>) -> Self {
        Self { state: state.to_owned(), run, job: Arc::clone(job), book: Mutex::default() }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened<'b>(&self, place: &'b mut Option<Open>) -> Result<&'b mut Open, Failure> {
        let open = match place.take() {
            Some(open) => open,
            None => self.open()?,
        };
        Ok(place.insert(open))
    }

    fn open(&self) -> Result<Open, Failure> {
        let connection = open_beside(&self.state)?;
        let in_table: i64 = connection.query_row(
            "SELECT COUNT(*) FROM repairs WHERE run = ?1",
            params![self.run],
            |row| row.get(0),
        )?;
        let mut in_file = 0;
        let path = evidence::file(&self.state, self.run);
        evidence::each_line(&path, 0, |_| in_file += 1)
            .map_err(|error| Failure::File { path, error })?;
        let (in_table, placed) = (in_table.unsigned_abs(), HashSet::new());
        Ok(Open { connection, in_table, in_file, file: None, placed })
    }

    fn keep(&self, book: &mut Book, repairs: &[Repair]) -> Result<(), Failure> {
        let Book { open, uncounted, .. } = book;
        let open = self.opened(open)?;
        let fits = usize::try_from(IN_TABLE.saturating_sub(open.in_table)).unwrap_or(usize::MAX);
        let (now, later) = repairs.split_at(fits.min(repairs.len()));
        if !now.is_empty() {
            let transaction =
                Transaction::new_unchecked(&open.connection, TransactionBehavior::Immediate)?;
            for repair in now {
                evidence::insert(&transaction, self.run, &self.job.name, repair)?;
            }
            self.count(&transaction, uncounted)?;
            transaction.commit()?;
            open.in_table += now.len() as u64;
            open.placed.extend(std::mem::take(uncounted).into_keys());
        }
        self.file(open, later)?;
        // A repair whose place is not on record cannot be undone, so the first of a target does not
        // wait for the others.
        let is_new = uncounted.keys().any(|target| !open.placed.contains(target));
        if is_new || uncounted.values().sum::<u64>() >= COUNT_EVERY {
            self.count(&open.connection, uncounted)?;
            open.placed.extend(std::mem::take(uncounted).into_keys());
        }
        Ok(())
    }

    /// Appends what no longer fits into the table, in one write.
    fn file(&self, open: &mut Open, repairs: &[Repair]) -> Result<(), Failure> {
        let fits = usize::try_from(IN_FILE.saturating_sub(open.in_file)).unwrap_or(usize::MAX);
        let repairs = repairs.get(..fits).unwrap_or(repairs);
        if repairs.is_empty() {
            return Ok(());
        }
        let path = evidence::file(&self.state, self.run);
        let fail = |error| Failure::File { path: path.clone(), error };
        if open.file.is_none() {
            open.file = Some(self.make_file(&path).map_err(fail)?);
        }
        let Some(file) = &mut open.file else { return Ok(()) };
        let mut lines = Vec::new();
        repairs.iter().for_each(|repair| evidence::append_line(repair, &mut lines));
        file.write_all(&lines).map_err(fail)?;
        open.in_file += repairs.len() as u64;
        Ok(())
    }

    fn make_file(&self, path: &Path) -> io::Result<File> {
        let folder = evidence::folder(&self.state);
        fs::create_dir_all(&folder)?;
        let mut file = OpenOptions::new().create(true).append(true).mode(PRIVATE).open(path)?;
        self.give_to_owner(&[&folder, path])?;
        // A line that a full disk has cut off must not swallow the next one.
        if file.metadata()?.len() > 0 {
            file.write_all(b"\n")?;
        }
        Ok(file)
    }

    /// `once` by root must not leave a folder in which the daemon may not write. For anybody else
    /// this fails, and is not needed.
    fn give_to_owner(&self, made: &[&Path]) -> io::Result<()> {
        let owner = fs::metadata(&self.state)?;
        for made in made {
            if fs::metadata(made)?.uid() != owner.uid() {
                chown(made, Some(owner.uid()), Some(owner.gid())).ok();
            }
        }
        Ok(())
    }

    fn count(&self, to: &Connection, repairs: &BTreeMap<Arc<str>, u64>) -> rusqlite::Result<()> {
        let mut statement = to.prepare_cached(
            "INSERT INTO evidence (run, target, job, place, began, written) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT (run, target) DO UPDATE SET written = written + ?6",
        )?;
        let now = clock::wall().timestamp_millis();
        for (target, repairs) in repairs {
            let place = jobs::place(&self.job, target).unwrap_or_default();
            let repairs = i64::try_from(*repairs).unwrap_or(i64::MAX);
            let job = &*self.job.name;
            statement.execute(params![self.run, &**target, job, place, now, repairs])?;
        }
        Ok(())
    }

    fn complain(&self, book: &mut Book, failure: Failure) {
        book.open = None;
        book.failed = Some(clock::monotonic());
        if std::mem::replace(&mut book.complained, true) {
            return;
        }
        let reason = match failure {
            Failure::Sqlite(error) => explain(&self.state, &error).to_string(),
            other => other.to_string(),
        };
        let job = &self.job.name;
        log::error!("{job}: neither evidence nor the last good run, the run goes on: {reason}");
    }
}

impl Ledger for Recorder {
    fn last_good(&self) -> Option<u64> {
        let mut book = self.book();
        let open = self.opened(&mut book.open);
        let rows = open.and_then(|open| Ok(good::recall(&open.connection, &self.job)?));
        rows.unwrap_or_else(|failure| {
            self.complain(&mut book, failure);
            None
        })
    }

    fn gate(&self, place: &str) -> Option<Gate> {
        let (folder, path) = gate_of(&self.state, place);
        let opened = Gate::open(&path).inspect(|_| {
            self.give_to_owner(&[&folder, &path]).ok();
        });
        let job = &self.job.name;
        let tell = |error| log::debug!("{job}: no gate at {}: {error}", path.display());
        opened.map_err(tell).ok()
    }

    fn wrote(&self, repairs: &[Repair]) {
        if repairs.is_empty() {
            return;
        }
        let mut book = self.book();
        for repair in repairs {
            *book.uncounted.entry(Arc::clone(&repair.target)).or_default() += 1;
        }
        let now = clock::monotonic();
        if book.failed.is_some_and(|at| now.saturating_duration_since(at) < TRY_AGAIN) {
            return;
        }
        if let Err(failure) = self.keep(&mut book, repairs) {
            self.complain(&mut book, failure);
        }
    }
}

impl Drop for Recorder {
    /// The count of what went into the file, or nowhere, since it was last written.
    fn drop(&mut self) {
        let mut book = std::mem::take(&mut *self.book());
        if book.uncounted.is_empty() {
            return;
        }
        let uncounted = std::mem::take(&mut book.uncounted);
        let open = self.opened(&mut book.open);
        let counted = open.and_then(|open| Ok(self.count(&open.connection, &uncounted)?));
        if let Err(failure) = counted {
            self.complain(&mut book, failure);
        }
    }
}

/// The folder and the file of a gate, beside the state. Two places that share one by accident wait for
/// each other.
fn gate_of(state: &Path, place: &str) -> (PathBuf, PathBuf) {
    let mut hasher = DefaultHasher::new();
    place.hash(&mut hasher);
    let mut folder = state.as_os_str().to_owned();
    folder.push("-gates");
    let folder = PathBuf::from(folder);
    let file = folder.join(format!("{:016x}", hasher.finish()));
    (folder, file)
}
