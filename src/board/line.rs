//! One job's line on the board.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::view::{ActiveView, JobView};
use crate::agenda::{Cause, Order, Record, RunId, SlotEnd};
use crate::config::{Job, trigger};
use crate::metrics::JobGauges;
use crate::report::Outcome;
use crate::schedule::Trigger;
use crate::state::{Last, Row, RunNumber, time};

/// A week of working days has six slots from one Monday to the next.
const SLOTS: usize = 8;

/// What is known of a job, by its name: a job that is added where another one was removed goes on with what is on
/// record of that, as it does after a restart. A line without a job is that of one that is gone while a run of it is
/// still at work.
#[derive(Debug, Default)]
pub struct Line {
    job: Option<Arc<Job>>,
    /// Whether it is known what the state knows.
    is_recalled: bool,
    next: Option<DateTime<Utc>>,
    paused: Option<DateTime<Utc>>,
    active: BTreeMap<RunId, Active>,
    last: Option<Row>,
    clean: Option<DateTime<Utc>>,
    period: Option<Duration>,
}

/// A run that has not ended.
#[derive(Debug)]
struct Active {
    order: Order,
    /// Whether the attempt is with the pool.
    is_given: bool,
    /// Whether it waits for another attempt.
    is_between: bool,
    /// Whether its job has been removed since; there may be another one of the name.
    is_left: bool,
    /// When its first attempt was.
    started: Option<DateTime<Utc>>,
}

/// How many runs of a job there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Runs {
    /// That have not ended.
    pub active: usize,
    /// Of these, that are with the pool.
    pub given: usize,
    /// Of the others, that wait for nothing but the pool, as far as can be seen from here: the end of a jitter or of a
    /// backoff is not told.
    pub ready: usize,
}

/// How long it is usual for no slot to come: the longest way between the next few. A job of working
/// days is not late on a Sunday. `None` where there are no two slots.
fn period(trigger: &Trigger, next: Option<DateTime<Utc>>) -> Option<Duration> {
    let mut slots = std::iter::successors(next, |slot| trigger.next_after(*slot)).take(SLOTS);
    let mut last = slots.next()?;
    let ways = slots.map(|slot| {
        let way = slot - last;
        last = slot;
        way.to_std().unwrap_or_default()
    });
    ways.max()
}

/// The trigger in words. A date has no zone of its own; it is shown in that of its job.
fn in_words(job: &Job) -> String {
    match job.trigger {
        Trigger::Date(date) => {
            let date = date.with_timezone(&job.zone);
            format!("once at {} ({})", date.format("%Y-%m-%d %H:%M:%S"), job.zone.name())
        }
        Trigger::Cron(_) | Trigger::Interval(_) => job.trigger.to_string(),
    }
}

impl Line {
    /// What the state knows of earlier runs; what has happened since is newer.
    pub fn recall(&mut self, last: Last) {
        self.is_recalled = true;
        self.last = self.last.take().or(last.ended.map(Row::brief));
        self.clean = self.clean.or(last.clean);
    }

    /// Whether it is known what the state knows.
    pub fn is_recalled(&self) -> bool {
        self.is_recalled
    }

    /// The job is gone; its runs at work stay until they end.
    pub fn leave(&mut self) {
        let mut active = std::mem::take(&mut self.active);
        active.values_mut().for_each(|run| run.is_left = true);
        *self = Self { active, ..Self::default() };
    }

    /// Whether there is neither a job nor a run.
    pub fn is_empty(&self) -> bool {
        self.job.is_none() && self.active.is_empty()
    }

    /// Whether a run of this number counts for the job that is here now.
    pub fn counts(&self, run: RunId) -> bool {
        self.job.is_some() && self.active.get(&run).is_none_or(|run| !run.is_left)
    }

