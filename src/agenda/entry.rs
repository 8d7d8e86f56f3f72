//! One job on the agenda: which of its slots are due (S4, S6).

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::event::{Action, Record, Remembered, RunId};
use crate::config::Job;
use crate::schedule::Trigger;

/// A step back of the wall clock by more than this is a correction: the schedule goes on from the
/// new time (S12).
pub const CORRECTION: TimeDelta = TimeDelta::hours(3);
/// Without coalesce, at most so many late slots run (S6).
const CATCH_UP: usize = 100;

/// A job, and how far its schedule has been dealt with.
#[derive(Debug)]
pub struct Entry {
    /// The job.
    pub job: Arc<Job>,
    /// Every slot up to here has been dealt with: none runs twice (S12).
    done: DateTime<Utc>,
    /// The next slot; `None` after the last.
    pub next: Option<DateTime<Utc>>,
    /// What the state knows its trigger by; made once, because it is told with every slot.
    identity: Arc<str>,
    /// The pause that it is in.
    pub pause: Option<Pause>,
    /// Whether its last slot so far was dealt with for good: it ran, or came too late. One that was
    /// skipped, paused or cut off by the end is for somebody to look at.
    pub is_over: bool,
}

/// A pause of a job. Its slots come and go all the same, and one record takes them all in: a week
/// without a run must not push the runs before it out of the log (S13).
#[derive(Debug, Clone, Copy)]
pub struct Pause {
    /// Since when.
    pub since: DateTime<Utc>,
    /// The record of the slots that came due meanwhile, and how many they are.
    pub record: Option<(RunId, u32)>,
}

/// What is to be done with a slot that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// It runs.
    Run {
        /// The slot.
        slot: DateTime<Utc>,
        /// How many it stands for, itself included.
        stands_for: u32,
    },
    /// It came too late.
    Missed {
        /// The slot.
        slot: DateTime<Utc>,
        /// How many it stands for, itself included.
        stands_for: u32,
    },
    /// The job is paused.
    Paused {
        /// The latest slot.
        slot: DateTime<Utc>,
        /// How many came due since the last look, this one included.
        stands_for: u32,
    },
    /// Too many came late at once.
    OverLimit {
        /// The slot.
        slot: DateTime<Utc>,
        /// How many it stands for, itself included.
        stands_for: u32,
    },
}

impl Entry {
    /// A job whose schedule begins after `now`. A date that is past is dealt with all the same, so
    /// that it is recorded as missed (S6).
    pub fn new(job: Arc<Job>, now: DateTime<Utc>) -> Self {
        let done = match job.trigger {
            Trigger::Date(date) => now.min(date - TimeDelta::milliseconds(1)),
            Trigger::Cron(_) | Trigger::Interval(_) => now,
        };
        Self::from(job, done)
    }

    /// A job that is known from before a restart: what came due meanwhile is dealt with by the same
    /// rules as what came due while the loop slept (S6).
    pub fn resume(job: Arc<Job>, memory: Option<&Remembered>, now: DateTime<Utc>) -> Self {
        let Some(known) = memory else { return Self::new(job, now) };
        let was_corrected = known.done > now + CORRECTION;
        let mut entry = if *known.trigger != *job.trigger.identity() {
            Self::after(job, if was_corrected { now } else { known.done }, now)
        } else if was_corrected {
            Self::from(job, known.done).corrected(now)
        } else {
            Self::from(job, known.done)
        };
        entry.pause = known.paused.map(|since| Pause { since, record: None });
        entry
    }

    /// The same job after the clock was set back by more than [`CORRECTION`]: its schedule goes on
    /// from the new time (S12). A date that has had its turn does not come again, unless it lies
    /// ahead once more.
    pub fn corrected(self, now: DateTime<Utc>) -> Self {
        match self.job.trigger {
            Trigger::Date(date) if self.done >= date && date <= now => self,
            _ => Self { pause: self.pause, ..Self::new(self.job, now) },
        }
    }

