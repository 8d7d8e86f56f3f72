//! What a run is told from outside, and how it ends before its end.

use std::time::{Duration, Instant};

use thiserror::Error;

use super::cancel::Cancel;
use super::ledger::Ledger;
use crate::clock;
use crate::config::duration;
use crate::reconcile::Refusal;
use crate::stores::mysql::MysqlError;
use crate::stores::redis::{RedisError, RedisErrorKind};

/// What the user asked of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mode {
    /// Do everything but the writes.
    pub dry_run: bool,
    /// The guards on size do not hold (R7).
    pub force: bool,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Rows compared so far, of about so many (R1).
    Comparing {
        /// Rows so far.
        rows: u64,
        /// Counters in Redis.
        of: u64,
    },
    /// Ids being watched, of so many that look wrong (R3).
    Confirming {
        /// From 1 to [`crate::reconcile::ROUNDS`].
        round: u32,
        /// Ids that are through.
        ids: u64,
        /// Ids of this round.
        of: u64,
    },
    /// Samples taken of hot ids (R5).
    Sampling {
        /// So far.
        samples: u64,
        /// Of so many.
        of: u64,
    },
    /// Rows looked through for counters that were lost (R6).
    Filling {
        /// Rows so far.
        rows: u64,
        /// All rows.
        of: u64,
    },
}

/// What one attempt of a run is told.
pub struct Context<'a> {
    /// What the user asked.
    pub mode: Mode,
    /// Tells it to stop.
    pub cancel: &'a Cancel,
    /// When it has to be over (S10).
    pub deadline: Instant,
    /// The job's timeout, for the message.
    pub timeout: Duration,
    /// Takes note of how far it has come.
    pub progress: &'a (dyn Fn(Progress) + Sync),
    /// What it has to know of earlier runs, and where it writes down its repairs.
    pub ledger: &'a dyn Ledger,
}

impl Context<'_> {
    /// The longest the run waits for a store before it looks at its deadline again.
    pub const SLICE: Duration = Duration::from_millis(100);

    /// Whether the run may go on.
    ///
    /// # Errors
    /// It was cancelled, or its time is over.
    pub fn check(&self) -> Result<(), Stop> {
        if self.cancel.is_cancelled() {
            return Err(RunError::Cancelled.into());
        }
        if clock::monotonic() >= self.deadline {
            return Err(RunError::TimedOut(self.timeout).into());
        }
        Ok(())
    }

    /// Waits.
    ///
    /// # Errors
    /// It was cancelled meanwhile, or its time is over.
    pub fn wait(&self, time: Duration) -> Result<(), Stop> {
        let left = self.deadline.saturating_duration_since(clock::monotonic());
        if !time.is_zero() && self.cancel.wait(time.min(left)) {
            return Err(RunError::Cancelled.into());
        }
        self.check()
    }
}

/// Why a run ended before its end.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Stop {
    /// A guard stopped it before any write (R7).
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It failed.
    #[error(transparent)]
    Failed(#[from] RunError),
}

impl From<MysqlError> for Stop {
    fn from(error: MysqlError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<RedisError> for Stop {
    /// A key that holds something else is a matter for the guards, whenever it shows (R7).
    fn from(error: RedisError) -> Self {
        match error.kind {
            RedisErrorKind::OtherType { key, wanted } => {
                Refusal::WrongType { key, wanted, found: "key of another type".to_owned() }.into()
            }
            RedisErrorKind::NotACounter { target, id, value } => {
                Refusal::NotACounter { target, id, value }.into()
            }
            _ => Self::Failed(error.into()),
        }
    }
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RunError {
    /// MySQL failed it.
    #[error(transparent)]
    Mysql(#[from] MysqlError),
    /// Redis failed it.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// A guard found something after the first write.
    #[error("after some repairs, each of them right: {0}")]
    Late(Refusal),
    /// It was told to stop.
    #[error("cancelled; what was written is right, the next run goes on from there")]
    Cancelled,
    /// It took longer than its timeout (S10).
    #[error("timed out after {}; raise timeout, or speed the query up", duration::format(*.0))]
    TimedOut(Duration),
    /// The job's code panicked.
    #[error("a defect in recountd: {0}; please report it")]
    Panicked(String),
}

impl RunError {
    /// Whether a later attempt may succeed without anybody changing anything (S9).
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Mysql(error) => error.is_passing(),
            Self::Redis(error) => error.is_passing(),
            Self::TimedOut(_) | Self::Panicked(_) => true,
            Self::Late(_) | Self::Cancelled => false,
        }
    }
}
