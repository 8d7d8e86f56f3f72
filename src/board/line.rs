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

/// What is known of a job. A line without a job has only been recalled yet.
#[derive(Debug, Default)]
pub struct Line {
    job: Option<Arc<Job>>,
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
    slot: DateTime<Utc>,
    cause: Cause,
    attempt: u32,
    /// Whether the attempt is with the pool.
    is_given: bool,
    /// When its first attempt was.
    started: Option<DateTime<Utc>>,
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
        self.last = self.last.take().or(last.ended);
        self.clean = self.clean.or(last.clean);
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
        let (slot, cause) = (order.slot, order.cause);
        let new = Active { slot, cause, attempt: 0, is_given: false, started: None };
        let active = self.active.entry(order.run).or_insert(new);
        (active.attempt, active.is_given) = (order.attempt, at.is_some());
        active.started = active.started.or(at);
        active.started
    }

    /// A run of this number, if it has not ended or was the last to.
    pub fn run(&self, number: RunNumber) -> Option<Row> {
        let last = self.last.as_ref().filter(|row| row.id == number).cloned();
        last.or_else(|| {
            let job = Arc::clone(self.job.as_ref()?);
            let (run, active) =
                self.active.iter().find(|(run, _)| RunNumber::from(**run) == number)?;
            let Active { slot, cause, attempt, started, .. } = *active;
            Some(Row::begun(&Order { run: *run, job, slot, attempt, cause }, started))
        })
    }

    /// An attempt failed and its run waits for the next one.
    pub fn will_retry(&mut self, run: RunId) {
        if let Some(active) = self.active.get_mut(&run) {
            active.is_given = false;
        }
    }

    /// A slot has ended.
    pub fn ended(&mut self, record: &Record, row: Row) {
        self.active.remove(&record.run);
        if let SlotEnd::Ran { outcome: Outcome::Clean | Outcome::Repaired, .. } = record.end {
            self.clean = row.finished.or(self.clean);
        }
        self.last = Some(row);
    }

    /// Whether a slot that has not been dealt with is late by more than the job's period. A date has
    /// no period; its misfire grace stands for it.
    fn is_overdue(&self, job: &Job, now: DateTime<Utc>) -> bool {
        let of_slots = self.active.values().filter(|run| run.cause == Cause::Slot);
        let waiting = self.next.filter(|_| self.paused.is_none());
        let Some(oldest) = of_slots.map(|run| run.slot).chain(waiting).min() else { return false };
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

    /// How it looks at `now`; `None` while the job is not known.
    pub fn view(&self, now: DateTime<Utc>) -> Option<JobView> {
        let job = self.job.as_deref()?;
        let text = |at: DateTime<Utc>| time(at, job.zone);
        let is_running = self.active.values().any(|run| run.is_given);
        let state = match () {
            () if is_running => "running",
            () if self.paused.is_some() => "paused",
            () if self.next.is_none() && self.active.is_empty() => "done",
            () => "scheduled",
        };
        let active = |(id, run): (&RunId, &Active)| ActiveView {
            id: *id,
            slot: text(run.slot),
            started_at: run.started.filter(|_| run.is_given).map(text),
            attempt: run.attempt,
            cause: run.cause.word(),
            dry_run: run.cause.is_dry(),
        };
        Some(JobView {
            name: job.name.to_string(),
            description: job.description.clone(),
            origin: job.origin.word(),
            kind: "reconcile",
            trigger: trigger(job).into_iter().collect(),
            trigger_in_words: in_words(job),
            timezone: job.zone.name(),
            state,
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
