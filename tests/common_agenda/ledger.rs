//! A second book-keeping of the schedule, as plain as can be: it steps through every slot with `Trigger::next_after`
//! alone, and holds each action of the agenda against what the rules allow. It panics where they differ.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use recountd::agenda::{Agenda, Cause, Ended, Order, Record, RunId, SlotEnd};
use recountd::config::{Job, Origin};
use recountd::report::Outcome;

use super::asks::Turn;
use super::batch::{Batch, CATCH_UP, State, is_in_grace};
use super::lines::{CORRECTION, Lines};

/// A run whose first attempt was given to the pool.
#[derive(Debug)]
pub(super) struct Run {
    /// Its batch, and its slots in there.
    batch: u64,
    slots: (usize, usize),
    started: DateTime<Utc>,
    pub(super) order: Order,
    pub(super) generation: u64,
    /// How the latest attempt that ran ended, and which it was.
    ran: Option<(Outcome, u32)>,
    pub(super) phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Phase {
    InPool,
    /// The agenda has to say in the same turn whether it is tried again.
    Answered {
        retry: bool,
    },
    /// Until then, or no more.
    BackingOff(Option<DateTime<Utc>>),
}

/// All that is known, over every restart.
#[derive(Debug, Default)]
pub struct Ledger {
    pub lines: Lines,
    pub(super) batches: BTreeMap<u64, Batch>,
    /// The first batch of the turn that is being looked at, and what that turn has to bring.
    pub(super) turn: u64,
    pub(super) expected: Turn,
    pub(super) next_batch: u64,
    pub(super) runs: BTreeMap<RunId, Run>,
    /// The active runs that were told of, with their job and when they were begun.
    pub(super) begun: BTreeMap<RunId, (Arc<str>, DateTime<Utc>)>,
    /// Every number that a run ever had, the highest that was told of, and the highest that the agenda has given.
    pub(super) numbers: BTreeSet<u64>,
    pub(super) last_told: u64,
    pub(super) last_number: u64,
    pub(super) places: usize,
    pub stopping: bool,
    /// How much was checked, so that a test which checks nothing is found out.
    pub slots: usize,
    pub started: usize,
    pub records: BTreeMap<&'static str, usize>,
    pub happened: BTreeMap<&'static str, usize>,
}

impl Ledger {
    /// Nothing has happened yet, and the pool takes so many runs at once.
    pub fn new(places: usize) -> Self {
        Self { places, ..Self::default() }
    }

    /// The agenda began anew from its memory; the runs that were in flight are lost.
    pub fn restart(&mut self, jobs: &[Arc<Job>], added: &BTreeSet<Arc<str>>, now: DateTime<Utc>) {
        self.batches.clear();
        self.runs.clear();
        self.begun.clear();
        self.stopping = false;
        self.last_number = self.last_run();
        self.expected.forgets.extend(self.lines.restart(jobs, added, now));
    }

    /// A reload swaps the jobs in (S14).
    pub fn reload(&mut self, jobs: &[Arc<Job>], now: DateTime<Utc>) {
        self.expected.reloads = true;
        self.expected.forgets.extend(self.lines.reload(jobs, now));
    }

    /// The wall clock stepped by `by` and shows `now` (S12).
    pub fn step(&mut self, by: TimeDelta, now: DateTime<Utc>) {
        for batch in self.batches.values_mut() {
            batch.ready_by += by;
        }
        for run in self.runs.values_mut() {
            if let Phase::BackingOff(Some(until)) = &mut run.phase {
                *until += by;
            }
        }
        // Small steps back add up to a correction, too.
        if !self.stopping {
            self.lines.correct(now, |line| by < -CORRECTION || line.done > now + CORRECTION);
        }
    }

