//! What changes the schedule itself: commands, reloads, the end, steps of the clock (S12, S14, S15).

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use super::entry::{CORRECTION, Entry, Pause};
use super::event::{Action, Command, CommandError, Diff, RunId, SlotEnd};
use super::{Agenda, Cause, Phase, Run, Timer};
use crate::config::{Job, Origin};
use crate::schedule::Trigger;

impl Agenda {
    /// Carries out what somebody asks for.
    pub(super) fn command(
        &mut self,
        now: DateTime<Utc>,
        command: Command,
        actions: &mut Vec<Action>,
    ) -> Result<Option<RunId>, CommandError> {
        let is_late = matches!(command, Command::Trigger { .. } | Command::Put(_));
        if is_late && self.stopping {
            return Err(CommandError::Stopping);
        }
        match command {
            Command::Trigger { job, dry_run } => {
                let job = Arc::clone(&self.entry(&job)?.job);
                return self.trigger(now, &job, dry_run).map(Some);
            }
            Command::Pause(name) => {
                let pause = Pause { since: now.trunc_subsecs(3), record: None };
                let entry = self.entry(&name)?;
                if entry.pause.is_none() {
                    entry.pause = Some(pause);
                    actions.push(entry.to_remember());
                }
            }
            Command::Resume(name) => {
                let entry = self.entry(&name)?;
                if entry.pause.take().is_some() {
                    actions.push(entry.to_remember());
                }
            }
            Command::Put(job) => {
                let entry = match self.remove(&job.name) {
                    // As after a reload: what is the same keeps all it has.
                    Some(entry) if *entry.job == *job => entry,
                    Some(entry) => self.redefine(entry, job, now),
                    None => self.begin_with(job, now),
                };
                self.add(entry);
            }
            Command::Remove(name) => {
                let is_there = self.remove(&name).is_some() || self.aside.remove(&name).is_some();
                is_there.then_some(()).ok_or_else(|| CommandError::NoSuchJob(Arc::clone(&name)))?;
                self.drop_waiting(now, &SlotEnd::Removed, |run| run.job.name == name, actions);
                actions.push(Action::Forget(name));
            }
        }
        Ok(None)
    }

    fn entry(&mut self, name: &Arc<str>) -> Result<&mut Entry, CommandError> {
        self.jobs.get_mut(name).ok_or_else(|| CommandError::NoSuchJob(Arc::clone(name)))
    }

    /// A job that is new on the agenda, or comes back.
    fn begin_with(&mut self, job: Arc<Job>, now: DateTime<Utc>) -> Entry {
        let known = self.aside.remove(&job.name);
        Entry::resume(job, known.as_ref(), now)
    }

    /// Gives a job a new definition; a run of it that waits goes on under that.
    fn redefine(&mut self, entry: Entry, job: Arc<Job>, now: DateTime<Utc>) -> Entry {
        for run in self.runs.values_mut() {
            if run.job.name == job.name && run.phase == Phase::Waiting {
                run.job = Arc::clone(&job);
            }
        }
        entry.changed_to(job, now)
    }

    /// Takes note that a slot of this job was dealt with for good, or that a run ended which may be
    /// that of another job that had its name before.
    pub(super) fn note_end(&mut self, job: &Arc<Job>, is_for_good: bool) {
        let Some(entry) = self.jobs.get_mut(&job.name) else { return };
        if entry.job.origin == Origin::RunTime {
            entry.is_over |= is_for_good && Arc::ptr_eq(&entry.job, job);
            self.ended.push(Arc::clone(&job.name));
        }
    }

    /// Takes out what was added at run time and has had its last slot: an app that adds a job for
    /// each of its orders never takes them out itself. Their runs stay on record.
    pub(super) fn retire(&mut self, actions: &mut Vec<Action>) {
        for name in std::mem::take(&mut self.ended) {
            let is_over = |entry: &Entry| entry.is_over && entry.next.is_none();
            if self.jobs.get(&name).is_some_and(is_over) && !self.active.contains_key(&name) {
                // What is to be remembered of it must not come after it is forgotten.
                actions.append(&mut self.outbox);
                self.remove(&name);
                actions.push(Action::Retire(name));
            }
        }
    }

