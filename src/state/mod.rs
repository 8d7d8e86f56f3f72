//! The memory: what became of each slot, how far each job's schedule has been dealt with, and the
//! evidence of every repair. A SQLite file. The daemon's records are written by one thread, to
//! which the loop only hands over and never waits; evidence is written by the run that repairs.

mod added;
mod answers;
mod beside;
mod blind;
mod claims;
mod evidence;
mod good;
mod history;
mod lock;
mod number;
mod on_disk;
mod prune;
mod read;
mod recall;
mod recorder;
mod schema;
mod shown;
mod write;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use thiserror::Error;

use crate::agenda::{Memory, Order, Record, Remembered};
use crate::config::Keep;
pub use added::{Added, Place};
pub use answers::{Answers, Kept};
pub use beside::{Beside, Ending};
use blind::Blind;
pub use claims::Claims;
pub use evidence::{IN_FILE, IN_TABLE};
pub use history::{Evidence, History, Offender, Written};
pub use number::RunNumber;
pub use on_disk::OnDisk;
pub use read::{Last, Row, last, run, runs};
pub use recorder::Recorder;
pub use shown::{Shown, time};

/// What may wait to be written while the disk does not take it; beyond that it is lost, with a note.
const BACKLOG: usize = 100_000;
/// How long the end of the daemon waits for the last of it to be written.
const FLUSH: Duration = Duration::from_secs(2);

/// Why there is no state.
#[derive(Debug, Error)]
pub enum StateError {
    /// The file belongs to something else.
    #[error("{}: not a state file of recountd; set another [daemon] state, or move it away", .0.display())]
    Foreign(PathBuf),
    /// The file was written by a newer recountd.
    #[error("{}: written by a newer recountd (format {found}, this one knows {known}); install that one again, or move the file away", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format it has.
        found: i64,
        /// The newest format that is known here.
        known: i64,
    },
    /// The file is damaged.
    #[error("{}: damaged ({reason}); restore it, or move it away: then nothing is known of earlier runs", .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// Another recountd runs on this file.
    #[error("{}: another recountd runs with this state; stop it first", .0.display())]
    InUse(PathBuf),
    /// The file is not there (for reading).
    #[error("{}: no runs are recorded there; is [daemon] state right, and has the daemon run?", .0.display())]
    Missing(PathBuf),
    /// The disk does not let us; this passes, or somebody has to act.
    #[error("{}: {reason}", .path.display())]
    Unavailable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// One thing to write down.
#[derive(Debug)]
enum Op {
    Waits(Order),
    Started { order: Order, at: DateTime<Utc> },
    Ended(Box<Record>, DateTime<Utc>),
    Remember { job: Arc<str>, memory: Remembered },
    Forget(Arc<str>),
    Retire(Arc<str>),
}

impl Op {
    /// The run that it is about.
    fn run(&self) -> Option<RunNumber> {
        match self {
            Self::Waits(order) | Self::Started { order, .. } => Some(order.run.into()),
            Self::Ended(record, _) => Some(record.run.into()),
            Self::Remember { .. } | Self::Forget(_) | Self::Retire(_) => None,
        }
    }
}

/// The state of a running daemon.
pub struct State {
    written: Arc<AtomicBool>,
    on_disk: Arc<OnDisk>,
    ops: Sender<Op>,
    /// How many changes were handed over to the writer.
    handed: u64,
    finished: Receiver<()>,
    lost: u64,
    lost_in_all: Arc<AtomicU64>,
    _writer: JoinHandle<()>,
}

impl State {
    /// Opens the file, or makes it, and gives what it remembers. Runs that had not ended are marked
    /// as interrupted: the daemon before this one was killed.
    ///
    /// A disk that is full or read-only is no error: the schedule goes on without a memory, and the
    /// writer tries again. Its runs are then numbered from the milliseconds since the epoch on, so that
    /// they overwrite none that the file has. Nor is a pause overwritten that the file has, until the
    /// job is paused anew; [`OnDisk::is_unread`] tells that there is something a restart would read.
    ///
    /// # Errors
    /// The file is foreign, newer, damaged or in use. It is left as it is.
    pub fn open(path: &Path, keep: Keep, now: DateTime<Utc>) -> Result<(Self, Memory), StateError> {
        let (memory, writer) = match write::Writer::open(path, keep, now) {
            Ok((writer, memory)) => (memory, writer),
            Err(StateError::Unavailable { reason, .. }) => {
                log::error!("the state cannot be written, runs are not remembered: {reason}");
                let blind = Blind::new(now);
                let memory = Memory { last_run: blind.last_run(), ..Memory::default() };
                (memory, write::Writer::closed(path, keep, blind))
            }
            Err(error) => return Err(error),
        };
        // Bounded by hand: a bounded channel would take the memory for its whole bound at once.
        let (ops, inbox) = unbounded();
        let (done, finished) = bounded(1);
        let (written, on_disk) = (writer.written(), writer.on_disk());
        let thread = thread::Builder::new()
            .name("state".to_owned())
            .spawn(move || {
                writer.serve(&inbox);
                done.send(()).ok();
            })
            .map_err(|error: io::Error| StateError::Unavailable {
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
        let lost_in_all = Arc::default();
        let state = Self {
            written,
            on_disk,
            ops,
            handed: 0,
            finished,
            lost: 0,
            lost_in_all,
            _writer: thread,
        };
        Ok((state, memory))
    }

    /// Whether the disk takes what is written, as the writer last found.
    #[must_use]
    pub fn written(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.written)
    }

    /// How far the writer has come.
    #[must_use]
    pub fn on_disk(&self) -> Arc<OnDisk> {
        Arc::clone(&self.on_disk)
    }

    /// How many changes were handed over to the writer: once as many are on disk, all that happened
    /// up to here is remembered.
    #[must_use]
    pub fn handed(&self) -> u64 {
        self.handed
    }

    /// How many changes were lost since the start.
    #[must_use]
    pub fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lost_in_all)
    }

    /// An attempt was given to the pool.
    pub fn started(&mut self, order: Order, at: DateTime<Utc>) {
        self.write(Op::Started { order, at });
    }

    /// A run has begun and waits: if the daemon is killed now, its slot must not be forgotten.
    pub fn waits(&mut self, order: Order) {
        self.write(Op::Waits(order));
    }

    /// A slot has ended (S13).
    pub fn ended(&mut self, record: Record, at: DateTime<Utc>) {
        self.write(Op::Ended(Box::new(record), at));
    }

    /// Every slot of the job up to here has been dealt with.
    pub fn remember(&mut self, job: Arc<str>, memory: Remembered) {
        self.write(Op::Remember { job, memory });
    }

    /// The job is gone; of one that was added at run time the definition stays.
    pub fn forget(&mut self, job: Arc<str>) {
        self.write(Op::Forget(job));
    }

    /// The job was added at run time and is over: its definition goes, and all that [`State::forget`]
    /// lets go, in one transaction. A job without its memory would begin anew.
    pub fn retire(&mut self, job: Arc<str>) {
        self.write(Op::Retire(job));
    }

    fn write(&mut self, op: Op) {
        if self.ops.len() >= BACKLOG || self.ops.send(op).is_err() {
            self.lost += 1;
            self.lost_in_all.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.handed += 1;
        if self.lost > 0 {
            log::error!("{} records of runs were lost while the state was stuck", self.lost);
            self.lost = 0;
        }
    }

    /// Waits until everything is written, for 2 s at most.
    pub fn close(self) {
        drop(self.ops);
        if self.finished.recv_timeout(FLUSH).is_err() {
            log::error!("the state could not be written to its end");
        }
    }
}
