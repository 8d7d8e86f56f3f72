//! What people and programs ask of the schedule, and what has to come of it: in the turn in which they ask, and for
//! as long as a job is paused or after it has gone. And when one that was added is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use recountd::agenda::{
    Action, Cause, Command, CommandError, Memory, Order, Record, RunId, SlotEnd,
};
use recountd::config::Origin;
use recountd::schedule::Trigger;

use super::batch::{Batch, State};
use super::ledger::{Ledger, Phase, Run, capped};
use super::lines::Pause;

/// What a turn of the loop has to bring, and what it has brought.
#[derive(Debug, Default)]
pub struct Turn {
    /// The lowest and the highest number that its due slots may have.
    pub numbers: (u64, u64),
    /// The pauses in which slots went by, by job: each has its record once.
    pub passes: BTreeMap<Arc<str>, Pause>,
    /// The jobs that are gone: each is forgotten once.
    pub forgets: BTreeSet<Arc<str>>,
    /// Whether it swaps the jobs of the file in.
    pub reloads: bool,
    asked: Option<Asked>,
    answered: bool,
    /// A run in the way of a trigger, and for how long.
    in_the_way: Option<(Arc<str>, RunId, TimeDelta)>,
    triggered: Option<RunId>,
}

/// A command, with all that has to be known of its answer beforehand.
#[derive(Debug)]
enum Asked {
    /// The answer is this.
    Plain(Result<Option<RunId>, CommandError>),
    /// It depends on what the slots that were due have become.
    Trigger(Arc<str>, bool),
}

impl Ledger {
    /// Somebody gives a command; what was due before has been looked at.
    pub fn ask(&mut self, command: &Command, now: DateTime<Utc>) {
        assert!(self.expected.asked.is_none());
        let name = match command {
            Command::Trigger { job, .. } => job,
            Command::Put(job) => &job.name,
            Command::Pause(name) | Command::Resume(name) | Command::Remove(name) => name,
        };
        let is_late = matches!(command, Command::Trigger { .. } | Command::Put(_));
        if is_late && self.stopping {
            self.expected.asked = Some(Asked::Plain(Err(CommandError::Stopping)));
            return;
        }
        let is_aside = self.lines.aside.contains_key(name);
        let is_known = match command {
            Command::Put(_) => true,
            Command::Remove(_) if is_aside => true,
            _ => self.lines.by_name.contains_key(name),
        };
        if is_aside {
            self.count(match command {
                Command::Put(_) => "put while aside",
                Command::Remove(_) => "removed while aside",
                _ => "refused while aside",
            });
        }
        if !is_known {
            let no_such_job = CommandError::NoSuchJob(Arc::clone(name));
            self.expected.asked = Some(Asked::Plain(Err(no_such_job)));
            return;
        }
        self.expected.asked = Some(Asked::Plain(Ok(None)));
        let lines = &mut self.lines.by_name;
        match command {
            Command::Trigger { job, dry_run } => {
                self.expected.asked = Some(Asked::Trigger(Arc::clone(job), *dry_run));
            }
            Command::Pause(name) => {
                let pause = Pause::new(now.trunc_subsecs(3));
                lines.get_mut(name).unwrap().pause.get_or_insert(pause);
            }
            Command::Resume(name) => lines.get_mut(name).unwrap().pause = None,
            Command::Put(job) => {
                let line = lines.remove(&job.name);
                self.lines.put(job, line, now);
            }
            Command::Remove(name) => {
                assert!(lines.remove(name).is_some() != self.lines.aside.remove(name).is_some());
                self.expected.forgets.insert(Arc::clone(name));
            }
        }
    }

