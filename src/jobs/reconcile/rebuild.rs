//! A lost key: every counter is provably nil, so truth is streamed straight in (R6).

use std::time::Instant;

use super::{Context, Progress, Run, Stop};
use crate::clock;
use crate::reconcile::{Amount, Change, Pace, Proof, Row, Suspect, check_result};
use crate::stores::mysql::{Next, Select};

impl Run<'_> {
    /// Fills a key that was absent at `seen`; gives the ids whose counter is not nil any more.
    ///
    /// The key was absent a settle before the snapshot T, and nothing is written before T + settle.
    /// A counter that is nil even then has seen no increment in all that time: every event that
    /// was committed before T has landed or was lost, so its truth is exact. It does not matter
    /// whether the app makes the key anew meanwhile: the counters it writes are no longer nil.
    pub(super) fn rebuild(&mut self, seen: Instant) -> Result<Vec<Suspect>, Stop> {
        // The whole result is looked at once before the first write, without Redis: a NULL or a
        // duplicate at its end must not leave half a key behind (R7).
        self.each_row(|_, _| Ok(()))?;
        self.scope.rows = self.findings.counters;
        check_result(&self.scope)?;
        let of = self.scope.rows;
        self.until(seen + self.work.settle)?;
        self.mysql.start(Select { query: self.work.query.clone(), only: None })?;
        let mut moved = Vec::new();
        let proof = Proof::Absent;
        let mut rows = 0;
        loop {
            self.context.check()?;
            match self.mysql.next(Context::SLICE)? {
                // All tables are open and locked by now, so T lies before, also for engines that
                // know no snapshots.
                Next::Columns(_) => self.until(clock::monotonic() + self.work.settle)?,
                Next::Rows(cells) => {
                    let mut changes = Vec::new();
                    for (id, value) in cells {
                        let Row { id, truth } = Row::for_score(id, value)?;
                        rows += 1;
                        if !truth.is_zero() {
                            changes.push(Change { id, from: None, to: Some(truth), proof });
                        }
                    }
                    self.fill(changes, &mut moved)?;
                    self.tell(Progress::Rebuilding { rows, of });
                }
                Next::End => {
                    self.findings.counters = rows;
                    return Ok(moved);
                }
                Next::Nothing => {}
            }
        }
    }

    fn fill(&mut self, changes: Vec<Change>, moved: &mut Vec<Suspect>) -> Result<(), Stop> {
        let nil = if self.context.mode.dry_run {
            let mut nil = Vec::new();
            for portion in changes.chunks(Pace::WRITES) {
                let counters: Vec<Option<Amount>> = self.read(portion.iter().map(|c| &c.id))?;
                for (change, counter) in portion.iter().zip(counters) {
                    match counter {
                        None => nil.push(change.clone()),
                        Some(_) => moved.push(change.clone().into()),
                    }
                }
            }
            nil
        } else {
            changes
        };
        moved.extend(self.apply(nil)?.into_iter().map(Suspect::from));
        Ok(())
    }

    fn until(&self, end: Instant) -> Result<(), Stop> {
        self.context.wait(end.saturating_duration_since(clock::monotonic()))
    }
}
