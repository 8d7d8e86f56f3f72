//! Reading counters again and again, also while MySQL answers.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::family::Count;
use super::{Context, Run, RunError, Stop};
use crate::clock;
use crate::reconcile::{Id, Refusal, Truth, read_id, read_truth, reading_pause};
use crate::stores::mysql::{Narrow, Next, Select, Session};

/// When to read next: at no even rhythm, so that an app in the same rhythm cannot stay unseen.
pub struct Rhythm {
    settle: Duration,
    /// When the last reading began, and when the next one is due.
    last: Instant,
    next: Instant,
    pub random: fastrand::Rng,
}

impl Rhythm {
    /// Begins with a reading now.
    pub fn new(settle: Duration) -> Self {
        let now = clock::monotonic();
        Self { settle, last: now, next: now, random: fastrand::Rng::new() }
    }

    /// A reading begins; gives how long ago the last one did.
    pub fn begin(&mut self) -> Duration {
        let now = clock::monotonic();
        let gap = now.saturating_duration_since(self.last);
        self.last = now;
        self.next = now + reading_pause(self.settle, &mut self.random);
        gap
    }

    fn wait(&self) -> Duration {
        self.next.saturating_duration_since(clock::monotonic())
    }
}

/// Counters that are read in a rhythm.
pub trait Readings {
    /// Their rhythm.
    fn rhythm(&mut self) -> &mut Rhythm;

    /// Reads them once.
    fn read(&mut self, run: &mut Run<'_>) -> Result<(), Stop>;

    /// Goes on reading until `end`.
    fn until(&mut self, run: &mut Run<'_>, end: Instant) -> Result<(), Stop> {
        loop {
            let now = clock::monotonic();
            if now >= end {
                return Ok(());
            }
            let wait = self.rhythm().wait();
            run.context.wait(wait.min(end.saturating_duration_since(now)))?;
            if self.rhythm().wait().is_zero() {
                self.read(run)?;
            }
        }
    }
}

/// The truth of some ids in a new snapshot, which was taken between two instants.
pub struct Snapshot {
    pub truth: Truth,
    pub asked: Instant,
    pub answered: Instant,
}

impl Run<'_> {
    /// Takes a snapshot of the truth of some ids, with readings going on meanwhile: by a narrowed
    /// query while that pays, else by the whole one.
    pub(super) fn snapshot(
        &mut self,
        count: &Count<'_>,
        ids: &[Id],
        readings: &mut impl Readings,
    ) -> Result<Snapshot, Stop> {
        let whole = self.whole(&[count]);
        if self.narrow && self.is_few(ids.len()) {
            let only = Some(Narrow { column: self.column.clone(), ids: ids.to_vec() });
            match self.take_snapshot(count, Select { only, ..whole.clone() }, ids, readings) {
                // Not every query can be a derived table; the whole of it will do.
                Err(Stop::Failed(RunError::Mysql(error))) if error.kind.cannot_be_narrowed() => {
                    self.narrow = false;
                    self.mysql = Session::open(&self.work.mysql, self.job.limits.timeout)?;
                }
                answer => return answer,
            }
        }
        self.take_snapshot(count, whole, ids, readings)
    }

    /// A narrowed query pays as long as it names a small part of the rows.
    fn is_few(&self, ids: usize) -> bool {
        let rows = usize::try_from(self.findings.counters).unwrap_or(usize::MAX);
        ids <= Select::MAX_IDS && ids <= (rows / 5).max(100)
    }

    fn take_snapshot(
        &mut self,
        count: &Count<'_>,
        select: Select,
        ids: &[Id],
        readings: &mut impl Readings,
    ) -> Result<Snapshot, Stop> {
        let mut truth = Truth { values: HashMap::new(), whole: select.only.is_none() };
        let wanted: HashSet<&Id> = ids.iter().collect();
        let asked = clock::monotonic();
        let mut answered = None;
        self.mysql.start(select)?;
        loop {
            self.context.check()?;
            let wait = readings.rhythm().wait();
            match self.mysql.next(wait.min(Context::SLICE))? {
                Next::Columns(_) => answered = Some(clock::monotonic()),
                Next::Rows(rows) => {
                    for (id, values) in rows.iter() {
                        let id = read_id(id)?;
                        // A collation may match more ids than were asked for.
                        let (true, Some(value)) = (wanted.contains(&id), values.first()) else {
                            continue;
                        };
                        let value = read_truth(&id, value, count.target())?;
                        if truth.values.insert(id.clone(), value).is_some() {
                            return Err(Refusal::DuplicateId { id: id.to_string() }.into());
                        }
                    }
                }
                Next::End => {
                    let answered = answered.unwrap_or_else(clock::monotonic);
                    return Ok(Snapshot { truth, asked, answered });
                }
                Next::Nothing => {}
            }
            if readings.rhythm().wait().is_zero() {
                readings.read(self)?;
            }
        }
    }
}
