//! What becomes of slots: runs begin, wait, are given to the pool, fail, are tried again and end (S6 to S9).

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};

use super::entry::{Due, Pause};
use super::event::{Action, CommandError, Ended, Record, RunId, SlotEnd};
use super::{Agenda, Cause, Phase, Run, Timer};
use crate::config::Job;

impl Agenda {
    /// Deals with every timer that has come.
    pub(super) fn due(&mut self, now: DateTime<Utc>, actions: &mut Vec<Action>) {
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
                    actions.push(entry.to_remember());
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
        if let Due::Paused { slot, stands_for } = due {
            self.pass_over(job, slot, stands_for, actions);
            return;
        }
        let run = self.next_run();
        let record = |slot, stands_for, end| did_not_run(job, slot, run, stands_for, end);
        let (slot, stands_for) = match due {
            Due::Run { slot, stands_for } | Due::Paused { slot, stands_for } => (slot, stands_for),
            Due::Missed { slot, stands_for } => {
                let late = (now - slot).to_std().unwrap_or_default();
                actions.push(record(slot, stands_for, SlotEnd::Missed { late }));
                self.note_end(job, true);
                return;
            }
            Due::OverLimit { slot, stands_for } => {
                actions.push(record(slot, stands_for, SlotEnd::OverLimit));
                return;
            }
        };
        if let Some((by, age)) = self.in_the_way(now, job) {
            actions.push(record(slot, stands_for, SlotEnd::Skipped { by, age }));
            return;
        }
        let jitter = self.part_of(job.limits.jitter);
        self.insert(now, run, job, slot, Cause::Slot, stands_for);
        if jitter.is_zero() {
            self.queue.push_back(run);
        } else {
            self.timers.insert((now + jitter, Timer::Ready(run)));
        }
    }

    /// Begins a run that somebody asks for. It has no slot to be late for, and no jitter.
    pub(super) fn trigger(
        &mut self,
        now: DateTime<Utc>,
        job: &Arc<Job>,
        dry_run: bool,
    ) -> Result<RunId, CommandError> {
        if let Some((by, age)) = self.in_the_way(now, job) {
            return Err(CommandError::Active { job: Arc::clone(&job.name), by, age });
        }
        let run = self.next_run();
        // What is on disk and in the API is whole milliseconds.
        self.insert(now, run, job, now.trunc_subsecs(3), Cause::Trigger { dry_run }, 1);
        self.queue.push_back(run);
        Ok(run)
    }

    fn next_run(&mut self) -> RunId {
        self.last_run += 1;
        RunId(self.last_run)
    }

    /// The oldest active run of a job that has as many as may be, and its age (S7).
    fn in_the_way(&self, now: DateTime<Utc>, job: &Job) -> Option<(RunId, Duration)> {
        let active = self.active.get(&job.name)?;
        let by = *active.first()?;
        let begun = self.runs.get(&by).map_or(now, |run| run.begun);
        let is_full = active.len() >= job.limits.max_instances as usize;
        is_full.then(|| (by, (now - begun).to_std().unwrap_or_default()))
    }

    fn insert(
        &mut self,
        now: DateTime<Utc>,
        run: RunId,
        job: &Arc<Job>,
        slot: DateTime<Utc>,
        cause: Cause,
        stands_for: u32,
    ) {
        self.active.entry(Arc::clone(&job.name)).or_default().insert(run);
        let begun = Run {
            job: Arc::clone(job),
            slot,
            cause,
            stands_for,
            begun: now,
            attempt: 1,
            phase: Phase::Waiting,
            started: None,
            failure: None,
        };
        self.runs.insert(run, begun);
    }

    /// Records that slots of a paused job went by, in the one record of its pause (S13).
    fn pass_over(
        &mut self,
        job: &Arc<Job>,
        slot: DateTime<Utc>,
        stands_for: u32,
        actions: &mut Vec<Action>,
    ) {
        let pause = self.jobs.get(&job.name).and_then(|entry| entry.pause);
        let Some(Pause { since, record }) = pause else { return };
        let (run, before) = record.unwrap_or_else(|| (self.next_run(), 0));
        let passed = before.saturating_add(stands_for).min(Record::MOST);
        if let Some(entry) = self.jobs.get_mut(&job.name) {
            entry.pause = Some(Pause { since, record: Some((run, passed)) });
        }
        actions.push(did_not_run(job, slot, run, passed, SlotEnd::Paused { since }));
    }

    /// Gives the pool as many runs as it has places for.
    pub(super) fn dispatch(&mut self, now: DateTime<Utc>, actions: &mut Vec<Action>) {
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

    /// The pool has answered for a run: it is tried again (S9), or has ended.
    pub(super) fn finished(
        &mut self,
        now: DateTime<Utc>,
        id: RunId,
        ended: Ended,
        actions: &mut Vec<Action>,
    ) {
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
                let job = Arc::clone(&run.job.name);
                let wait = backoff / 2 + self.part_of(backoff / 2);
                self.timers.insert((now + wait, Timer::Ready(id)));
                actions.push(Action::WillRetry { job, run: id, wait, reason });
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
        if let Some(Run { job, slot, cause, stands_for, started, .. }) = self.runs.remove(&id) {
            if let Some(active) = self.active.get_mut(&job.name) {
                active.remove(&id);
                if active.is_empty() {
                    self.active.remove(&job.name);
                }
            }
            let has_run = matches!(end, SlotEnd::Ran { .. } | SlotEnd::Expired { .. });
            self.note_end(&job, has_run);
            let ((started, took), run) = (span(&end, started, now), id);
            let record = Record { job, slot, run, cause, started, took, stands_for, end };
            actions.push(Action::Record(record));
        }
    }

    /// Ends every run that has not started.
    pub(super) fn drop_waiting(
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

    fn part_of(&mut self, time: Duration) -> Duration {
        if time.is_zero() { time } else { time.mul_f64(self.random.f64()) }
    }
}

fn did_not_run(
    job: &Arc<Job>,
    slot: DateTime<Utc>,
    run: RunId,
    stands_for: u32,
    end: SlotEnd,
) -> Action {
    let (job, cause) = (Arc::clone(job), Cause::Slot);
    Action::Record(Record { job, slot, run, cause, started: None, took: None, stands_for, end })
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