    /// A turn of the loop looks at what is due: every slot since the last one, one by one.
    pub fn look(&mut self, now: DateTime<Utc>) {
        self.turn = self.next_batch;
        if self.stopping {
            return;
        }
        let before = self.last_number;
        for line in self.lines.by_name.values_mut() {
            let mut slots = Vec::new();
            while let Some(slot) = line.next().filter(|slot| *slot <= now) {
                assert!(slot > line.done, "next is strictly after (S4)");
                slots.push((slot, State::Open));
                line.done = slot;
            }
            self.slots += slots.len();
            let Some((latest, _)) = slots.last() else { continue };
            // What ran before a slot does not stand in for it.
            let is_missed = line.pause.is_none() && !is_in_grace(&line.job, now - *latest);
            line.over = (is_missed && line.job.origin == Origin::RunTime).then_some("missed");
            if std::mem::take(&mut line.held) {
                let how = if is_missed { "again: missed" } else { "again: in grace" };
                *self.happened.entry(how).or_default() += 1;
            }
            if let Some(pause) = &mut line.pause {
                pause.passed += slots.len();
                pause.latest = Some(*latest);
                self.last_number += u64::from(pause.number.is_none());
                self.expected.passes.insert(Arc::clone(&line.job.name), *pause);
            } else {
                let (job, ready_by) = (Arc::clone(&line.job), now + line.job.limits.jitter);
                let (cause, seen, numbers) = (Cause::Slot, now, (0, 0));
                let batch = Batch { job, cause, seen, ready_by, slots, numbers };
                self.last_number += batch.numbered() as u64;
                self.batches.insert(self.next_batch, batch);
                self.next_batch += 1;
            }
        }
        for batch in self.batches.range_mut(self.turn..).map(|(_, batch)| batch) {
            batch.numbers = (before + 1, self.last_number);
        }
        self.expected.numbers = (before + 1, self.last_number);
        for run in self.runs.values_mut() {
            // It may wait for a place from here on, and the clock creep back meanwhile.
            if matches!(run.phase, Phase::BackingOff(Some(until)) if until <= now) {
                run.phase = Phase::BackingOff(None);
            }
        }
    }

    /// The highest number that a run has had.
    pub fn last_run(&self) -> u64 {
        self.numbers.last().copied().unwrap_or_default().max(self.last_told)
    }

    /// How many runs of a job are active, as far as the actions have said.
    pub(super) fn active(&self, name: &str) -> usize {
        let batches = self.batches.values().filter(|batch| &*batch.job.name == name);
        let runs = batches.map(|batch| {
            let open = batch.slots.iter().filter(|(_, state)| *state != State::Ended).count();
            if batch.job.limits.coalesce { open.min(1) } else { open }
        });
        runs.sum()
    }

    pub fn start(&mut self, order: &Order, now: DateTime<Utc>) {
        assert!(
            !self.stopping,
            "nothing starts after the daemon was told to stop (S15): {order:?}"
        );
        let line = &self.lines.by_name[&order.job.name];
        assert_eq!(line.job, order.job, "what starts has the definition of now (S14)");
        let generation = line.generation;
        if let Some(run) = self.runs.get_mut(&order.run) {
            let Phase::BackingOff(until) = run.phase else { panic!("started twice: {order:?}") };
            assert_eq!(until, None, "a retry came before its backoff was over (S9): {order:?}");
            let (attempt, before) = (run.order.attempt + 1, &run.order);
            assert_eq!((order.slot, order.attempt), (before.slot, attempt));
            assert_eq!(order.cause, before.cause, "{order:?}");
            run.order = order.clone();
            run.generation = generation;
            run.phase = Phase::InPool;
        } else {
            self.tell(order, now);
            let of = (order.run, &*order.job.name, order.slot, order.cause);
            let (number, slots) = self.take(of, None, State::Started);
            let batch = &self.batches[&number];
            assert_eq!(order.attempt, 1, "{order:?}");
            let late = batch.seen - order.slot;
            assert!(
                is_in_grace(&batch.job, late),
                "seen {late} late and yet it runs (S6): {order:?}"
            );
            self.started += 1;
            let (order, phase) = (order.clone(), Phase::InPool);
            let run =
                Run { batch: number, slots, started: now, order, generation, ran: None, phase };
            self.runs.insert(run.order.run, run);
        }
        let with_pool = self.runs.values().filter(|run| run.phase == Phase::InPool).count();
        assert!(with_pool <= self.places, "more runs than the pool has places (S8)");
    }

