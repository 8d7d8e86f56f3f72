//! Proving what looks wrong, and repairing what is proven (R3, R4).

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::family::Count;
use super::{Context, Progress, Run, RunError, Stop, since};
use crate::clock;
use crate::config::{Ghosts, Target};
use crate::reconcile::{
    Change, Id, ROUNDS, Refusal, Suspect, Truth, Verdict, Watch, longest_gap, read_id, read_truth,
    reading_interval,
};
use crate::stores::mysql::{MysqlErrorKind, Narrow, Next, Select, Session};

impl Run<'_> {
    /// Takes the family's suspects through the watch, in portions, and those of which nothing is
    /// known then again, for [`ROUNDS`] rounds; leaves those that kept moving (R4). What is proven
    /// is written at once, or gathered in `hold`.
    pub(super) fn confirm(
        &mut self,
        count: &mut Count<'_>,
        mut hold: Option<&mut Vec<Change>>,
    ) -> Result<(), Stop> {
        for round in 1..=ROUNDS {
            let mut suspects = std::mem::take(&mut count.suspects);
            let of = suspects.len() as u64;
            while !suspects.is_empty() {
                let ids = of - suspects.len() as u64;
                self.tell(Progress::Confirming { round, ids, of });
                let size = self.pace.watchable(reading_interval(self.work.settle));
                let portion = suspects.split_off(suspects.len().saturating_sub(size));
                let verdict = self.watch(count, portion)?;
                // What a narrowed query does not find, the whole one is asked for from now on.
                self.narrow &= verdict.unseen.is_empty();
                count.suspects.extend(verdict.moved);
                count.suspects.extend(verdict.unseen);
                let mut changes = verdict.drifted;
                if count.ghosts == Some(Ghosts::Remove) {
                    changes.extend(verdict.ghosts);
                } else {
                    verdict.ghosts.iter().for_each(|ghost| self.findings.add(ghost));
                }
                match &mut hold {
                    Some(held) => held.extend(changes),
                    None => self.apply(count, &changes)?,
                }
            }
        }
        Ok(())
    }

    /// Watches the counters of some ids from T − settle to T + settle, T being a new snapshot of
    /// their truth.
    fn watch(&mut self, count: &Count<'_>, suspects: Vec<Suspect>) -> Result<Verdict, Stop> {
        let settle = self.work.settle;
        let mut watching = Watching {
            target: count.target(),
            watch: Watch::new(suspects),
            interval: reading_interval(settle),
            longest_gap: longest_gap(settle),
            last: clock::monotonic(),
        };
        watching.read(self)?;
        watching.until(self, clock::monotonic() + settle)?;
        let (truth, taken) = self.truth(count, &mut watching)?;
        watching.until(self, taken + settle)?;
        // The watch ends with a reading after T + settle; the one before may be a little earlier.
        watching.read(self)?;
        Ok(watching.watch.judge(&truth))
    }

    /// The truth of the watched ids in a new snapshot, and an instant after which it was taken.
    fn truth(
        &mut self,
        count: &Count<'_>,
        watching: &mut Watching<'_>,
    ) -> Result<(Truth, Instant), Stop> {
        let places = watching.watch.open();
        let ids: Vec<Id> = watching.watch.ids(&places).cloned().collect();
        if self.narrow && self.is_few(ids.len()) {
            let narrow = Narrow { column: self.column.clone(), ids: ids.clone() };
            let select = Select { only: Some(narrow), ..self.whole(&[count]) };
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
        let whole = self.whole(&[count]);
        self.snapshot(whole, &ids, watching)
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
        watching: &mut Watching<'_>,
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
                Next::Rows(rows) => {
                    for (id, values) in rows.iter() {
                        let id = read_id(id)?;
                        // A collation may match more ids than were asked for.
                        let (true, Some(value)) = (wanted.contains(&id), values.first()) else {
                            continue;
                        };
                        let value = read_truth(&id, value, watching.target)?;
                        if truth.values.insert(id.clone(), value).is_some() {
                            return Err(Refusal::DuplicateId { id: id.to_string() }.into());
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
struct Watching<'a> {
    target: &'a Target,
    watch: Watch,
    interval: Duration,
    longest_gap: Duration,
    /// When the last reading of all began.
    last: Instant,
}

impl Watching<'_> {
    /// Reads every counter that has not moved yet, once.
    fn read(&mut self, run: &mut Run<'_>) -> Result<(), Stop> {
        if since(self.last) > self.longest_gap {
            self.watch.interrupt();
        }
        self.last = clock::monotonic();
        let places = self.watch.open();
        let mut left = places.as_slice();
        while !left.is_empty() {
            let (now, later) = left.split_at(run.pace.reads().min(left.len()));
            let counters = run.read(self.target, self.watch.ids(now))?;
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
