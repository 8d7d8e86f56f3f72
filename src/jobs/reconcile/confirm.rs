//! Proving what looks wrong, and repairing what is proven (R3, R4).

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::{Context, Progress, Run, RunError, Stop, since};
use crate::clock;
use crate::config::Ghosts;
use crate::reconcile::{
    Change, Id, ROUNDS, Refusal, Row, Suspect, Truth, Verdict, Watch, check_changes, longest_gap,
    reading_interval,
};
use crate::stores::mysql::{MysqlErrorKind, Narrow, Next, Select, Session};

impl Run<'_> {
    /// Takes the suspects through the watch, in portions, and those of which nothing is known then
    /// again, for [`ROUNDS`] rounds; what is left in the end is unproven.
    ///
    /// The guard comes before the first write (R7). While even the worst case is within it, what
    /// is proven is written at once; otherwise everything is proven first and judged as a whole.
    /// A proof does not age: the counter must still hold what it stood still at.
    pub(super) fn confirm(&mut self, mut suspects: Vec<Suspect>) -> Result<(), Stop> {
        let removes = self.work.ghosts == Ghosts::Remove;
        let at_stake = suspects.iter().filter(|s| s.in_redis && (s.in_truth || removes)).count();
        let mut held_back = match check_changes(&self.scope, at_stake as u64) {
            Ok(()) => None,
            Err(_) => Some(Vec::new()),
        };
        for round in 1..=ROUNDS {
            let of = suspects.len() as u64;
            let mut again = Vec::new();
            while !suspects.is_empty() {
                let ids = of - suspects.len() as u64;
                self.tell(Progress::Confirming { round, ids, of });
                let size = self.pace.watchable(reading_interval(self.work.settle));
                let portion = suspects.split_off(suspects.len().saturating_sub(size));
                let verdict = self.watch(portion)?;
                // What a narrowed query does not find, the whole one is asked for from now on.
                self.narrow &= verdict.unseen.is_empty();
                again.extend(verdict.moved);
                again.extend(verdict.unseen);
                let mut changes = verdict.drifted;
                if removes {
                    changes.extend(verdict.ghosts);
                } else {
                    verdict.ghosts.iter().for_each(|ghost| self.findings.add_ghost(ghost));
                }
                match &mut held_back {
                    Some(held_back) => held_back.extend(changes),
                    None => again.extend(self.apply(changes)?.into_iter().map(Suspect::from)),
                }
            }
            suspects = again;
        }
        if let Some(changes) = held_back {
            suspects.extend(self.judge_and_apply(changes)?);
        }
        self.findings.unproven = suspects.len() as u64;
        Ok(())
    }

    /// Writes what was held back if the guard lets it; if not, the report tells what it would have
    /// been.
    fn judge_and_apply(&mut self, changes: Vec<Change>) -> Result<Vec<Suspect>, Stop> {
        let touched = changes.iter().filter(|c| c.touches_existing()).count();
        if let Err(refusal) = check_changes(&self.scope, touched as u64) {
            changes.iter().for_each(|change| self.findings.add(change));
            return Err(refusal.into());
        }
        Ok(self.apply(changes)?.into_iter().map(Suspect::from).collect())
    }

    /// Watches the counters of some ids from T − settle to T + settle, T being a new snapshot of
    /// their truth.
    fn watch(&mut self, suspects: Vec<Suspect>) -> Result<Verdict, Stop> {
        let settle = self.work.settle;
        let mut watching = Watching {
            watch: Watch::new(suspects),
            interval: reading_interval(settle),
            longest_gap: longest_gap(settle),
            last: clock::monotonic(),
        };
        watching.read(self)?;
        watching.until(self, clock::monotonic() + settle)?;
        let (truth, taken) = self.truth(&mut watching)?;
        watching.until(self, taken + settle)?;
        // The watch ends with a reading after T + settle; the one before may be a little earlier.
        watching.read(self)?;
        Ok(watching.watch.judge(&truth))
    }

    /// The truth of the watched ids in a new snapshot, and an instant after which it was taken.
    fn truth(&mut self, watching: &mut Watching) -> Result<(Truth, Instant), Stop> {
        let places = watching.watch.open();
        let ids: Vec<Id> = watching.watch.ids(&places).cloned().collect();
        if self.narrow && self.is_few(ids.len()) {
            let narrow = Narrow { column: self.column.clone(), ids: ids.clone() };
            let select = Select { query: self.work.query.clone(), only: Some(narrow) };
            match self.snapshot(select, &ids, watching) {
                // Not every query can be a derived table; the whole of it will do.
                Err(Stop::Failed(RunError::Mysql(error)))
                    if matches!(
                        error.kind,
                        MysqlErrorKind::BadQuery(_) | MysqlErrorKind::Server { code: 1060, .. }
                    ) =>
                {
                    self.narrow = false;
                    self.mysql = Session::open(&self.work.mysql, self.job.limits.timeout)?;
                }
                answer => return answer,
            }
        }
        let select = Select { query: self.work.query.clone(), only: None };
        self.snapshot(select, &ids, watching)
    }

    /// A narrowed query pays as long as it names a small part of the rows.
    fn is_few(&self, ids: usize) -> bool {
        let rows = usize::try_from(self.findings.counters).unwrap_or(usize::MAX);
        ids <= Select::MAX_IDS && ids <= (rows / 5).max(100)
    }

    fn snapshot(
        &mut self,
        select: Select,
        ids: &[Id],
        watching: &mut Watching,
    ) -> Result<(Truth, Instant), Stop> {
        let mut truth = Truth { values: HashMap::new(), whole: select.only.is_none() };
        let wanted: HashSet<&Id> = ids.iter().collect();
        let mut taken = None;
        self.mysql.start(select)?;
        loop {
            self.context.check()?;
            let wait = watching.interval.saturating_sub(since(watching.last));
            match self.mysql.next(wait.min(Context::SLICE))? {
                Next::Columns(_) => taken = Some(clock::monotonic()),
                Next::Rows(cells) => {
                    for (id, value) in cells {
                        let row = Row::for_score(id, value)?;
                        // A collation may match more ids than were asked for.
                        if wanted.contains(&row.id)
                            && let Some(_) = truth.values.insert(row.id.clone(), row.truth)
                        {
                            return Err(Refusal::DuplicateId { id: row.id.to_string() }.into());
                        }
                    }
                }
                Next::End => return Ok((truth, taken.unwrap_or_else(clock::monotonic))),
                Next::Nothing => {}
            }
            if since(watching.last) >= watching.interval {
                watching.read(self)?;
            }
        }
    }
}