    /// Finds the one slot that an action is about, with those that it stands for, and marks them. Run numbers are
    /// unique and rise from turn to turn, over restarts as well.
    #[track_caller]
    fn take(
        &mut self,
        (run, name, slot, cause): (RunId, &str, DateTime<Utc>, Cause),
        stands_for: Option<u32>,
        state: State,
    ) -> (u64, (usize, usize)) {
        assert!(self.numbers.insert(run.0), "run {run} has its number from another");
        let found = self.batches.iter_mut().find_map(|(number, batch)| {
            let last = batch.slots.iter().position(|s| *s == (slot, State::Open))?;
            let fits = batch.numbers.0 <= run.0 && run.0 <= batch.numbers.1;
            (fits && batch.cause == cause && &*batch.job.name == name)
                .then_some((*number, batch, last))
        });
        let Some((number, batch, last)) = found else {
            panic!("{name} {slot}, run {run}: was not due, or was dealt with before")
        };
        let (job, coalesce) = (&batch.job, batch.job.limits.coalesce);
        let open = batch.slots[..=last].iter().rev().take_while(|s| s.1 == State::Open).count();
        let covered = match stands_for {
            // Up to 1000 they are counted, and beyond that called so many. Those that are over the limit come after
            // the hundred that run.
            Some(Record::MOST) if is_in_grace(job, batch.seen - slot) && !coalesce => {
                batch.in_grace().saturating_sub(CATCH_UP)
            }
            Some(Record::MOST) => open,
            Some(slots) => slots as usize,
            None if coalesce => open,
            None => 1,
        };
        assert!((1..=open).contains(&covered), "{name} {slot}: stands for {covered}");
        assert!(stands_for != Some(Record::MOST) || covered >= Record::MOST as usize);
        let first = last + 1 - covered;
        batch.slots[first..=last].iter_mut().for_each(|slot| slot.1 = state);
        if coalesce {
            assert_eq!((first, last), (0, batch.slots.len() - 1), "all become one (S6): {batch:?}");
        }
        (number, (first, last))
    }

    /// The pool answered for a run.
    pub fn answer(&mut self, run: RunId, ended: &Ended) {
        let Some(run) = self.runs.get_mut(&run) else { panic!("run {run} is not known") };
        assert_eq!(run.phase, Phase::InPool);
        let mut retry = false;
        if let Ended::Done { outcome, retry: worth_it, .. } = ended {
            run.ran = Some((*outcome, run.order.attempt));
            let line = self.lines.by_name.get(&run.order.job.name);
            let unchanged = line.is_some_and(|line| line.generation == run.generation);
            let left = run.order.attempt <= run.order.job.limits.retries;
            retry = *worth_it && left && unchanged && !self.stopping;
        }
        run.phase = Phase::Answered { retry };
    }

    pub fn will_retry(&mut self, run: RunId, wait: TimeDelta, now: DateTime<Utc>) {
        let Some(run) = self.runs.get_mut(&run) else { panic!("run {run} is not known") };
        assert_eq!(run.phase, Phase::Answered { retry: true }, "tried again (S9): {run:?}");
        let limits = &run.order.job.limits;
        let doubled = limits.backoff * 2_u32.pow(run.order.attempt - 1);
        let backoff = TimeDelta::from_std(doubled.min(limits.max_backoff)).unwrap();
        assert!(backoff / 2 <= wait && wait <= backoff, "{wait} of {backoff} (S9)");
        run.phase = Phase::BackingOff(Some(now + wait));
    }

