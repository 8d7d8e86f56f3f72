//! What the tests of the pure agenda share: jobs from a few lines of jobs.toml, and a small world with a clock that
//! the test sets. Nothing here needs a server, a thread or a real clock.

// Every test binary compiles its own copy of this module and uses only a part of it.
#![allow(dead_code)]
// A test that cannot set up its world has nothing to say: it shall stop at once, and loudly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod asks;
mod batch;
pub mod ledger;
pub mod lines;
pub mod story;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use recountd::agenda::{Action, Agenda, Ended, Event, Memory, Order, Record};
use recountd::config::{self, Job, Surroundings, duration};
use recountd::report::Outcome;

/// An instant.
#[track_caller]
pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A length of time, in the words of jobs.toml.
#[track_caller]
pub fn time(text: &str) -> TimeDelta {
    TimeDelta::from_std(duration::parse(text).unwrap()).unwrap()
}

/// A job with these lines of jobs.toml; what they leave out has its default. The system's zone is UTC.
#[track_caller]
pub fn job(name: &str, lines: &str) -> Arc<Job> {
    let text = format!(
        "[mysql.main]\nurl = 'mysql://127.0.0.1/app'\n[redis.main]\nurl = 'redis://127.0.0.1/0'\n\
         [jobs.{name}]\nquery = 'SELECT 1, 1'\ntarget = {{ zset = 'counters' }}\n{lines}\n"
    );
    let surroundings = Surroundings {
        system_zone: Tz::UTC,
        variable: &|_| Err("none".to_owned()),
        credential: &|_| Err("none".to_owned()),
        check_url: &|_, _| Ok(()),
    };
    let config = config::parse("jobs.toml", &text, &surroundings);
    let config = config.unwrap_or_else(|errors| panic!("{lines}\n{errors}"));
    Arc::clone(&config.jobs[name])
}

/// An attempt that found nothing to complain about.
pub fn clean() -> Ended {
    Ended::Done { outcome: Outcome::Clean, reason: None, retry: false, report: None }
}

/// An attempt that failed, for a reason that may pass (`retry`) or not.
pub fn failed(retry: bool) -> Ended {
    Ended::Done { outcome: Outcome::Failed, reason: Some("why".into()), retry, report: None }
}

/// An agenda with a clock that the test sets, what it asked for, and what its state would keep.
pub struct World {
    pub agenda: Agenda,
    pub now: DateTime<Utc>,
    pub started: Vec<Order>,
    pub records: Vec<Record>,
    pub memory: Memory,
}

impl World {
    /// The first start of all, at `now`, with so many places in the pool.
    pub fn new(jobs: &[Arc<Job>], now: &str, places: usize) -> Self {
        Self::remembering(jobs, Memory::default(), at(now), places)
    }

    fn remembering(jobs: &[Arc<Job>], memory: Memory, now: DateTime<Utc>, places: usize) -> Self {
        let agenda = Agenda::new(jobs.to_vec(), &memory, places, now, 7);
        let mut world = Self { agenda, now, started: Vec::new(), records: Vec::new(), memory };
        world.feed(Event::Due);
        world
    }

    /// A start after this world was killed, with what its state has kept.
    pub fn restarted(&self, jobs: &[Arc<Job>], down: &str) -> Self {
        Self::remembering(jobs, self.memory.clone(), self.now + time(down), 10)
    }

    pub fn feed(&mut self, event: Event) {
        for action in self.agenda.handle(self.now, event) {
            match action {
                Action::Start(order) => {
                    self.memory.last_run = self.memory.last_run.max(order.run.0);
                    self.started.push(order);
                }
                Action::Record(record) => {
                    self.memory.last_run = self.memory.last_run.max(record.run.0);
                    self.records.push(record);
                }
                Action::Remember { job, memory, .. } => {
                    self.memory.jobs.insert(Arc::clone(&job.name), memory);
                }
                Action::Forget(job) => {
                    self.memory.jobs.remove(&job);
                }
                Action::Waits(_)
                | Action::WillRetry { .. }
                | Action::Reloaded(_)
                | Action::Retire(_)
                | Action::Answer(_) => {}
            }
        }
    }

    /// Lets time pass without the loop waking, as when the machine was asleep.
    pub fn sleep(&mut self, length: &str) {
        self.now += time(length);
        self.feed(Event::Due);
    }

    /// Lets time pass as the loop does, waking at each timer.
    pub fn pass(&mut self, length: &str) {
        let end = self.now + time(length);
        while let Some(at) = self.agenda.next_wake().filter(|at| *at <= end) {
            self.now = at;
            self.feed(Event::Due);
        }
        self.now = end;
    }

    /// The wall clock is set by so much, forward or back.
    pub fn step(&mut self, by: TimeDelta) {
        self.now += by;
        self.feed(Event::ClockStepped(by));
        self.feed(Event::Due);
    }

    /// The latest attempt ends.
    pub fn finish(&mut self, ended: Ended) {
        let run = self.started.last().unwrap().run;
        self.feed(Event::Finished { run, ended });
    }

    /// How each slot ended, with the number that it stands for.
    pub fn ends(&self) -> Vec<String> {
        self.records.iter().map(|r| format!("{} {}x", r.end, r.stands_for)).collect()
    }

    /// The slots that were started, as `HH:MM:SS`.
    pub fn slots(&self) -> Vec<String> {
        self.started.iter().map(|order| order.slot.format("%H:%M:%S").to_string()).collect()
    }
}
