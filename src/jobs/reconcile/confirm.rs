//! Proving what looks wrong, and repairing what is proven (R3, R4).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Context, Progress, Run, Stop, since};
use crate::clock;
use crate::config::Ghosts;
use crate::reconcile::{
    Amount, Change, Id, ROUNDS, Row, Suspect, Verdict, Watch, check_changes, reading_interval,
};
use crate::stores::mysql::{MysqlErrorKind, Narrow, Next, Select, Session};

impl Run<'_> {
    /// Takes the suspects through the watch, in portions, and those that moved again, for
    /// [`ROUNDS`] rounds; what is left then is unproven.
    pub(super) fn confirm(&mut self, mut suspects: Vec<Suspect>) -> Result<(), Stop> {
        let mut guarded = false;
        for round in 1..=ROUNDS {
            if suspects.is_empty() {
                break;
            }
            let of = suspects.len() as u64;
            let mut moved = Vec::new();
            while !suspects.is_empty() {
                let ids = of - suspects.len() as u64;
                self.tell(Progress::Confirming { round, ids, of });
                let size = self.pace.watchable(reading_interval(self.work.settle));
                let portion = suspects.split_off(suspects.len().saturating_sub(size));
                let verdict = self.watch(portion)?;
                moved.extend(verdict.moved);
                let mut changes = verdict.drifted;
                match self.work.ghosts {
                    Ghosts::Remove => changes.extend(verdict.ghosts),
                    Ghosts::Keep => verdict.ghosts.iter().for_each(|g| self.findings.add_ghost(g)),
                }
                // The guard comes before the first write. What is not proven yet by then counts as
                // if it were: a large change has to be seen whole.
                if !guarded && !changes.is_empty() {
                    let proven = changes.iter().filter(|c| c.touches_existing()).count();
                    let open = suspects.iter().filter(|s| s.in_redis).count();
                    check_changes(&self.scope, (proven + open) as u64)?;
                    guarded = true;
                }
                let late = self.apply(changes)?;
                moved.extend(late.into_iter().map(Suspect::from));
            }
            suspects = moved;
        }
        self.findings.unproven = suspects.len() as u64;
        Ok(())
    }

    /// Watches the counters of some ids from T − settle to T + settle, T being a new snapshot of
    /// their truth.
    fn watch(&mut self, suspects: Vec<Suspect>) -> Result<Verdict, Stop> {
        let settle = self.work.settle;
        let mut watching = Watching {
            watch: Watch::new(suspects),
            interval: reading_interval(settle),
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
    fn truth(&mut self, watching: &mut Watching) -> Result<(HashMap<Id, Amount>, Instant), Stop> {
        let places = watching.watch.open();
        let ids: Vec<Id> = watching.watch.ids(&places).cloned().collect();
        if self.narrow && self.is_few(ids.len()) {
            let narrow = Narrow { column: self.column.clone(), ids: ids.clone() };
            let select = Select { query: self.work.query.clone(), only: Some(narrow) };
            match self.snapshot(select, &ids, watching) {
                // Not every query can be a derived table; the whole of it will do.
                Err(Stop::Failed(super::RunError::Mysql(error)))
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
    ) -> Result<(HashMap<Id, Amount>, Instant), Stop> {
        let mut truth: HashMap<Id, Amount> = HashMap::new();
        let wanted: std::collections::HashSet<&Id> = ids.iter().collect();
        let mut taken = None;
        self.mysql.start(select)?;
        loop {
            self.context.check()?;
            let wait = watching.interval.saturating_sub(since(watching.last));
            match self.mysql.next(wait.min(Context::SLICE))? {
                Next::Began => taken = Some(clock::monotonic()),
                Next::Rows(cells) => {
                    for (id, value) in cells {
                        let row = Row::for_score(id, value)?;
                        // A collation may match more ids than were asked for.
                        if wanted.contains(&row.id) {
                            truth.insert(row.id, row.truth);
                        }
                    }
                }
                Next::End => return Ok((truth, taken.unwrap_or_else(clock::monotonic))),
                Next::Columns(_) | Next::Nothing => {}
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
    last: Instant,
}

impl Watching {
    /// Reads every counter that has not moved yet, once.
    fn read(&mut self, run: &mut Run<'_>) -> Result<(), Stop> {
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
        Self { id: change.id, in_redis: true }
    }
}