    pub fn record(&mut self, record: &Record) {
        *self.records.entry(record.end.word()).or_default() += 1;
        if let SlotEnd::Paused { since } = record.end {
            return self.pass_over(record, since);
        }
        self.begun.remove(&record.run);
        let Record { job, slot, run, stands_for, end, .. } = record;
        let Some(of) = self.runs.remove(run) else {
            assert_eq!((record.started, record.took), (None, None), "{record:?}");
            return self.record_unstarted(record);
        };
        let (first, last) = of.slots;
        let ordered = (&of.order.job.name, of.order.slot, of.order.cause);
        assert_eq!(ordered, (&job.name, *slot, record.cause), "{record:?}");
        assert_eq!(capped(last + 1 - first), *stands_for, "{record:?}");
        // Nothing but a reload or the end interrupts a backoff; what is tried again has not ended.
        let gone = !self.lines.by_name.contains_key(&job.name);
        match of.phase {
            Phase::Answered { retry } => assert!(!retry, "S9: {record:?}"),
            Phase::BackingOff(_) => assert!(gone || self.stopping, "{record:?}"),
            Phase::InPool => panic!("it still runs: {record:?}"),
        }
        match (end, of.ran) {
            (SlotEnd::Ran { outcome, attempts, .. }, Some(ran)) => {
                assert_eq!((*outcome, *attempts), ran, "{record:?}");
                assert_eq!(record.started, Some(of.started), "{record:?}");
            }
            (SlotEnd::Expired { .. } | SlotEnd::Shutdown, None) => {}
            (_, ran) => panic!("its last attempt that ran was {ran:?}, but {record:?}"),
        }
        if matches!(end, SlotEnd::Ran { .. } | SlotEnd::Expired { .. }) {
            self.note_run(&of, end);
        }
        self.close(of.batch, of.slots);
    }

    /// A slot that did not run has a reason, and the right one (S13).
    fn record_unstarted(&mut self, record: &Record) {
        let Record { job, slot, run, stands_for, end, .. } = record;
        let at_once = match end {
            SlotEnd::Missed { .. } | SlotEnd::Skipped { .. } | SlotEnd::OverLimit => true,
            SlotEnd::Reload | SlotEnd::Removed | SlotEnd::Shutdown => false,
            SlotEnd::Paused { .. } | SlotEnd::Ran { .. } | SlotEnd::Expired { .. } => {
                panic!("never started: {record:?}")
            }
        };
        assert!(!at_once || record.cause == Cause::Slot, "nobody waits for it: {record:?}");
        let told = at_once.then_some(*stands_for);
        let active = self.active(&job.name);
        let (number, (first, last)) =
            self.take((*run, &*job.name, *slot, record.cause), told, State::Ended);
        assert_eq!(capped(last + 1 - first), *stands_for, "{record:?}");
        assert!(!at_once || number >= self.turn, "told of too late: {record:?}");
        let batch = &self.batches[&number];
        let (job, late) = (&batch.job, batch.seen - *slot);
        let in_grace = batch.in_grace();
        match end {
            SlotEnd::Missed { late: told } => {
                assert!(!is_in_grace(job, late), "it was within its grace (S6): {record:?}");
                assert_eq!(TimeDelta::from_std(*told).unwrap(), late);
                assert_eq!(first, 0, "one record for all of them (S6): {record:?}");
                assert!(job.limits.coalesce || last + 1 + in_grace == batch.slots.len());
            }
            SlotEnd::Skipped { by, .. } => {
                // Those after it are still to be told of, so they do not count.
                let later = batch.slots.len() - 1 - last;
                let most = job.limits.max_instances as usize;
                let before = if job.limits.coalesce { active - 1 } else { active - 1 - later };
                assert!(before >= most, "skipped with {before} of {most} active (S7)");
                let known = self.runs.get(by);
                assert!(known.is_none_or(|by| by.order.job.name == job.name), "{record:?}");
                assert!(by < run && (known.is_some() || !self.numbers.contains(&by.0)));
                assert!(is_in_grace(job, late), "{record:?}");
            }
            SlotEnd::OverLimit => {
                assert_eq!(in_grace, CATCH_UP + last + 1 - first, "at most 100 run (S6)");
            }
            SlotEnd::Reload => assert!(self.is_gone(&job.name, false), "{record:?}"),
            SlotEnd::Removed => assert!(self.is_gone(&job.name, true), "{record:?}"),
            _ => {
                assert!(self.stopping, "{record:?}");
                self.hold_back(record);
            }
        }
        self.close(number, (first, last));
    }