    /// The agenda answers.
    pub fn answered(&mut self, answer: &Result<Option<RunId>, CommandError>, now: DateTime<Utc>) {
        let Some(asked) = self.expected.asked.take() else { panic!("nobody asked: {answer:?}") };
        self.expected.answered = true;
        let (name, dry_run) = match asked {
            Asked::Plain(expected) => {
                self.count(if answer.is_ok() { "done" } else { "refused" });
                return assert_eq!(*answer, expected);
            }
            Asked::Trigger(name, dry_run) => (name, dry_run),
        };
        let job = Arc::clone(&self.lines.by_name[&name].job);
        let (active, most) = (self.active(&name), job.limits.max_instances as usize);
        match answer {
            Ok(Some(run)) => {
                self.count("triggered");
                assert!(active < most, "{name} has {active} of {most} and yet {run} begins (S7)");
                self.last_number += 1;
                assert_eq!(run.0, self.last_number, "the next number");
                // It has no jitter, and it is due as long as it has to wait for a place.
                let (slots, numbers) = (vec![(now.trunc_subsecs(3), State::Open)], (run.0, run.0));
                let cause = Cause::Trigger { dry_run };
                let batch = Batch { job, cause, seen: now, ready_by: now, slots, numbers };
                self.batches.insert(self.next_batch, batch);
                self.next_batch += 1;
                self.expected.triggered = Some(*run);
            }
            Err(CommandError::Active { job, by, age }) => {
                self.count("active");
                assert_eq!(*job, name);
                assert!(active >= most, "refused with {active} of {most} active (S7)");
                let age = TimeDelta::from_std(*age).unwrap();
                self.expected.in_the_way = Some((name, *by, age));
            }
            answer => panic!("no answer to a trigger of {name}: {answer:?}"),
        }
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    /// A run has begun and does not start yet.
    pub fn waits(&mut self, order: &Order, now: DateTime<Utc>) {
        assert!(!self.begun.contains_key(&order.run), "told of twice: {order:?}");
        self.tell(order, now);
    }

    /// A run has begun; it is told of once, in its turn, with a number that no other has had.
    pub fn tell(&mut self, order: &Order, now: DateTime<Utc>) {
        if self.begun.contains_key(&order.run) {
            return;
        }
        let line = self.lines.by_name.get(&order.job.name);
        assert!(line.is_some(), "its job is gone: {order:?}");
        assert!(!self.numbers.contains(&order.run.0), "it has ended: {order:?}");
        let of_slots = self.expected.numbers.0..=self.expected.numbers.1;
        match order.cause {
            Cause::Slot => assert!(of_slots.contains(&order.run.0), "not of this turn: {order:?}"),
            Cause::Trigger { .. } => assert_eq!(self.expected.triggered, Some(order.run)),
        }
        self.last_told = self.last_told.max(order.run.0);
        self.begun.insert(order.run, (Arc::clone(&order.job.name), now));
    }

    /// The one record of a pause grows by the slots of this turn (S13).
    pub fn pass_over(&mut self, record: &Record, since: DateTime<Utc>) {
        let name = &record.job.name;
        let pause = self.expected.passes.remove(name);
        let Some(pause) = pause else { panic!("it is not paused, or told twice: {record:?}") };
        assert_eq!((since, Some(record.slot)), (pause.since, pause.latest), "{record:?}");
        assert_eq!(record.stands_for, capped(pause.passed), "{pause:?}, {record:?}");
        assert_eq!(record.cause, Cause::Slot);
        assert_eq!((record.started, record.took), (None, None), "{record:?}");
        if let Some(number) = pause.number {
            assert_eq!(record.run.0, number, "one record for all of its slots");
            return;
        }
        let numbers = self.expected.numbers.0..=self.expected.numbers.1;
        assert!(numbers.contains(&record.run.0) && self.numbers.insert(record.run.0), "{record:?}");
        // The command of this turn may have ended the pause, or the job.
        let line = self.lines.by_name.get_mut(name);
        if let Some(pause) = line.and_then(|line| line.pause.as_mut()) {
            pause.number = Some(record.run.0);
        }
    }

    /// What has to hold for an action by its place among the others.
    pub fn follows(&mut self, action: &Action) {
        let may_follow = match action {
            Action::Start(_) | Action::Waits(_) | Action::Retire(_) => true,
            Action::Record(_) | Action::WillRetry { .. } | Action::Remember { .. } => false,
            Action::Reloaded(_) | Action::Answer(_) | Action::Forget(_) => false,
        };
        assert!(may_follow || !self.expected.answered, "the answer has been given: {action:?}");
    }

    /// What was remembered of a job may go: it has left the schedule in this turn.
    pub fn forgotten(&mut self, name: &Arc<str>) {
        assert!(self.expected.forgets.remove(name), "{name} is there, or was forgotten before");
    }

    /// A job that was added is over, and nobody has to look at it: its definition goes, too.
    pub fn retired(&mut self, name: &Arc<str>) {
        let line = self.lines.by_name.remove(name);
        let Some(line) = line else { panic!("{name} is not there") };
        assert_eq!(line.job.origin, Origin::RunTime);
        assert_eq!(line.next(), None, "{name} has slots left");
        assert_eq!(self.active(name), 0, "{name} has runs left");
        let Some(why) = line.over else { panic!("its last slot was never dealt with: {line:?}") };
        self.count(why);
    }

    /// A run has done its part: nobody has to look at what was added, if this was its run as it is defined now. One that
    /// was to be tried again always is.
    pub(super) fn note_run(&mut self, of: &Run, end: &SlotEnd) {
        let Some(line) = self.lines.by_name.get_mut(&of.order.job.name) else { return };
        let is_own = line.generation == of.generation || matches!(of.phase, Phase::BackingOff(_));
        if is_own && line.job.origin == Origin::RunTime {
            line.over = Some(match (end, of.order.cause) {
                (SlotEnd::Expired { .. }, _) => "expired",
                (_, Cause::Trigger { .. }) => "ran by hand",
                (_, Cause::Slot) => "ran",
            });
        }
    }

    /// A date that was added and did not run because the daemon ends is due again at its next start (S15).
    pub(super) fn hold_back(&mut self, record: &Record) {
        let line = self.lines.by_name.get_mut(&record.job.name);
        let Some(line) = line.filter(|line| line.job.origin == Origin::RunTime) else { return };
        if line.job.trigger == Trigger::Date(record.slot) && record.cause == Cause::Slot {
            line.done = line.done.min(record.slot - TimeDelta::milliseconds(1));
            line.held = true;
            self.count("held back");
        }
    }

    /// All that the turn had to bring has come.
    pub fn end_turn(&mut self, now: DateTime<Utc>, memory: &Memory) {
        let turn = std::mem::take(&mut self.expected);
        assert!(turn.asked.is_none(), "never answered: {turn:?}");
        assert!(turn.passes.is_empty(), "nothing tells of these slots (S13): {turn:?}");
        assert!(turn.forgets.is_empty(), "not forgotten: {turn:?}");
        if let Some((name, by, age)) = turn.in_the_way {
            let oldest = self.begun.iter().find(|(_, (job, _))| *job == name);
            let Some((oldest, (_, begun))) = oldest else { panic!("{name} has no active run") };
            assert_eq!((by, age), (*oldest, (now - *begun).max(TimeDelta::zero())));
        }
        let in_pool = self.runs.values().filter(|run| run.phase == Phase::InPool).count();
        if let Some(run) = turn.triggered {
            assert!(self.begun.contains_key(&run), "{run} was promised and never told of");
            let started = self.runs.contains_key(&run);
            assert!(started || in_pool == self.places, "there is a place for {run} (S8)");
        }
        for line in self.lines.by_name.values() {
            let is_over = line.job.origin == Origin::RunTime
                && line.over.is_some()
                && line.next().is_none()
                && self.active(&line.job.name) == 0;
            assert!(!is_over, "it has to be retired: {line:?}");
        }
        // Nothing waits for a job that is gone.
        let is_there = |name: &Arc<str>| self.lines.by_name.contains_key(name);
        for batch in self.batches.values().filter(|batch| !is_there(&batch.job.name)) {
            assert!(batch.slots.iter().all(|(_, state)| *state != State::Open), "{batch:?}");
        }
        for run in self.runs.values().filter(|run| !is_there(&run.order.job.name)) {
            assert_eq!(run.phase, Phase::InPool, "{run:?}");
        }
        self.check_memory(memory);
    }

    /// What a restart would go on from.
    fn check_memory(&self, memory: &Memory) {
        let known = memory
            .jobs
            .iter()
            .map(|(name, known)| (name, (known.done, known.paused, known.trigger.to_string())));
        let lines = self.lines.by_name.iter().chain(&self.lines.aside);
        let lines = lines.map(|(name, line)| {
            let paused = line.pause.map(|pause| pause.since);
            (name, (line.done, paused, line.job.trigger.identity()))
        });
        let (known, lines): (BTreeMap<_, _>, BTreeMap<_, _>) = (known.collect(), lines.collect());
        assert_eq!(known, lines, "what is remembered, and what should be");
    }
}