    /// The job is so now.
    pub fn set(
        &mut self,
        job: Arc<Job>,
        next: Option<DateTime<Utc>>,
        paused: Option<DateTime<Utc>>,
    ) {
        if self.job.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &job)) {
            self.period = period(&job.trigger, next);
        }
        self.job = Some(job);
        (self.next, self.paused) = (next, paused);
    }

    /// The job, once it is known.
    pub fn job(&self) -> Option<Arc<Job>> {
        self.job.clone()
    }

    /// A run has begun or an attempt of it has started; gives when its first attempt did.
    pub fn begun(&mut self, order: &Order, at: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        let new = || Active {
            order: order.clone(),
            is_given: false,
            is_between: false,
            is_left: false,
            started: None,
        };
        let active = self.active.entry(order.run).or_insert_with(new);
        active.order = order.clone();
        (active.is_given, active.is_between) = (at.is_some(), false);
        active.started = active.started.or(at);
        active.started
    }

    /// A run of this number, if it has not ended or was the last to.
    pub fn run(&self, number: RunNumber) -> Option<Row> {
        let last = self.last.as_ref().filter(|row| row.id == number).cloned();
        last.or_else(|| {
            let mut active = self.active.iter();
            let (_, active) = active.find(|(run, _)| RunNumber::from(**run) == number)?;
            Some(Row::begun(&active.order, active.started))
        })
    }

    /// An attempt failed and its run waits for the next one.
    pub fn will_retry(&mut self, run: RunId) {
        if let Some(active) = self.active.get_mut(&run) {
            (active.is_given, active.is_between) = (false, true);
        }
    }

    /// A run has ended, and nothing else is known of it.
    pub fn over(&mut self, run: RunId) {
        self.active.remove(&run);
    }

    /// A slot has ended.
    pub fn ended(&mut self, record: &Record, row: Row) {
        self.active.remove(&record.run);
        if self.job.is_none() {
            return;
        }
        if let SlotEnd::Ran { outcome: Outcome::Clean | Outcome::Repaired, .. } = record.end {
            self.clean = row.finished.or(self.clean);
        }
        self.last = Some(row.brief());
    }

    /// Whether a slot that has not been dealt with is late by more than the job's period. A date has
    /// no period; its misfire grace stands for it.
    fn is_overdue(&self, job: &Job, now: DateTime<Utc>) -> bool {
        let is_of_slot = |run: &&Active| run.order.cause == Cause::Slot && !run.is_left;
        let of_slots = self.active.values().filter(is_of_slot);
        let waiting = self.next.filter(|_| self.paused.is_none());
        let Some(oldest) = of_slots.map(|run| run.order.slot).chain(waiting).min() else {
            return false;
        };
        let grace = TimeDelta::from_std(job.limits.misfire_grace).unwrap_or(TimeDelta::MAX);
        let period = job.trigger.next_after(oldest).map_or(grace, |after| after - oldest);
        oldest.checked_add_signed(period).is_some_and(|end| end < now)
    }

    /// What a scrape shows of it beside what was counted.
    pub fn gauges(&self, now: DateTime<Utc>) -> Option<JobGauges> {
        let job = self.job.as_deref()?;
        Some(JobGauges {
            name: Arc::clone(&job.name),
            last_clean: self.clean,
            paused: self.paused.is_some(),
            overdue: self.is_overdue(job, now),
            next: self.next,
            period: self.period,
        })
    }

    /// The state of the job in a word, if there is a job.
    pub fn state(&self) -> Option<&'static str> {
        self.job.as_ref()?;
        Some(match () {
            () if self.active.values().any(|run| run.is_given) => "running",
            () if self.paused.is_some() => "paused",
            () if self.next.is_none() && self.active.is_empty() => "done",
            () => "scheduled",
        })
    }

    /// Whether a slot is late by more than the job's period.
    pub fn overdue(&self, now: DateTime<Utc>) -> bool {
        self.job.as_deref().is_some_and(|job| self.is_overdue(job, now))
    }

    /// How many runs there are.
    pub fn runs(&self) -> Runs {
        let is_ready = |run: &&Active| {
            let has_jitter = !run.order.job.limits.jitter.is_zero();
            let is_delayed = run.order.cause == Cause::Slot && has_jitter;
            !run.is_given && !run.is_between && !is_delayed
        };
        Runs {
            active: self.active.len(),
            given: self.active.values().filter(|run| run.is_given).count(),
            ready: self.active.values().filter(is_ready).count(),
        }
    }

    /// How it looks at `now`; `None` while the job is not known.
    pub fn view(&self, now: DateTime<Utc>) -> Option<JobView> {
        let job = self.job.as_deref()?;
        let text = |at: DateTime<Utc>| time(at, job.zone);
        let active = |(id, run): (&RunId, &Active)| ActiveView {
            id: *id,
            slot: text(run.order.slot),
            started_at: run.started.filter(|_| run.is_given).map(text),
            attempt: run.order.attempt,
            cause: run.order.cause.word(),
            dry_run: run.order.cause.is_dry(),
        };
        Some(JobView {
            name: job.name.to_string(),
            description: job.description.clone(),
            origin: job.origin.word(),
            kind: "reconcile",
            trigger: trigger(job).into_iter().collect(),
            trigger_in_words: in_words(job),
            timezone: job.zone.name().into(),
            state: self.state()?,
            reason: None,
            paused_since: self.paused.map(text),
            next_run: self.next.map(text),
            overdue: self.is_overdue(job, now),
            running: self.active.iter().map(active).collect(),
            last_run: self.last.clone().map(|row| row.shown(job.zone)),
            last_clean: self.clean.map(text),
            definition: None,
        })
    }
}
