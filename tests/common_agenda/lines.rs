//! How far the schedule of each job has come, by the rules alone (S5, S12, S14), which of them are paused, and what is
//! known of those that were added and are not valid now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use recountd::config::{Job, Origin};
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
    /// Why its last slot so far needs nobody to look at it: it came too late, or a run has ended since.
    pub over: Option<&'static str>,
    /// Whether its date was held back by the end of the daemon, and has to come again.
    pub held: bool,
}

impl Line {
    /// The next slot, whether it is past or not.
    pub fn next(&self) -> Option<DateTime<Utc>> {
        self.job.trigger.next_after(self.done)
    }

    /// What a restart leaves of it. A pause outlives the daemon, its record does not.
    fn restarted(mut self, now: DateTime<Utc>) -> Self {
        if self.done > now + CORRECTION {
            self.correct(now);
        }
        self.over = None;
        self.pause = self.pause.map(|pause| Pause::new(pause.since));
        self
    }

    /// The clock was corrected to `now`: the schedule goes on from there. A date that has had its turn does not come
    /// again, unless the clock is before it once more.
    fn correct(&mut self, now: DateTime<Utc>) {
        match self.job.trigger {
            Trigger::Date(date) if self.done >= date && date <= now => {}
            _ => (self.done, self.over) = (begin(&self.job, now), None),
        }
    }
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
    /// Those that were added and are not valid beside the file: they may come back.
    pub aside: BTreeMap<Arc<str>, Line>,
    generations: u64,
    /// How often each kind of return was seen.
    pub seen: BTreeMap<&'static str, usize>,
}

impl Lines {
    /// Swaps the jobs in at a reload, and gives the names of those that are forgotten.
    pub fn reload(&mut self, jobs: &[Arc<Job>], now: DateTime<Utc>) -> Vec<Arc<str>> {
        let old = std::mem::take(&mut self.by_name);
        self.swap(jobs, old, now, |line| line.job.origin == Origin::RunTime)
    }

    /// Begins anew with these jobs, and gives the names of those that are forgotten: all that are neither among them
    /// nor among those that were added.
    pub fn restart(
        &mut self,
        jobs: &[Arc<Job>],
        added: &BTreeSet<Arc<str>>,
        now: DateTime<Utc>,
    ) -> Vec<Arc<str>> {
        let mut old = std::mem::take(&mut self.by_name);
        let was_aside: BTreeSet<Arc<str>> = self.aside.keys().cloned().collect();
        old.append(&mut self.aside);
        let is_back = |job: &&Arc<Job>| was_aside.contains(&job.name);
        *self.seen.entry("back at a start").or_default() += jobs.iter().filter(is_back).count();
        for job in jobs {
            if let Some(line) = old.remove(&job.name) {
                old.insert(Arc::clone(&job.name), line.restarted(now));
            }
        }
        let gone = self.swap(jobs, old, now, |line| added.contains(&line.job.name));
        let lines = self.by_name.values();
        let stays = lines.filter(|l| l.job.origin == Origin::RunTime && l.next().is_none()).count();
        *self.seen.entry("stays at a start").or_default() += stays;
        *self.seen.entry("aside at a start").or_default() += self.aside.len();
        gone
    }

    fn swap(
        &mut self,
        jobs: &[Arc<Job>],
        mut old: BTreeMap<Arc<str>, Line>,
        now: DateTime<Utc>,
        is_kept: impl Fn(&Line) -> bool,
    ) -> Vec<Arc<str>> {
        for job in jobs {
            let line = old.remove(&job.name);
            self.put(job, line, now);
        }
        let (kept, gone): (BTreeMap<_, _>, _) = old.into_iter().partition(|(_, l)| is_kept(l));
        *self.seen.entry("set aside").or_default() += kept.len();
        self.aside.extend(kept);
        let gone: BTreeMap<_, _> = gone;
        gone.into_keys().collect()
    }

    /// Gives a job a definition; `line` is what it has been so far. One that is not there may be aside: it goes on as
    /// after a restart.
    pub fn put(&mut self, job: &Arc<Job>, line: Option<Line>, now: DateTime<Utc>) {
        self.generations += 1;
        let (generation, job) = (self.generations, Arc::clone(job));
        let line = line.or_else(|| {
            let line = self.aside.remove(&job.name)?.restarted(now);
            let is_due = line.next().is_some_and(|next| next <= now);
            let how = match line.job.trigger == job.trigger {
                true if is_due => "back and due",
                true => "back",
                false => "back with another trigger",
            };
            *self.seen.entry(how).or_default() += 1;
            *self.seen.entry("back paused").or_default() += usize::from(line.pause.is_some());
            // Whatever it ran before is not a run of this one.
            Some(Line { generation, ..line })
        });
        let pause = line.as_ref().and_then(|line| line.pause);
        let line = match line {
            Some(line) if *line.job == *job => line,
            Some(line) if line.job.trigger == job.trigger => Line { job, generation, ..line },
            // Under another trigger the schedule begins now, but no instant of the job comes twice.
            Some(line) if !matches!(job.trigger, Trigger::Date(_)) => {
                let done = now.max(line.done);
                Line { job, done, generation, pause, over: None, held: false }
            }
            _ => {
                let done = begin(&job, now);
                Line { done, job, generation, pause, over: None, held: false }
            }
        };
        self.by_name.insert(Arc::clone(&line.job.name), line);
    }

    /// The clock was corrected to `now`: the schedule of these jobs goes on from there.
    pub fn correct(&mut self, now: DateTime<Utc>, which: impl Fn(&Line) -> bool) {
        self.by_name.values_mut().filter(|line| which(line)).for_each(|line| line.correct(now));
    }
}

/// Where the schedule of a new job begins. A date that is past is dealt with all the same (S6).
fn begin(job: &Job, now: DateTime<Utc>) -> DateTime<Utc> {
    match job.trigger {
        Trigger::Date(date) => now.min(date - TimeDelta::milliseconds(1)),
        Trigger::Cron(_) | Trigger::Interval(_) => now,
    }
}
