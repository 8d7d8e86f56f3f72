//! The whole scheduling brain as a pure state machine: an event at an instant goes in, actions come
//! out (S6 to S9, S11 to S15). It has no clock, no thread, no store and no log.

mod entry;
mod event;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::Job;
use entry::{CORRECTION, Due, Entry};
pub use event::{Action, Diff, Ended, Event, Memory, Order, Record, Remembered, RunId, SlotEnd};

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
        Order { run, job: Arc::clone(&self.job), slot: self.slot, attempt: self.attempt }
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
            stopping: false,
            random: fastrand::Rng::with_seed(seed),
        };
        for job in jobs {
            let known = memory.jobs.get(&job.name);
            agenda.add(Entry::resume(job, known, now));
        }
        let gone = memory.jobs.keys().filter(|name| !agenda.jobs.contains_key(*name)).cloned();
        let gone: Vec<Action> = gone.map(Action::Forget).collect();
        agenda.outbox.extend(gone);
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
        }
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
        self.outbox.push(Action::Remember { job: Arc::clone(&name), memory: entry.memory() });
        self.jobs.insert(name, entry);
    }

    fn remove(&mut self, name: &Arc<str>) -> Option<Entry> {
        let entry = self.jobs.remove(name)?;
        if let Some(next) = entry.next {
            self.timers.remove(&(next, Timer::Slot(Arc::clone(name))));
        }
        Some(entry)
    }

    fn due(&mut self, now: DateTime<Utc>, actions: &mut Vec<Action>) {
        while let Some((at, _)) = self.timers.first()
            && *at <= now
            && let Some((_, timer)) = self.timers.pop_first()
        {
            match timer {
                Timer::Ready(run) => self.queue.push_back(run),
                Timer::Slot(name) => {
                    let Some(entry) = self.jobs.get_mut(&name) else { continue };
                    let due = entry.take_due(now);
                    let job = Arc::clone(&entry.job);
                    let memory = entry.memory();
                    actions.push(Action::Remember { job: Arc::clone(&name), memory });
                    if let Some(next) = entry.next {
                        self.timers.insert((next, Timer::Slot(name)));
                    }
                    for slot in due {
                        self.begin(now, &job, slot, actions);
                    }
                }
            }
        }
    }

    /// Begins a run for a due slot, or records why not (S6, S7).
    fn begin(&mut self, now: DateTime<Utc>, job: &Arc<Job>, due: Due, actions: &mut Vec<Action>) {
        self.last_run += 1;
        let run = RunId(self.last_run);
        let record = |slot, stands_for, end| {
            let (job, started, took) = (Arc::clone(job), None, None);
            Action::Record(Record { job, slot, run, started, took, stands_for, end })
        };
        let (slot, stands_for) = match due {
            Due::Run { slot, stands_for } => (slot, stands_for),
            Due::Missed { slot, stands_for } => {
                let late = (now - slot).to_std().unwrap_or_default();
                actions.push(record(slot, stands_for, SlotEnd::Missed { late }));
                return;
            }
            Due::OverLimit { slot, stands_for } => {
                actions.push(record(slot, stands_for, SlotEnd::OverLimit));
                return;
            }
        };
        let active = self.active.entry(Arc::clone(&job.name)).or_default();
        if active.len() >= job.limits.max_instances as usize
            && let Some(by) = active.first().copied()
        {
            let begun = self.runs.get(&by).map_or(now, |run| run.begun);
            let age = (now - begun).to_std().unwrap_or_default();
            actions.push(record(slot, stands_for, SlotEnd::Skipped { by, age }));
            return;
        }
        active.insert(run);
        let job = Arc::clone(job);
        let jitter = self.part_of(job.limits.jitter);
        self.runs.insert(
            run,
            Run {
                job,
                slot,
                stands_for,
                begun: now,
                attempt: 1,
                phase: Phase::Waiting,
                started: None,
                failure: None,
            },
        );
        if jitter.is_zero() {
            self.queue.push_back(run);
        } else {
            self.timers.insert((now + jitter, Timer::Ready(run)));
        }
    }

    /// Gives the pool as many runs as it has places for.
    fn dispatch(&mut self, now: DateTime<Utc>, actions: &mut Vec<Action>) {
        while self.places > 0
            && let Some(id) = self.queue.pop_front()
        {
            let Some(run) = self.runs.get_mut(&id) else { continue };
            run.phase = Phase::Started;
            run.started.get_or_insert(now);
            self.places -= 1;
            actions.push(Action::Start(run.order(id)));
        }
    }

    fn finished(&mut self, now: DateTime<Utc>, id: RunId, ended: Ended, actions: &mut Vec<Action>) {
        let started = |run: &&mut Run| run.phase == Phase::Started;
        let Some(run) = self.runs.get_mut(&id).filter(started) else { return };
        self.places += 1;
        let unchanged = self.jobs.get(&run.job.name).is_some_and(|e| Arc::ptr_eq(&e.job, &run.job));
        let limits = &run.job.limits;
        let end = match ended {
            Ended::Done { retry: true, .. }
                if unchanged && !self.stopping && run.attempt <= limits.retries =>
            {
                // Half of the backoff is random, so that what failed together is not tried together.
                let backoff = backoff(limits.backoff, limits.max_backoff, run.attempt);
                let Ended::Done { outcome, reason, report, .. } = ended else { return };
                let attempts = run.attempt;
                let failure = SlotEnd::Ran { outcome, attempts, reason: reason.clone(), report };
                run.failure = Some(Box::new(failure));
                run.attempt += 1;
                run.phase = Phase::Waiting;
                let wait = backoff / 2 + self.part_of(backoff / 2);
                self.timers.insert((now + wait, Timer::Ready(id)));
                actions.push(Action::WillRetry { run: id, wait, reason });
                return;
            }
            Ended::Done { outcome, reason, report, .. } => {
                SlotEnd::Ran { outcome, attempts: run.attempt, reason, report }
            }
            // A retry that came to nothing leaves what the attempt before it found.
            ended => match (run.failure.take(), ended) {
                (Some(failure), _) => *failure,
                (None, Ended::Expired { waited }) => SlotEnd::Expired { waited },
                (None, _) => SlotEnd::Shutdown,
            },
        };
        self.record(now, id, end, actions);
    }

    /// Ends a run with its record.
    fn record(&mut self, now: DateTime<Utc>, id: RunId, end: SlotEnd, actions: &mut Vec<Action>) {
        if let Some(Run { job, slot, stands_for, started, .. }) = self.runs.remove(&id) {
            if let Some(active) = self.active.get_mut(&job.name) {
                active.remove(&id);
                if active.is_empty() {
                    self.active.remove(&job.name);
                }
            }
            let (started, took) = span(&end, started, now);
            let run = id;
            actions.push(Action::Record(Record { job, slot, run, started, took, stands_for, end }));
        }
    }

    /// Ends every run that has not started.
    fn drop_waiting(
        &mut self,
        now: DateTime<Utc>,
        end: &SlotEnd,
        which: impl Fn(&Run) -> bool,
        actions: &mut Vec<Action>,
    ) {
        let waiting = self.runs.iter().filter(|(_, r)| r.phase == Phase::Waiting && which(r));
        let ids: Vec<RunId> = waiting.map(|(id, _)| *id).collect();
        self.queue.retain(|id| !ids.contains(id));
        self.timers.retain(|(_, timer)| !matches!(timer, Timer::Ready(id) if ids.contains(id)));
        for id in ids {
            // A run that waited for its retry did run: its failure is what became of the slot.
            let failure = self.runs.get_mut(&id).and_then(|run| run.failure.take());
            let end = failure.map_or_else(|| end.clone(), |failure| *failure);
            self.record(now, id, end, actions);
        }
    }

    /// Swaps the jobs in (S14). Unchanged ones keep all they have; a run that waits goes on under
    /// the new definition, and is dropped with its reason where the job is gone.
    fn reload(&mut self, now: DateTime<Utc>, jobs: Vec<Arc<Job>>, actions: &mut Vec<Action>) {
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
                    Entry::new(job, now)
                }
                Some(entry) if *entry.job == *job => {
                    diff.unchanged.push(name);
                    entry
                }
                Some(entry) => {
                    for run in self.runs.values_mut() {
                        if run.job.name == name && run.phase == Phase::Waiting {
                            run.job = Arc::clone(&job);
                        }
                    }
                    diff.changed.push(name);
                    entry.changed_to(job, now)
                }
            };
            self.add(entry);
        }
        diff.removed = old.into_keys().collect();
        let gone = |run: &Run| diff.removed.contains(&run.job.name);
        self.drop_waiting(now, &SlotEnd::Reload, gone, actions);
        actions.extend(diff.removed.iter().cloned().map(Action::Forget));
        actions.push(Action::Reloaded(diff));
    }

    /// No new runs; those that wait are recorded, those that run go on (S15).
    fn stop(&mut self, now: DateTime<Utc>, actions: &mut Vec<Action>) {
        self.stopping = true;
        self.drop_waiting(now, &SlotEnd::Shutdown, |_| true, actions);
        self.timers.clear();
    }

    /// The wall clock stepped by `by` and shows `now`. Waits that are lengths of time keep their
    /// length; slots are instants and keep theirs, except after a correction (S12).
    fn step(&mut self, now: DateTime<Utc>, by: TimeDelta) {
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

    fn part_of(&mut self, time: Duration) -> Duration {
        if time.is_zero() { time } else { time.mul_f64(self.random.f64()) }
    }
}

/// When a run started and how long it took, if it ran at all. One attempt knows it best itself; over
/// several only the wall clock does.
fn span(
    end: &SlotEnd,
    started: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> (Option<DateTime<Utc>>, Option<Duration>) {
    match end {
        SlotEnd::Ran { attempts: 1, report: Some(report), .. } => {
            (Some(report.started_at.to_utc()), Some(Duration::from_millis(report.duration_ms)))
        }
        SlotEnd::Ran { .. } => {
            (started, started.map(|started| (now - started).to_std().unwrap_or_default()))
        }
        _ => (None, None),
    }
}

/// The wait before retry number `attempt`, from 1: it doubles, up to the most.
fn backoff(first: Duration, most: Duration, attempt: u32) -> Duration {
    let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(most)
}