    /// The same job under a new definition. With the same trigger the schedule goes on.
    pub fn changed_to(self, job: Arc<Job>, now: DateTime<Utc>) -> Self {
        if self.job.trigger == job.trigger {
            Self { job, ..self }
        } else {
            Self { pause: self.pause, ..Self::after(job, self.done, now) }
        }
    }

    /// A job whose trigger follows another one that has come as far as `done`: it begins now, or
    /// there if the clock was set back since, so that no instant comes twice (S12).
    fn after(job: Arc<Job>, done: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        match job.trigger {
            Trigger::Date(_) => Self::new(job, now),
            Trigger::Cron(_) | Trigger::Interval(_) => Self::from(job, done.max(now)),
        }
    }

    fn from(job: Arc<Job>, done: DateTime<Utc>) -> Self {
        let next = job.trigger.next_after(done);
        let identity = Arc::from(job.trigger.identity());
        Self { job, done, next, identity, pause: None, is_over: false }
    }

    /// Its slot did not run because the daemon ends: it is due again at the next start, where its grace
    /// decides.
    pub fn hold_back(&mut self, slot: DateTime<Utc>) {
        self.done = self.done.min(slot - TimeDelta::milliseconds(1));
        // A job that has a slot left is not over, whichever of its other runs ends meanwhile.
        self.next = self.job.trigger.next_after(self.done);
    }

    /// Whether its schedule has come so far ahead of `now` that the clock must have been corrected.
    pub fn is_ahead_of(&self, now: DateTime<Utc>) -> bool {
        self.done > now + CORRECTION
    }

    /// That it has to be known after a restart.
    pub fn to_remember(&self) -> Action {
        Action::Remember { job: Arc::clone(&self.job), memory: self.memory(), next: self.next }
    }

    /// What has to be known of it after a restart.
    pub fn memory(&self) -> Remembered {
        let paused = self.pause.map(|pause| pause.since);
        Remembered { done: self.done, trigger: Arc::clone(&self.identity), paused }
    }

    /// Takes every slot that is due at `now`; each slot is taken once.
    pub fn take_due(&mut self, now: DateTime<Utc>) -> Vec<Due> {
        let trigger = &self.job.trigger;
        let Some(latest) = trigger.latest_between(self.done, now) else {
            self.next = trigger.next_after(self.done.max(now));
            return Vec::new();
        };
        let limits = &self.job.limits;
        let grace = TimeDelta::from_std(limits.misfire_grace).unwrap_or(TimeDelta::MAX);
        let count = |from, to| trigger.count_between(from, to, Record::MOST);
        // A slot is still good at exactly its grace; the millisecond is the finest unit there is.
        let expired = now
            .checked_sub_signed(grace)
            .and_then(|at| at.checked_sub_signed(TimeDelta::milliseconds(1)))
            .unwrap_or(DateTime::<Utc>::MIN_UTC)
            .max(self.done);
        let mut due = Vec::new();
        if self.pause.is_some() {
            due.push(Due::Paused { slot: latest, stands_for: count(self.done, latest) });
        } else if limits.coalesce || latest <= expired {
            let (slot, stands_for) = (latest, count(self.done, latest));
            due.push(if latest <= expired {
                Due::Missed { slot, stands_for }
            } else {
                Due::Run { slot, stands_for }
            });
        } else {
            if let Some(slot) = trigger.latest_between(self.done, expired) {
                due.push(Due::Missed { slot, stands_for: count(self.done, slot) });
            }
            let mut at = expired;
            let most = due.len() + CATCH_UP;
            while let Some(slot) = trigger.next_after(at)
                && slot <= latest
            {
                if due.len() == most {
                    due.push(Due::OverLimit { slot: latest, stands_for: count(at, latest) });
                    break;
                }
                due.push(Due::Run { slot, stands_for: 1 });
                at = slot;
            }
        }
        self.done = latest;
        self.next = trigger.next_after(latest.max(now));
        // What ran before this slot, by hand or for an earlier one, does not stand in for it.
        self.is_over = false;
        due
    }
}
