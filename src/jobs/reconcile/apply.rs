//! Writing what is proven, and writing down what was written (R7, R10).

use std::sync::Arc;
use std::thread;

use chrono::{DateTime, Utc};

use super::ahead::Asked;
use super::family::Count;
use super::{Run, RunError, Stop};
use crate::clock;
use crate::reconcile::{Amount, Change, Proof, Repair, Suspect, check_changes};
use crate::stores::redis::{RedisError, WRITE_WINDOW};

/// Repairs of one run that are logged at level info; the others at level debug.
const LOGGED: u64 = 10;

impl Run<'_> {
    /// Refuses if any family's proven changes are more than the guard lets through; the report
    /// tells what it would have been.
    pub(super) fn judge(&mut self, proven: &[(&Count<'_>, &[Change])]) -> Result<(), Stop> {
        for (count, changes) in proven {
            let touched = changes.iter().filter(|change| change.touches_existing()).count();
            if let Err(refusal) = check_changes(&count.scope, touched as u64) {
                for (count, changes) in proven {
                    let family = count.family.name();
                    changes.iter().for_each(|change| self.findings.add(&family, change));
                }
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
        let done = self.unless_lost(count, portion, done)?;
        let elapsed = self.reply_after(begun);
        self.pace.after_write(portion.len(), elapsed);
        Ok(done)
    }

    /// Remembers the changes of a call of which it is not known whether it has arrived.
    pub(super) fn unless_lost<T>(
        &mut self,
        count: &Count<'_>,
        changes: &[Change],
        answer: Result<T, RedisError>,
    ) -> Result<T, Stop> {
        if let Err(error) = &answer
            && error.kind.is_lost()
        {
            self.doubtful.push((count.family.name(), changes.to_vec()));
        }
        Ok(answer?)
    }

    /// Ends a run that has failed: takes the answers that are still to come, and writes down what
    /// may have been written by calls that will not be answered any more.
    pub(super) fn give_up(&mut self, counts: &mut [Count<'_>]) {
        let writes = |(_, asked): &(usize, Asked)| matches!(asked, Asked::Changes(_));
        while self.doubtful.is_empty() && self.line.iter().any(writes) {
            // Where the server has answered with an error, the next answer may still come.
            match self.take_first(counts) {
                Err(Stop::Failed(RunError::Redis(error))) if error.kind.is_lost() => break,
                Ok(()) | Err(_) => {}
            }
        }
        for (place, asked) in std::mem::take(&mut self.line) {
            if let (Asked::Changes(changes), Some(count)) = (asked, counts.get(place)) {
                self.doubtful.push((count.family.name(), changes));
            }
        }
        let doubtful = std::mem::take(&mut self.doubtful);
        let calls: usize = doubtful.iter().map(|(_, changes)| changes.len()).sum();
        if calls == 0 {
            return;
        }
        log::warn!(
            "{}: {calls} writes were sent and not answered; if they have arrived they are right, \
             and `explain` shows them either way",
            self.job.name
        );
        // They have arrived by then, or can have no effect any more: the next run must not meet them.
        thread::sleep(WRITE_WINDOW);
        self.written += calls as u64;
        let at = clock::wall();
        for (target, changes) in doubtful {
            // To undo what was never written is harmless where the counter must hold what was
            // written. It is not for what was added to a counter in motion.
            let exact = changes.into_iter().filter(|change| !change.proof.is_relative());
            let repairs: Vec<Repair> = exact.map(|change| repair(&target, change, at)).collect();
            self.context.ledger.wrote(&repairs);
        }
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
            repairs.push(repair(&count.family.name(), change.clone(), at));
        }
        if !self.context.mode.dry_run {
            self.context.ledger.wrote(&repairs);
        }
    }

    fn note(&mut self, count: &mut Count<'_>, change: &Change) {
        self.findings.add(&count.family.name(), change);
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

fn repair(target: &Arc<str>, change: Change, at: DateTime<Utc>) -> Repair {
    let Change { id, from: before, to: after, proof } = change;
    Repair { target: Arc::clone(target), id, before, after, at, proof }
}

impl From<Change> for Suspect {
    /// A counter that moved after it was proven is a suspect again.
    fn from(change: Change) -> Self {
        Self { id: change.id, in_redis: true, in_truth: change.to.is_some() }
    }
}