/// A watch on its way.
struct Watching {
    watch: Watch,
    interval: Duration,
    longest_gap: Duration,
    /// When the last reading of all began.
    last: Instant,
}

impl Watching {
    /// Reads every counter that has not moved yet, once.
    fn read(&mut self, run: &mut Run<'_>) -> Result<(), Stop> {
        if since(self.last) > self.longest_gap {
            self.watch.interrupt();
        }
        self.last = clock::monotonic();
        let places = self.watch.open();
        let mut left = places.as_slice();
        while !left.is_empty() {
            let (now, later) = left.split_at(run.pace.chunk().min(left.len()));
            let counters = run.read(self.watch.ids(now))?;
            for (place, counter) in now.iter().zip(counters) {
                self.watch.observe(*place, counter);
            }
            left = later;
        }
        Ok(())
    }

    /// Goes on reading until `end`.
    fn until(&mut self, run: &mut Run<'_>, end: Instant) -> Result<(), Stop> {
        loop {
            let now = clock::monotonic();
            if now >= end {
                return Ok(());
            }
            let next = self.last + self.interval;
            run.context.wait(next.min(end).saturating_duration_since(now))?;
            if clock::monotonic() >= next {
                self.read(run)?;
            }
        }
    }
}

impl From<Change> for Suspect {
    /// A counter that moved after it was proven is a suspect again.
    fn from(change: Change) -> Self {
        Self { id: change.id, in_redis: true, in_truth: change.to.is_some() }
    }
}
