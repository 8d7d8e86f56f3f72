//! Counters that are provably nil: their truth is streamed straight in (R6).

use std::time::Instant;

use super::family::{Count, Missing};
use super::{Context, Progress, Run, Stop};
use crate::clock;
use crate::reconcile::{Change, Id, Proof, Suspect, read_id, read_truth};
use crate::stores::mysql::{Next, Rows};

impl Run<'_> {
    /// Fills the families whose key was absent, or where many ids had no counter; leaves with each
    /// the ids whose counter is not nil any more.
    ///
    /// A counter was absent a settle before the snapshot T, and nothing is written before T +
    /// settle. One that is nil even then has seen no increment in all that time: every event that
    /// was committed before T has landed or was lost, so its truth is exact. It does not matter
    /// whether the app makes a lost key anew meanwhile: the counters it writes are no longer nil.
    ///
    /// The whole result was looked at before ([`Run::discover`]), so a NULL or a duplicate at its
    /// end does not leave half a key behind (R7).
    pub(super) fn fill(&mut self, counts: &mut [Count<'_>]) -> Result<(), Stop> {
        let absent = clock::monotonic();
        let is_lost = |count: &Count<'_>| !matches!(count.missing, Missing::Few);
        let lost: Vec<usize> =
            counts.iter().enumerate().filter(|(_, c)| is_lost(c)).map(|(place, _)| place).collect();
        if lost.is_empty() {
            return Ok(());
        }
        self.until(absent + self.work.settle)?;
        let whole: Vec<&Count<'_>> = counts.iter().filter(|c| is_lost(c)).collect();
        let whole = self.whole(&whole);
        let of = self.findings.counters;
        let mut filled = 0;
        self.mysql.start(whole)?;
        loop {
            self.context.check()?;
            match self.mysql.next(Context::SLICE)? {
                // All tables are open and locked by now, so T lies before, also for engines that
                // know no snapshots.
                Next::Columns(_) => self.until(clock::monotonic() + self.work.settle)?,
                Next::Rows(rows) => {
                    for (column, place) in lost.iter().enumerate() {
                        self.fill_from(&rows, column, *place, counts)?;
                    }
                    filled += rows.len() as u64;
                    self.tell(Progress::Filling { rows: filled, of });
                }
                Next::End => break,
                Next::Nothing => {}
            }
        }
        for place in lost {
            self.write_ready(place, counts)?;
        }
        self.take_all(counts)
    }

    fn fill_from(
        &mut self,
        rows: &Rows,
        column: usize,
        place: usize,
        counts: &mut [Count<'_>],
    ) -> Result<(), Stop> {
        for (id, values) in rows.iter() {
            let (Some(count), Some(value)) = (counts.get_mut(place), values.get(column)) else {
                continue;
            };
            let id = read_id(id)?;
            let truth = read_truth(&id, value, count.target())?;
            let wanted = match &count.missing {
                Missing::All => true,
                Missing::Many(ids) => ids.contains(&id),
                Missing::Few => false,
            };
            if wanted && !truth.is_zero() {
                let to = Some(truth);
                count.ready.push(Change { id, from: None, to, proof: Proof::Absent });
            }
            if count.ready.len() >= self.pace.writes() {
                self.write_ready(place, counts)?;
            }
        }
        Ok(())
    }

    fn write_ready(&mut self, place: usize, counts: &mut [Count<'_>]) -> Result<(), Stop> {
        let Some(count) = counts.get_mut(place) else { return Ok(()) };
        let portion = std::mem::take(&mut count.ready);
        if self.context.mode.dry_run {
            let nil = self.still_nil(count, &portion)?;
            return self.apply(count, &nil);
        }
        self.write_changes(counts, place, portion)
    }

    /// What a write would find, without the write.
    fn still_nil(
        &mut self,
        count: &mut Count<'_>,
        changes: &[Change],
    ) -> Result<Vec<Change>, Stop> {
        let mut nil = Vec::new();
        for portion in changes.chunks(self.pace.reads()) {
            let ids = portion.iter().map(|change| -> &Id { &change.id });
            let counters = self.read(count.target(), ids)?;
            for (change, counter) in portion.iter().zip(counters) {
                match counter {
                    None => nil.push(change.clone()),
                    Some(_) => count.suspects.push(Suspect::from(change.clone())),
                }
            }
        }
        Ok(nil)
    }

    fn until(&self, end: Instant) -> Result<(), Stop> {
        self.context.wait(end.saturating_duration_since(clock::monotonic()))
    }
}
