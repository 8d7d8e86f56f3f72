//! Finding what looks wrong: the rows of truth against the counters (R1), then the ghosts (R2).

use super::{Context, Progress, Run, Stop};
use crate::clock;
use crate::reconcile::{IdSet, Refusal, Row, Suspect, check_result, compare};
use crate::stores::mysql::{Next, Select};

impl Run<'_> {
    /// Compares every row; gives the ids that looked wrong once. Only those are kept in memory,
    /// and a compact set of all ids.
    pub(super) fn discover(&mut self) -> Result<Vec<Suspect>, Stop> {
        let mut suspects = Vec::new();
        let mut matched = 0;
        let mut waiting = Vec::new();
        let ids = self.each_row(|run, row| {
            waiting.push(row);
            if waiting.len() >= run.pace.chunk() {
                matched += run.compare(&mut waiting, &mut suspects)?;
            }
            Ok(())
        })?;
        matched += self.compare(&mut waiting, &mut suspects)?;
        self.scope.rows = self.findings.counters;
        check_result(&self.scope)?;
        self.scope.held = self.redis.held(self.key)?;
        if self.scope.held > matched {
            self.sweep(&ids, &mut suspects)?;
        }
        Ok(suspects)
    }

    /// Gives every row of the whole query to `take`, each id once. Fails unless the stream ends
    /// cleanly, so whoever decides by an id's absence does so after this (R2, R8).
    pub(super) fn each_row(
        &mut self,
        mut take: impl FnMut(&mut Self, Row) -> Result<(), Stop>,
    ) -> Result<IdSet, Stop> {
        let mut ids = IdSet::default();
        let mut rows = 0;
        self.mysql.start(Select { query: self.work.query.clone(), only: None })?;
        loop {
            self.context.check()?;
            match self.mysql.next(Context::SLICE)? {
                Next::Columns(first) => self.column = first,
                Next::Rows(cells) => {
                    for (id, value) in cells {
                        let row = Row::for_score(id, value)?;
                        if !ids.insert(&row.id) {
                            return Err(Refusal::DuplicateId { id: row.id.to_string() }.into());
                        }
                        rows += 1;
                        self.findings.counters = rows;
                        take(self, row)?;
                    }
                }
                Next::End => return Ok(ids),
                Next::Nothing => {}
            }
        }
    }

    /// Compares the waiting rows with their counters; gives how many Redis had.
    fn compare(&mut self, rows: &mut Vec<Row>, to: &mut Vec<Suspect>) -> Result<u64, Stop> {
        let counters = self.read(rows.iter().map(|row| &row.id))?;
        let found = compare(rows, &counters);
        rows.clear();
        to.extend(found.suspects);
        self.tell(Progress::Comparing { rows: self.findings.counters, of: self.scope.held });
        Ok(found.matched)
    }

    /// Looks for ids that Redis has and the result has not.
    fn sweep(&mut self, known: &IdSet, suspects: &mut Vec<Suspect>) -> Result<(), Stop> {
        let mut ghosts = IdSet::default();
        let mut cursor = 0;
        loop {
            self.context.check()?;
            let begun = clock::monotonic();
            let page = self.redis.sweep(self.key, cursor, self.pace.chunk())?;
            let pause = self.pace.after_command(super::since(begun));
            self.context.wait(pause)?;
            for (id, counter) in page.members {
                // A sweep may show a member twice, and 0 is as good as absent (R1).
                if !counter.is_zero() && !known.contains(&id) && ghosts.insert(&id) {
                    suspects.push(Suspect { id, in_redis: true, in_truth: false });
                }
            }
            cursor = page.cursor;
            if cursor == 0 {
                return Ok(());
            }
        }
    }
}
