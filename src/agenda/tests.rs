//! The agenda, driven by a clock that the tests set.

mod changes;
mod commands;
mod limits;
mod pings;
mod restart;
mod slots;

use std::time::Duration;

use chrono::{TimeDelta, TimeZone};
use url::Url;

use super::*;
use crate::config::{
    Family, Guard, Limits, Origin, Percent, Ping, Reconcile, Server, ServerUrl, Target, duration,
};
use crate::report::Outcome;
use crate::schedule::{Interval, Trigger};

/// An agenda with a clock that the test sets, and all that it has asked for.
struct World {
    agenda: Agenda,
    now: DateTime<Utc>,
    started: Vec<Order>,
    records: Vec<Record>,
    retries: Vec<Duration>,
    diff: Diff,
    memory: Memory,
    retired: Vec<Arc<str>>,
    answers: Vec<Result<Option<RunId>, CommandError>>,
}

fn midnight() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 21, 0, 0, 0).unwrap()
}

/// A job every minute, changed by `change`.
fn job(name: &str, change: impl FnOnce(&mut Job)) -> Arc<Job> {
    let server = |url| {
        let url = ServerUrl::new(Url::parse(url).unwrap());
        Arc::new(Server { name: "main".to_owned(), url })
    };
    let work = Reconcile {
        mysql: server("mysql://127.0.0.1/app"),
        redis: server("redis://127.0.0.1/0"),
        query: "SELECT 1, 1".to_owned(),
        families: vec![Family {
            column: None,
            target: Target::Zset { key: "counters".to_owned() },
        }],
        settle: Duration::from_secs(1),
        ghosts: None,
        guard: Guard { max_changed: Percent::HALF, allow_empty: false },
        redis_share: Percent::HALF,
    };
    let mut job = Job {
        name: Arc::from(name),
        origin: Origin::File,
        description: String::new(),
        trigger: Trigger::Interval(Interval::new(Duration::from_secs(60), None)),
        zone: chrono_tz::Tz::UTC,
        limits: Limits::default(),
        work,
        ping: Ping::default(),
    };
    change(&mut job);
    Arc::new(job)
}

fn failed(retry: bool) -> Ended {
    Ended::Done { outcome: Outcome::Failed, reason: Some("why".into()), retry, report: None }
}

fn clean() -> Ended {
    Ended::Done { outcome: Outcome::Clean, reason: None, retry: false, report: None }
}

impl World {
    fn with_places(places: usize, jobs: Vec<Arc<Job>>) -> Self {
        let now = midnight();
        Self {
            agenda: Agenda::new(jobs, &Memory::default(), places, now, 7),
            now,
            started: Vec::new(),
            records: Vec::new(),
            retries: Vec::new(),
            diff: Diff::default(),
            memory: Memory::default(),
            retired: Vec::new(),
            answers: Vec::new(),
        }
    }

    fn new(jobs: Vec<Arc<Job>>) -> Self {
        Self::with_places(10, jobs)
    }

    fn feed(&mut self, event: Event) {
        for action in self.agenda.handle(self.now, event) {
            match action {
                Action::Start(order) => self.started.push(order),
                Action::Waits(_) => {}
                Action::Record(record) => self.records.push(record),
                Action::WillRetry { wait, .. } => self.retries.push(wait),
                Action::Reloaded(diff) => self.diff = diff,
                Action::Remember { job, memory, .. } => {
                    self.memory.jobs.insert(Arc::clone(&job.name), memory);
                }
                Action::Forget(job) => {
                    self.memory.jobs.remove(&job);
                }
                Action::Retire(job) => {
                    self.memory.jobs.remove(&job);
                    self.retired.push(job);
                }
                Action::Answer(answer) => self.answers.push(answer),
            }
        }
    }

    /// Lets time pass without the loop waking.
    fn sleep(&mut self, time: &str) {
        self.now += duration::parse(time).unwrap();
        self.feed(Event::Due);
    }

    /// Lets time pass as the loop does, waking at each timer.
    fn pass(&mut self, time: &str) {
        let end = self.now + duration::parse(time).unwrap();
        while let Some(at) = self.agenda.next_wake()
            && at <= end
        {
            self.now = at;
            self.feed(Event::Due);
        }
        self.now = end;
    }

    fn finish(&mut self, ended: Ended) {
        let run = self.started.last().unwrap().run;
        self.feed(Event::Finished { run, ended });
    }

    fn ends(&self) -> Vec<String> {
        self.records.iter().map(|r| format!("{} {}x", r.end, r.stands_for)).collect()
    }
}
