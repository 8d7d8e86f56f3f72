//! How far the schedule of each job has come, by the rules alone (S5, S12, S14), and which of them are paused.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use recountd::config::Job;
use recountd::schedule::Trigger;

/// A step back by more than this restarts the schedule (S12).
pub const CORRECTION: TimeDelta = TimeDelta::hours(3);

/// A job, and up to where its slots have been seen.
#[derive(Debug, Clone)]
pub struct Line {
    pub job: Arc<Job>,
    pub done: DateTime<Utc>,
    /// Differs after every change of the definition.
    pub generation: u64,
    pub pause: Option<Pause>,
}

/// A pause of a job, with the one record that its slots have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    pub since: DateTime<Utc>,
    /// The number of that record, once there is one.
    pub number: Option<u64>,
    /// How many slots went by since the record was begun, and the latest of them.
    pub passed: usize,
    pub latest: Option<DateTime<Utc>>,
}

impl Pause {
    pub fn new(since: DateTime<Utc>) -> Self {
        Self { since, number: None, passed: 0, latest: None }
    }
}

#[derive(Debug, Default)]
pub struct Lines {
    pub by_name: BTreeMap<Arc<str>, Line>,
    generations: u64,
}

impl Lines {
    /// Swaps the jobs in, for a reload and for a restart alike, and gives the names of those that are gone.
    pub fn swap(&mut self, jobs: &[Arc<Job>], now: DateTime<Utc>) -> Vec<Arc<str>> {
        let mut old = std::mem::take(&mut self.by_name);
        for job in jobs {
            let line = old.remove(&job.name);
            self.put(job, line, now);
        }
        old.into_keys().collect()
    }

    /// Gives a job a definition; `line` is what it has been so far.
    pub fn put(&mut self, job: &Arc<Job>, line: Option<Line>, now: DateTime<Utc>) {
        self.generations += 1;
        let (generation, job) = (self.generations, Arc::clone(job));
        let pause = line.as_ref().and_then(|line| line.pause);
        let line = match line {
            Some(line) if *line.job == *job => line,
            Some(line) if line.job.trigger == job.trigger => Line { job, generation, ..line },
            // Under another trigger the schedule begins now, but no instant of the job comes twice.
            Some(line) if !matches!(job.trigger, Trigger::Date(_)) => {
                Line { job, done: now.max(line.done), generation, pause }
            }
            _ => Line { done: begin(&job, now), job, generation, pause },
        };
        self.by_name.insert(Arc::clone(&line.job.name), line);
    }

    /// The clock was corrected to `now`: the schedule of these jobs goes on from there. A date that has had its turn
    /// does not come again, unless the clock is before it once more.
    pub fn correct(&mut self, now: DateTime<Utc>, which: impl Fn(&Line) -> bool) {
        for line in self.by_name.values_mut().filter(|line| which(line)) {
            line.done = match line.job.trigger {
                Trigger::Date(date) if line.done >= date && date <= now => line.done,
                _ => begin(&line.job, now),
            };
        }
    }
}

/// Where the schedule of a new job begins. A date that is past is dealt with all the same (S6).
fn begin(job: &Job, now: DateTime<Utc>) -> DateTime<Utc> {
    match job.trigger {
        Trigger::Date(date) => now.min(date - TimeDelta::milliseconds(1)),
        Trigger::Cron(_) | Trigger::Interval(_) => now,
    }
}
