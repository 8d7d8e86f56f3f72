//! Writing what is proven, and writing down what was written (R7, R10).

use super::family::Count;
use super::{Run, Stop};
use crate::clock;
use crate::reconcile::{Amount, Change, Proof, Repair, Suspect, check_changes};
use crate::stores::redis::{RedisError, WRITE_WINDOW};

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

    /// Writes proven changes, or only takes note of them in a dry run; those whose counter has
    /// moved since are suspects again.
    pub(super) fn apply(&mut self, count: &mut Count<'_>, changes: &[Change]) -> Result<(), Stop> {
        let mut left = changes;
        while !left.is_empty() {
            let (portion, later) = left.split_at(self.pace.writes().min(left.len()));
            left = later;
            self.context.check()?;
            let done = self.write(count, portion)?;
            self.take_done(count, portion, &done);
        }
        Ok(())
    }

    /// Writes a portion, or would in a dry run; says of each change whether it did.
    pub(super) fn write(
        &mut self,
        count: &Count<'_>,
        portion: &[Change],
    ) -> Result<Vec<bool>, Stop> {
        if self.context.mode.dry_run {
            return Ok(vec![true; portion.len()]);
        }
        let begun = self.pause()?;
        let done = self.redis.compare_and_set(count.target(), portion);
        let done = self.unless_lost(done)?;
        let elapsed = self.reply_after(begun);
        self.pace.after_write(portion.len(), elapsed);
        Ok(done)
    }

    /// An error that leaves it open whether a write has arrived is passed on only once it has, or
    /// can have no effect any more: the next run must not meet it.
    pub(super) fn unless_lost<T>(&self, answer: Result<T, RedisError>) -> Result<T, Stop> {
        if let Err(error) = &answer
            && error.kind.is_lost()
        {
            self.context.wait(WRITE_WINDOW).ok();
        }
        Ok(answer?)
    }

    /// Takes note of what was written, and of what has moved.
    pub(super) fn take_done(&mut self, count: &mut Count<'_>, portion: &[Change], done: &[bool]) {
        let at = clock::wall();
        let mut repairs = Vec::new();
        for (change, done) in portion.iter().zip(done) {
            if !done {
                count.suspects.push(Suspect::from(change.clone()));
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

    fn note(&mut self, count: &mut Count<'_>, change: &Change) {
        self.findings.add(change);
        count.touched += u64::from(change.touches_existing());
        count.removable += u64::from(change.removes());
        if self.context.mode.dry_run {
            return;
        }
        self.written += 1;
        let written = self.written;
        // What was only brought nearer to its truth is not repaired yet.
        let repaired = !change.removes() && change.proof != Proof::Nearest;
        self.findings.repaired += u64::from(repaired);
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
