//! What goes into the agenda and what comes out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use thiserror::Error;

use crate::config::{Job, PingUrl, duration};
use crate::report::{Outcome, Report};

/// The number of a run, from 1, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What can happen. The enum is closed: nothing else changes the agenda.
#[derive(Debug)]
pub enum Event {
    /// Time has passed.
    Due,
    /// The pool answers for a run.
    Finished {
        /// Which.
        run: RunId,
        /// How its attempt ended.
        ended: Ended,
    },
    /// A new jobs.toml is good; these are its jobs (S14).
    Reloaded(Vec<Arc<Job>>),
    /// The daemon was told to end (S15).
    Stopping,
    /// The wall clock stepped by so much against the monotonic one (S12).
    ClockStepped(TimeDelta),
    /// Somebody wants the schedule to change. It is answered by [`Action::Answer`].
    Commanded(Command),
}

/// What people and programs may ask of the schedule while it runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Run a job now, whether it is paused or not.
    Trigger {
        /// Which.
        job: Arc<str>,
        /// Without a write.
        dry_run: bool,
    },
    /// Let no slot of the job run from now on; what runs goes on, its retries included.
    Pause(Arc<str>),
    /// Let its slots run again.
    Resume(Arc<str>),
    /// Take in a job that is new, or that has a new definition.
    Put(Arc<Job>),
    /// Take a job out; its runs that have started go on.
    Remove(Arc<str>),
}

/// Why a command was not carried out. `Display` is for the one who gave it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommandError {
    /// The job is not on the agenda.
    #[error("there is no job {0}")]
    NoSuchJob(Arc<str>),
    /// As many runs of the job as may be are active (S7).
    #[error(
        "run {by} of {job} has been active for {}; wait for it, or raise max_instances",
        duration::format(*age)
    )]
    Active {
        /// The job.
        job: Arc<str>,
        /// The oldest of its runs.
        by: RunId,
        /// How long that one has been active.
        age: Duration,
    },
    /// The daemon is about to end (S15).
    #[error("the daemon is stopping; try again when it runs")]
    Stopping,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// It ran.
    Done {
        /// With this outcome.
        outcome: Outcome,
        /// For this reason.
        reason: Option<String>,
        /// Whether a later attempt may succeed (S9).
        retry: bool,
        /// What it found.
        report: Option<Box<Report>>,
    },
    /// It waited in the pool's queue for longer than its misfire grace (S8).
    Expired {
        /// So long.
        waited: Duration,
    },
    /// The pool was closed before it started.
    NotStarted,
}

/// What has to be done.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Give this to the pool; it has a place.
    Start(Order),
    /// A run has begun and waits for its jitter or for a place in the pool.
    Waits(Order),
    /// A slot has ended, run or not; write it down (S13).
    Record(Record),
    /// An attempt failed and another follows (S9).
    WillRetry {
        /// Of this job.
        job: Arc<str>,
        /// Of this run.
        run: RunId,
        /// After so long.
        wait: Duration,
        /// Why it failed.
        reason: Option<String>,
    },
    /// The jobs were swapped.
    Reloaded(Diff),
    /// Every slot of the job up to here has been dealt with; it has to be known after a restart.
    Remember {
        /// The job.
        job: Arc<Job>,
        /// How far, by which trigger, and whether it is paused.
        memory: Remembered,
        /// Its next slot; `None` after the last.
        next: Option<DateTime<Utc>>,
    },
    /// The job is gone; what was remembered of it may go, too.
    Forget(Arc<str>),
    /// The job was added at run time and has had its last slot: what was remembered of it may go, and
    /// its definition as well.
    Retire(Arc<str>),
    /// The command of this event was carried out, with the run that it began if it began one; or
    /// why not.
    Answer(Result<Option<RunId>, CommandError>),
}

/// What has to be known of a job after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Every slot up to here has been dealt with.
    pub done: DateTime<Utc>,
    /// [`crate::schedule::Trigger::identity`] of the trigger that this holds for.
    pub trigger: Arc<str>,
    /// Since when the job is paused, if it is.
    pub paused: Option<DateTime<Utc>>,
}

/// What is known from before a restart; empty at the first start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// The jobs by name.
    pub jobs: BTreeMap<Arc<str>, Remembered>,
    /// The names of those that were added at run time, valid or not.
    pub added: BTreeSet<Arc<str>>,
    /// The highest number that a run has had.
    pub last_run: u64,
}

/// One attempt of a run, for the pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The run.
    pub run: RunId,
    /// Its job, as it was when the slot was due.
    pub job: Arc<Job>,
    /// Its slot; of a triggered run, the moment of the trigger.
    pub slot: DateTime<Utc>,
    /// From 1.
    pub attempt: u32,
    /// Why it runs.
    pub cause: Cause,
}

/// Why a run was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its slot was due.
    Slot,
    /// Somebody asked for it.
    Trigger {
        /// Without a write.
        dry_run: bool,
    },
}

impl Cause {
    /// Whether the run may not write.
    #[must_use]
    pub fn is_dry(self) -> bool {
        matches!(self, Self::Trigger { dry_run: true })
    }

    /// The cause in a word, as the state and the API show it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Slot => "slot",
            Self::Trigger { .. } => "trigger",
        }
    }
}

