//! Writing what is proven, and writing down what was written (R7, R10).

use super::family::Count;
use super::{Run, Stop};
use crate::clock;
use crate::reconcile::{Amount, Change, Repair, Suspect, check_changes};
use crate::stores::redis::WRITE_WINDOW;

/// Repairs of one run that are logged at level info; the others at level debug.
const LOGGED: u64 = 10;

impl Run<'_> {
    /// Refuses if any family's proven changes are more than the guard lets through; the report
    /// tells what it would have been.
    pub(super) fn judge(
        &mut self,
        counts: &[Count<'_>],
        proven: &[Vec<Change>],
    ) -> Result<(), Stop> {
        for (count, changes) in counts.iter().zip(proven) {
            let touched = changes.iter().filter(|change| change.touches_existing()).count();
            if let Err(refusal) = check_changes(&count.scope, touched as u64) {
                proven.iter().flatten().for_each(|change| self.findings.add(change));
                return Err(refusal.into());
            }
        }
        Ok(())
    }

    /// Writes proven changes, or only takes note of them in a dry run; gives those whose counter
    /// has moved since it was proven.
    pub(super) fn apply(
        &mut self,
        count: &mut Count<'_>,
        changes: &[Change],
    ) -> Result<Vec<Suspect>, Stop> {
        let mut moved = Vec::new();
        let mut left = changes;
        while !left.is_empty() {
            let (portion, later) = left.split_at(self.pace.writes().min(left.len()));
            left = later;
            self.context.check()?;
            let done = if self.context.mode.dry_run {
                vec![true; portion.len()]
            } else {
                self.write(count, portion)?
            };
            let at = clock::wall();
            let mut repairs = Vec::new();
            for (change, done) in portion.iter().zip(done) {
                if !done {
                    moved.push(Suspect::from(change.clone()));
                    continue;
                }
                self.note(count, change);
                let Change { id, from: before, to: after, proof } = change.clone();
                let target = count.family.name();
                repairs.push(Repair { target, id, before, after, at, proof });
            }
            if !self.context.mode.dry_run {
                self.context.ledger.wrote(&repairs);
            }
        }
        Ok(moved)
    }

    fn write(&mut self, count: &Count<'_>, portion: &[Change]) -> Result<Vec<bool>, Stop> {
        let begun = self.pause()?;
        let done = match self.redis.compare_and_set(count.target(), portion) {
            Ok(done) => done,
            Err(error) => {
                // The write may still be on its way. The next run begins when it has arrived or can
                // have no effect any more.
                if error.kind.is_lost() {
                    self.context.wait(WRITE_WINDOW).ok();
                }
                return Err(error.into());
            }
        };
        let elapsed = self.reply_after(begun);
        self.pace.after_write(portion.len(), elapsed);
        Ok(done)
    }

    fn note(&mut self, count: &mut Count<'_>, change: &Change) {
        self.findings.add(change);
        count.removable += u64::from(change.removes());
        if self.context.mode.dry_run {
            return;
        }
        self.written += 1;
        let written = self.written;
        self.findings.repaired += u64::from(!change.removes());
        let level = if written <= LOGGED { log::Level::Info } else { log::Level::Debug };
        if log::log_enabled!(level) {
            let text =
                |amount: Option<Amount>| amount.map_or("absent".to_owned(), |a| a.to_string());
            let (job, family, id) = (&self.job.name, count.family.name(), &change.id);
            let space = if family.is_empty() { "" } else { " " };
            let (from, to) = (text(change.from), text(change.to));
            log::log!(level, "{job}: repaired {family}{space}id {id}: {from} -> {to}");
        }
        if written == LOGGED + 1 {
            log::info!(
                "{job}: more repairs follow; RUST_LOG=debug shows them all",
                job = self.job.name
            );
        }
    }
}

impl From<Change> for Suspect {
    /// A counter that moved after it was proven is a suspect again.
    fn from(change: Change) -> Self {
        Self { id: change.id, in_redis: true, in_truth: change.to.is_some() }
    }
}
