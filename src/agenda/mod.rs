//! The whole scheduling brain as a pure state machine: an event at an instant goes in, actions come
//! out (S6 to S9, S11 to S15). It has no clock, no thread, no store and no log.

mod change;
mod entry;
mod event;
mod runs;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::config::Job;
use entry::Entry;
pub use event::{
    Action, Cause, Command, CommandError, Diff, Ended, Event, Memory, Order, Record, Remembered,
    RunId, SlotEnd,
};

/// Everything that the scheduler knows. Its owner needs no lock.
#[derive(Debug)]
pub struct Agenda {
    jobs: BTreeMap<Arc<str>, Entry>,
    runs: BTreeMap<RunId, Run>,
    /// The runs of each job that has any, the oldest first (S7).
    active: BTreeMap<Arc<str>, BTreeSet<RunId>>,
    timers: BTreeSet<(DateTime<Utc>, Timer)>,
    /// Runs that are ready and wait for a place in the pool, the oldest first. It is bounded by
    /// the sum of all `max_instances`.
    queue: VecDeque<RunId>,
    /// Places that are left in the pool, its queue included (S8).
    places: usize,
    last_run: u64,
    /// The last run that whoever performs the actions has been told of.
    begun: u64,
    /// What has to be done before anything that the next event brings.
    outbox: Vec<Action>,
    /// Jobs that were added at run time and may have had their last slot.
    ended: Vec<Arc<str>>,
    /// What is to be remembered of jobs that were added at run time and are not valid now: they may
    /// come back.
    aside: BTreeMap<Arc<str>, Remembered>,
    stopping: bool,
    random: fastrand::Rng,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The next slot of a job.
    Slot(Arc<str>),
    /// A run whose jitter or backoff is over.
    Ready(RunId),
}

/// A run that has not ended.
#[derive(Debug)]
struct Run {
    job: Arc<Job>,
    slot: DateTime<Utc>,
    cause: Cause,
    stands_for: u32,
    begun: DateTime<Utc>,
    attempt: u32,
    phase: Phase,
    /// When its first attempt was given to the pool.
    started: Option<DateTime<Utc>>,
    /// How the attempt before this one failed.
    failure: Option<Box<SlotEnd>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waits for its jitter, its backoff, or a place in the pool.
    Waiting,
    /// Is with the pool.
    Started,
}

impl Run {
    fn order(&self, run: RunId) -> Order {
        let (job, slot) = (Arc::clone(&self.job), self.slot);
        Order { run, job, slot, attempt: self.attempt, cause: self.cause }
    }
}

impl Agenda {
    /// An agenda that goes on from where `memory` ends, and begins with `now` for jobs that are new.
    /// The pool takes `places` runs at once, those in its queue included; `seed` feeds the jitter.
    #[must_use]
    pub fn new(
        jobs: Vec<Arc<Job>>,
        memory: &Memory,
        places: usize,
        now: DateTime<Utc>,
        seed: u64,
    ) -> Self {
        let mut agenda = Self {
            jobs: BTreeMap::new(),
            runs: BTreeMap::new(),
            active: BTreeMap::new(),
            timers: BTreeSet::new(),
            queue: VecDeque::new(),
            places,
            last_run: memory.last_run,
            begun: memory.last_run,
            outbox: Vec::new(),
            ended: Vec::new(),
            aside: BTreeMap::new(),
            stopping: false,
            random: fastrand::Rng::with_seed(seed),
        };
        for job in jobs {
            let known = memory.jobs.get(&job.name);
            agenda.add(Entry::resume(job, known, now));
        }
        for (name, known) in &memory.jobs {
            if agenda.jobs.contains_key(name) {
                continue;
            }
            if memory.added.contains(name) {
                agenda.aside.insert(Arc::clone(name), known.clone());
            } else {
                agenda.outbox.push(Action::Forget(Arc::clone(name)));
            }
        }
        agenda
    }

    /// When the next timer is due; `None` while there is none.
    #[must_use]
    pub fn next_wake(&self) -> Option<DateTime<Utc>> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The next slot of each job that has one.
    pub fn next_slots(&self) -> impl Iterator<Item = (&Arc<Job>, DateTime<Utc>)> {
        self.jobs.values().filter_map(|entry| Some((&entry.job, entry.next?)))
    }

    /// Whether a job is paused.
    #[must_use]
    pub fn is_paused(&self, name: &str) -> bool {
        self.jobs.get(name).is_some_and(|entry| entry.pause.is_some())
    }

    /// Whether no run is with the pool.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.runs.values().all(|run| run.phase == Phase::Waiting)
    }

    /// The runs that are with the pool, with the name of their job.
    pub fn started(&self) -> impl Iterator<Item = (RunId, &Arc<str>)> {
        let started = self.runs.iter().filter(|(_, run)| run.phase == Phase::Started);
        started.map(|(id, run)| (*id, &run.job.name))
    }

    /// Takes an event that happened at `now`; gives what has to be done, in this order.
    pub fn handle(&mut self, now: DateTime<Utc>, event: Event) -> Vec<Action> {
        let mut actions = std::mem::take(&mut self.outbox);
        match event {
            Event::Due => self.due(now, &mut actions),
            Event::Finished { run, ended } => self.finished(now, run, ended, &mut actions),
            // What was due before still is: it is dealt with under the definition that it had.
            Event::Reloaded(jobs) => {
                self.due(now, &mut actions);
                self.reload(now, jobs, &mut actions);
            }
            Event::Stopping => {
                self.due(now, &mut actions);
                self.stop(now, &mut actions);
            }
            Event::ClockStepped(by) => self.step(now, by),
            // A slot that was due before the command is dealt with as it was before it.
            Event::Commanded(command) => {
                self.due(now, &mut actions);
                let answer = self.command(now, command, &mut actions);
                actions.append(&mut self.outbox);
                actions.push(Action::Answer(answer));
            }
        }
        self.retire(&mut actions);
        actions.append(&mut self.outbox);
        let begun_before = self.begun;
        self.begun = self.last_run;
        self.dispatch(now, &mut actions);
        let new = self.runs.range(RunId(begun_before + 1)..);
        let waiting = new.filter(|(_, run)| run.phase == Phase::Waiting);
        actions.extend(waiting.map(|(id, run)| Action::Waits(run.order(*id))));
        actions
    }

    fn add(&mut self, entry: Entry) {
        let name = Arc::clone(&entry.job.name);
        if let Some(next) = entry.next {
            self.timers.insert((next, Timer::Slot(Arc::clone(&name))));
        }
        self.outbox.push(entry.to_remember());
        self.jobs.insert(Arc::clone(&name), entry);
    }

    fn remove(&mut self, name: &Arc<str>) -> Option<Entry> {
        let entry = self.jobs.remove(name)?;
        if let Some(next) = entry.next {
            self.timers.remove(&(next, Timer::Slot(Arc::clone(name))));
        }
        Some(entry)
    }
}