    /// Whether the job left the schedule in this turn, by a command or by a reload.
    fn is_gone(&self, name: &str, by_command: bool) -> bool {
        by_command != self.expected.reloads && !self.lines.by_name.contains_key(name)
    }

    fn close(&mut self, number: u64, (first, last): (usize, usize)) {
        let batch = self.batches.get_mut(&number).unwrap();
        batch.slots[first..=last].iter_mut().for_each(|slot| slot.1 = State::Ended);
        if batch.slots.iter().all(|(_, state)| *state == State::Ended) {
            self.batches.remove(&number);
        }
    }

    /// What has to hold once the agenda has dealt with everything that is due.
    pub fn check(&self, agenda: &Agenda, now: DateTime<Utc>) {
        assert!(agenda.next_wake().is_none_or(|at| at > now), "the loop would spin");
        let in_pool = self.runs.iter().filter(|(_, run)| run.phase == Phase::InPool);
        let in_pool: Vec<RunId> = in_pool.map(|(id, _)| *id).collect();
        assert_eq!(agenda.started().map(|(run, _)| run).collect::<Vec<_>>(), in_pool);
        assert_eq!(agenda.is_idle(), in_pool.is_empty());
        if self.stopping {
            assert_eq!(agenda.next_wake(), None, "nothing is left to be woken for (S15)");
            return assert!(self.runs.len() == in_pool.len(), "a run waits for ever (S15)");
        }
        // A wake is for a slot, for the end of a backoff, or for that of a jitter, whose length is not known here.
        let slots = agenda.next_slots().map(|(_, at)| at);
        let waits = self.runs.values().filter_map(|run| match run.phase {
            Phase::BackingOff(until) => until,
            Phase::InPool | Phase::Answered { .. } => None,
        });
        let jitter = self.batches.values().map(|batch| batch.ready_by).max();
        let wake = agenda.next_wake().filter(|at| jitter.is_none_or(|until| *at > until));
        assert!(
            wake.is_none_or(|wake| slots.chain(waits).any(|at| at == wake)),
            "woken for nothing"
        );
        let expected = self.lines.by_name.values();
        let expected = expected.filter_map(|line| {
            line.job.trigger.next_after(line.done.max(now)).map(|next| (&line.job, next))
        });
        assert!(agenda.next_slots().eq(expected), "jitter and waits do not move a slot (S11)");
        for batch in self.batches.range(self.turn..).map(|(_, batch)| batch) {
            let (active, most) = (self.active(&batch.job.name), batch.job.limits.max_instances);
            assert!(active <= most as usize, "{active} runs of {} (S7)", batch.job.name);
        }
        for name in self.lines.by_name.keys() {
            let told = self.begun.values().filter(|(job, _)| job == name).count();
            assert_eq!(told, self.active(name), "each run of {name} that begins is told of");
        }
        if in_pool.len() < self.places {
            for run in self.runs.values() {
                assert_ne!(run.phase, Phase::BackingOff(None), "{run:?}");
            }
            for batch in self.batches.values().filter(|batch| batch.ready_by <= now) {
                let waits = batch.slots.iter().any(|(_, state)| *state == State::Open);
                assert!(!waits, "it waits for a place, and there is one (S8): {batch:?}");
            }
        }
    }

    /// After the end of everything, each slot that came due has its record (S13).
    pub fn check_all_recorded(&self) {
        assert!(self.batches.is_empty(), "never recorded: {:?}", self.batches);
        assert!(self.runs.is_empty(), "never recorded: {:?}", self.runs);
    }
}

pub(super) fn capped(slots: usize) -> u32 {
    u32::try_from(slots).unwrap_or(Record::MOST).min(Record::MOST)
}