    /// Swaps the jobs in (S14). Unchanged ones keep all they have; a run that waits goes on under
    /// the new definition, and is dropped with its reason where the job is gone.
    pub(super) fn reload(
        &mut self,
        now: DateTime<Utc>,
        jobs: Vec<Arc<Job>>,
        actions: &mut Vec<Action>,
    ) {
        let mut diff = Diff::default();
        let mut old: BTreeMap<Arc<str>, Entry> = BTreeMap::new();
        let names: Vec<Arc<str>> = self.jobs.keys().cloned().collect();
        for name in names {
            if let Some(entry) = self.remove(&name) {
                old.insert(name, entry);
            }
        }
        for job in jobs {
            let name = Arc::clone(&job.name);
            let entry = match old.remove(&name) {
                None => {
                    diff.added.push(name);
                    self.begin_with(job, now)
                }
                Some(entry) if *entry.job == *job => {
                    diff.unchanged.push(name);
                    entry
                }
                Some(entry) => {
                    diff.changed.push(name);
                    self.redefine(entry, job, now)
                }
            };
            self.add(entry);
        }
        diff.removed = old.keys().cloned().collect();
        let gone = |run: &Run| diff.removed.contains(&run.job.name);
        self.drop_waiting(now, &SlotEnd::Reload, gone, actions);
        for (name, entry) in old {
            // One that was added at run time is not removed by a reload, but not valid beside it.
            if entry.job.origin == Origin::RunTime {
                self.aside.insert(name, entry.memory());
            } else {
                actions.push(Action::Forget(name));
            }
        }
        actions.push(Action::Reloaded(diff));
    }

    /// No new runs; those that wait are recorded, those that run go on (S15).
    pub(super) fn stop(&mut self, now: DateTime<Utc>, actions: &mut Vec<Action>) {
        self.stopping = true;
        // What was added for one time only must not be lost because the daemon is started anew. A run
        // of the slot that it had before it was rescheduled does not bring the new one back.
        let is_cut_off = |run: &&Run| {
            let is_once = run.job.trigger == Trigger::Date(run.slot) && run.cause == Cause::Slot;
            let is_fresh = run.phase == Phase::Waiting && run.failure.is_none();
            is_once && is_fresh && run.job.origin == Origin::RunTime
        };
        let cut_off: Vec<Arc<Job>> =
            self.runs.values().filter(is_cut_off).map(|run| Arc::clone(&run.job)).collect();
        self.drop_waiting(now, &SlotEnd::Shutdown, |_| true, actions);
        for job in cut_off {
            if let (Trigger::Date(date), Some(entry)) = (&job.trigger, self.jobs.get_mut(&job.name))
                && Arc::ptr_eq(&entry.job, &job)
            {
                entry.hold_back(*date);
                actions.push(entry.to_remember());
            }
        }
        self.timers.clear();
    }

    /// The wall clock stepped by `by` and shows `now`. Waits that are lengths of time keep their
    /// length; slots are instants and keep theirs, except after a correction (S12).
    pub(super) fn step(&mut self, now: DateTime<Utc>, by: TimeDelta) {
        let moved = std::mem::take(&mut self.timers).into_iter().map(|(at, timer)| match timer {
            Timer::Ready(_) => (at.checked_add_signed(by).unwrap_or(at), timer),
            Timer::Slot(_) => (at, timer),
        });
        self.timers = moved.collect();
        // Small steps back add up to a correction, too.
        let is_corrected = |entry: &Entry| by < -CORRECTION || entry.is_ahead_of(now);
        if !self.stopping {
            let corrected = self.jobs.iter().filter(|(_, entry)| is_corrected(entry));
            let names: Vec<Arc<str>> = corrected.map(|(name, _)| Arc::clone(name)).collect();
            for name in names {
                if let Some(entry) = self.remove(&name) {
                    self.add(entry.corrected(now));
                }
            }
        }
    }
}