/// What became of a slot.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The job.
    pub job: Arc<Job>,
    /// The slot; of a triggered run, the moment of the trigger.
    pub slot: DateTime<Utc>,
    /// Its number; a slot that did not run has one as well. While a job is paused one record takes
    /// all of its slots in: it comes again with the same number and a greater `stands_for`.
    pub run: RunId,
    /// Why it was begun, or would have been.
    pub cause: Cause,
    /// When the first attempt started; `None` if none did.
    pub started: Option<DateTime<Utc>>,
    /// From then to the end; `None` if none started.
    pub took: Option<Duration>,
    /// How many slots this one stands for, itself included (S6); counted up to
    /// [`Record::MOST`], which means so many or more.
    pub stands_for: u32,
    /// How it ended.
    pub end: SlotEnd,
}

impl Record {
    /// How far slots are counted; misses are never enumerated (S4).
    pub const MOST: u32 = 1000;

    /// Who is told that the slot has ended so.
    ///
    /// A partial run counts as a success: it repaired what could be proven, and the next run looks
    /// again. Of a run with retries only its end is told. A slot that did not run is told to nobody,
    /// because its silence is what the other side listens for; and a dry run is no proof that the
    /// counters are true.
    #[must_use]
    pub fn ping(&self) -> Option<&PingUrl> {
        let SlotEnd::Ran { outcome, .. } = &self.end else { return None };
        match outcome {
            _ if self.cause.is_dry() => None,
            Outcome::Clean | Outcome::Repaired | Outcome::Partial => self.job.ping.success.as_ref(),
            Outcome::Failed | Outcome::Refused => self.job.ping.failure.as_ref(),
            Outcome::Drift => None,
        }
    }

    /// Why the slot ended as it did, in one line; `None` where the outcome says it all.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let stands_for = match self.stands_for {
            0 | 1 => None,
            Self::MOST => Some(format!("for {} slots or more", Self::MOST)),
            slots => Some(format!("for {slots} slots")),
        };
        let own = match &self.end {
            SlotEnd::Ran { reason, .. } => reason.clone(),
            SlotEnd::Paused { since } => {
                let since = since.with_timezone(&self.job.zone);
                Some(format!("paused since {}", since.format("%Y-%m-%d %H:%M:%S %:z")))
            }
            end => Some(end.to_string()),
        };
        match (own, stands_for) {
            (Some(own), Some(slots)) => Some(format!("{own} ({slots})")),
            (own, slots) => own.or(slots.map(|slots| format!("coalesced: one run {slots}"))),
        }
    }
}

/// How a slot ended. `Display` is the reason in words.
#[derive(Debug, Clone, PartialEq)]
pub enum SlotEnd {
    /// It ran.
    Ran {
        /// With this outcome.
        outcome: Outcome,
        /// In so many attempts.
        attempts: u32,
        /// For this reason.
        reason: Option<String>,
        /// What it found.
        report: Option<Box<Report>>,
    },
    /// It was seen too late (S6).
    Missed {
        /// So late.
        late: Duration,
    },
    /// It waited too long for a free worker (S8).
    Expired {
        /// So long.
        waited: Duration,
    },
    /// Enough runs of its job were active (S7).
    Skipped {
        /// The oldest of them.
        by: RunId,
        /// How long that one has been active.
        age: Duration,
    },
    /// Without coalesce, more slots were late than may run at once (S6).
    OverLimit,
    /// Its job was paused.
    Paused {
        /// Since then.
        since: DateTime<Utc>,
    },
    /// A reload took its job away before it started (S14): it is not in jobs.toml any more, or not
    /// valid beside it.
    Reload,
    /// Its job, added at run time, was removed before it started.
    Removed,
    /// The daemon ended before it started (S15).
    Shutdown,
}

impl SlotEnd {
    /// The outcome in a word, as the state and `runs` show it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ran { outcome, .. } => outcome.word(),
            Self::Missed { .. } | Self::Expired { .. } => "missed",
            Self::Skipped { .. } | Self::OverLimit => "skipped",
            Self::Paused { .. } => "paused",
            Self::Reload => "reload",
            Self::Removed => "removed",
            Self::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for SlotEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ran { outcome, .. } => f.write_str(outcome.word()),
            Self::Missed { late } => {
                write!(f, "seen {} late, more than misfire_grace", duration::format(*late))
            }
            Self::Expired { waited } => write!(f, "missed (queued {} s)", waited.as_secs()),
            Self::Skipped { by, age } => {
                let age = duration::format(*age);
                write!(f, "run {by} has been active for {age}")
            }
            Self::OverLimit => f.write_str("more than 100 late slots"),
            Self::Paused { .. } => f.write_str("its job is paused"),
            Self::Reload => f.write_str("a reload took its job away before it started"),
            Self::Removed => f.write_str("its job was removed"),
            Self::Shutdown => f.write_str("the daemon was stopping"),
        }
    }
}

/// What a reload changed, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// New jobs.
    pub added: Vec<Arc<str>>,
    /// Jobs whose definition changed.
    pub changed: Vec<Arc<str>>,
    /// Jobs that are gone.
    pub removed: Vec<Arc<str>>,
    /// Jobs that are as before.
    pub unchanged: Vec<Arc<str>>,
}
