//! Finding what looks wrong: the rows of truth against the counters (R1), then the ghosts (R2).

use super::family::{Count, Missing};
use super::{Context, Progress, Run, Stop};
use crate::reconcile::{
    Amount, Id, IdSet, Refusal, Row, Suspect, check_result, read_id, read_truth,
};
use crate::stores::mysql::{Next, Rows};

impl Run<'_> {
    /// Compares every row; leaves with each family the ids that looked wrong once. Only those are
    /// kept in memory, and a compact set of all ids. Fails unless the stream ends cleanly, so
    /// whoever decides by an id's absence does so after this (R2, R8).
    pub(super) fn discover(&mut self, counts: &mut [Count<'_>]) -> Result<(), Stop> {
        let mut ids = IdSet::default();
        let whole: Vec<&Count<'_>> = counts.iter().collect();
        let whole = self.whole(&whole);
        self.mysql.start(whole)?;
        loop {
            self.context.check()?;
            match self.mysql.next(Context::SLICE)? {
                Next::Columns(first) => self.column = first,
                Next::Rows(rows) => self.take_rows(&rows, &mut ids, counts)?,
                Next::End => break,
                Next::Nothing => {}
            }
        }
        self.compare_waiting(counts)?;
        self.take_all(counts)?;
        for count in counts {
            count.scope.rows = self.findings.counters;
            if !count.target().is_shared() {
                count.scope.held = count.present;
            }
            check_result(&count.scope)?;
            self.sweep(count, &ids)?;
            count.scope.held = count.scope.held.saturating_sub(count.zeros());
        }
        Ok(())
    }

    fn take_rows(
        &mut self,
        rows: &Rows,
        ids: &mut IdSet,
        counts: &mut [Count<'_>],
    ) -> Result<(), Stop> {
        for (id, values) in rows.iter() {
            let id = read_id(id)?;
            if !ids.insert(&id) {
                return Err(Refusal::DuplicateId { id: id.to_string() }.into());
            }
            self.findings.counters += 1;
            for (count, value) in counts.iter_mut().zip(values) {
                let truth = read_truth(&id, value, count.target())?;
                count.scope.truths += u64::from(!truth.is_zero());
                // Nothing is asked of a key that is not there; its values only have to be good.
                if !matches!(count.missing, Missing::All) {
                    count.waiting.push(Row { id: id.clone(), truth });
                }
            }
            if counts.iter().any(|count| count.waiting.len() >= self.pace.reads()) {
                self.compare_waiting(counts)?;
            }
        }
        let of = counts.iter().map(|count| count.scope.held).max().unwrap_or(0);
        self.tell(Progress::Comparing { rows: self.findings.counters, of });
        Ok(())
    }

    fn compare_waiting(&mut self, counts: &mut [Count<'_>]) -> Result<(), Stop> {
        for place in 0..counts.len() {
            let waiting = counts.get_mut(place).map(|count| std::mem::take(&mut count.waiting));
            self.compare_rows(counts, place, waiting.unwrap_or_default())?;
        }
        Ok(())
    }

    /// Looks for ids that Redis has and the result has not.
    fn sweep(&mut self, count: &mut Count<'_>, known: &IdSet) -> Result<(), Stop> {
        let target = count.target();
        if count.ghosts.is_none() || matches!(count.missing, Missing::All) {
            return Ok(());
        }
        if target.is_shared() {
            count.scope.held = self.redis.held(target)?;
            if count.scope.held <= count.matched() {
                return Ok(());
            }
        }
        let mut ghosts = IdSet::default();
        let mut cursor = 0;
        loop {
            let begun = self.pause()?;
            self.context.check()?;
            let page = self.redis.sweep(target, cursor, self.pace.reads())?;
            let elapsed = self.reply_after(begun);
            self.pace.after_command(elapsed);
            let is_ghost = |ghosts: &mut IdSet, id: &Id, counter: Amount| {
                // A sweep may show an id twice, and 0 is as good as absent (R1).
                !counter.is_zero() && !known.contains(id) && ghosts.insert(id)
            };
            for (id, counter) in page.counters {
                if is_ghost(&mut ghosts, &id, counter) {
                    count.suspects.push(Suspect { id, in_redis: true, in_truth: false });
                    count.scope.held += u64::from(!target.is_shared());
                }
            }
            cursor = page.cursor;
            if cursor == 0 {
                return Ok(());
            }
        }
    }
}
