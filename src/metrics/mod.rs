//! What the daemon counts for Prometheus. The only folder that names `prometheus_client`.
//!
//! One thread feeds a [`Metrics`], others encode it. What is known only at the time of a scrape (is
//! the job paused, when was it last clean) is given by whoever encodes, as values.
//!
//! # What counts as what
//!
//! - **Slots.** Every slot is counted once in `recountd_slots_total`, by what became of it. A record
//!   that stands for several slots counts all of them if it did not run; if it ran it is one run,
//!   and the others are `outcome="coalesced"`. A record stands for at most [`Record::MOST`].
//! - **Dry runs** count in `recountd_slots_total` and in nothing else: they repaired nothing, and a
//!   dashboard must not believe that they did.
//! - **Counters** (compared, drifted, repaired, unproven) add up what reports say, those of failed and
//!   refused runs included, because what such a run repaired is repaired. Of a run with retries it is
//!   the last attempt's report. `recountd_last_run_*` change only with a run that came to its end
//!   (clean, repaired or partial): one that failed has not seen everything.
//! - **Ghosts** are no drift (see [`crate::report::Findings`]) and are not counted here.
//! - **From zero on.** Prometheus cannot see the increase of a series that begins with 1. So the
//!   counters of every job, and the outcomes that somebody wants to be woken by, are there with 0
//!   before anything has happened. Other outcomes, `recountd_last_run_*` and the histogram of a job
//!   begin with its first such run.
//! - **A job that is gone** leaves nothing: what is not among the jobs of a scrape is not shown, and
//!   what two scrapes did not name is dropped. A run that ends after its job was removed is not counted
//!   at all, also where another job has the name by then; whoever feeds sees to that.
//!
//! At 10,000 jobs a page has 15 lines a job (about 9 MB) before the first run, and 26 once all ran.

mod series;
mod sheet;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::agenda::{Cause, Order, Record, SlotEnd};
use crate::clock;
use crate::report::Outcome;
use series::{Buckets, Counts, LATENESS, RUN, Series};
use sheet::{Line, Sheet};

/// All that is counted since the daemon started. Every method takes `&self` and waits at most for
/// another one to look something up, never for a whole scrape.
#[derive(Debug)]
pub struct Metrics {
    version: String,
    started: DateTime<Utc>,
    jobs: Mutex<HashMap<Arc<str>, Arc<Mutex<Series>>>>,
    lateness: Mutex<Buckets<{ LATENESS.len() }>>,
    queue_depth: AtomicU64,
    active_runs: AtomicU64,
    clock_steps: AtomicU64,
    lost_records: AtomicU64,
    is_reloaded: AtomicBool,
    /// When a reload last succeeded, in milliseconds since the epoch.
    reloaded: AtomicI64,
    /// How many bytes the last page had.
    last_page: AtomicUsize,
}

/// What a scrape shows of a job beside what was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobGauges {
    /// Its name; of several with one name the first is taken.
    pub name: Arc<str>,
    /// When a run of it last ended clean or repaired, of all runs that are remembered.
    pub last_clean: Option<DateTime<Utc>>,
    /// Whether its slots are passed over until somebody resumes it.
    pub paused: bool,
    /// Whether a slot that has not been dealt with is late by more than the job's period.
    pub overdue: bool,
    /// Its next slot; `None` after the last.
    pub next: Option<DateTime<Utc>>,
    /// How long it is usual for no slot of it to come: for an interval its length, for cron the
    /// longest way between neighbouring slots about now, so that a job of working days does not
    /// look late on a Monday. `None` for a date.
    pub period: Option<Duration>,
}

impl Metrics {
    /// Nothing has happened yet, but that jobs.toml was read.
    #[must_use]
    pub fn new(version: &str) -> Self {
        let started = clock::wall();
        Self {
            version: version.to_owned(),
            started,
            jobs: Mutex::default(),
            lateness: Mutex::default(),
            queue_depth: AtomicU64::new(0),
            active_runs: AtomicU64::new(0),
            clock_steps: AtomicU64::new(0),
            lost_records: AtomicU64::new(0),
            is_reloaded: AtomicBool::new(true),
            reloaded: AtomicI64::new(started.timestamp_millis()),
            last_page: AtomicUsize::new(0),
        }
    }

    /// A slot has ended, run or not.
    pub fn record(&self, record: &Record) {
        let slots = u64::from(record.stands_for.max(1));
        self.count(&record.job.name, |counts| {
            let SlotEnd::Ran { outcome, report, .. } = &record.end else {
                if let SlotEnd::Paused { .. } = record.end {
                    counts.add_paused(record.end.word(), record.run, slots);
                } else {
                    counts.add_slots(record.end.word(), slots);
                }
                return;
            };
            counts.add_slots(outcome.word(), 1);
            counts.add_slots("coalesced", slots - 1);
            let is_dry = report.as_ref().is_some_and(|report| report.dry_run);
            if is_dry || *outcome == Outcome::Drift {
                return;
            }
            if let Some(took) = record.took {
                counts.seconds.get_or_insert_default().observe(&RUN, took.as_secs_f64());
            }
            if let Some(report) = report {
                counts.add_findings(*outcome, &report.findings);
            }
        });
    }

    /// An attempt was given to a worker at `at`. Of a run's first one it is measured how late its
    /// slot is: jitter, the queue and the loop itself.
    pub fn started(&self, order: &Order, at: DateTime<Utc>) {
        if order.attempt == 1 && order.cause == Cause::Slot {
            let late = (at - order.slot).to_std().unwrap_or_default();
            guard(&self.lateness).observe(&LATENESS, late.as_secs_f64());
        }
    }

    /// An attempt of a run of this job failed, and another will follow.
    pub fn retried(&self, job: &Arc<str>) {
        self.count(job, |counts| counts.retries += 1);
    }

    /// The wall clock stepped.
    pub fn clock_stepped(&self) {
        self.clock_steps.fetch_add(1, Relaxed);
    }

    /// A reload was tried; `at` is when it succeeded, and of no meaning if it did not.
    pub fn reloaded(&self, ok: bool, at: DateTime<Utc>) {
        self.is_reloaded.store(ok, Relaxed);
        if ok {
            self.reloaded.store(at.timestamp_millis(), Relaxed);
        }
    }

    /// So many runs are due and wait for a worker.
    pub fn set_queue_depth(&self, runs: usize) {
        self.queue_depth.store(runs as u64, Relaxed);
    }

    /// So many runs are active: begun and not ended, those that wait for a retry included.
    pub fn set_active_runs(&self, runs: usize) {
        self.active_runs.store(runs as u64, Relaxed);
    }

    /// So many records could not be written down since the start, and are lost.
    pub fn set_lost_records(&self, lost: u64) {
        self.lost_records.store(lost, Relaxed);
    }

    /// The job is gone, and all its series with it.
    pub fn forget(&self, job: &str) {
        guard(&self.jobs).remove(job);
    }

    /// A page of OpenMetrics text, with `# EOF` at its end. `jobs` are all the jobs there are, each
    /// as it is at `now`; the others are left out. It is served as
    /// `application/openmetrics-text; version=1.0.0; charset=utf-8`.
    #[must_use]
    pub fn encode(&self, jobs: impl Iterator<Item = JobGauges>, now: DateTime<Utc>) -> String {
        let mut gauges: Vec<JobGauges> = jobs.collect();
        gauges.sort_by(|one, other| one.name.cmp(&other.name));
        gauges.dedup_by(|later, first| later.name == first.name);
        let series = self.look_up(&gauges);
        // Each job is locked for as long as its figures take to copy; they are written afterwards.
        let lines = gauges.into_iter().zip(series).map(|(job, series)| {
            let mut series = guard(&series);
            let since = job.last_clean.unwrap_or(*series.known_since.get_or_insert(now));
            let since_clean = (now - since).to_std().unwrap_or_default();
            Line { job, since_clean, counts: series.counts.clone() }
        });
        let sheet = Sheet {
            version: self.version.clone(),
            started: self.started,
            lines: lines.collect(),
            lateness: guard(&self.lateness).clone(),
            queue_depth: self.queue_depth.load(Relaxed),
            active_runs: self.active_runs.load(Relaxed),
            clock_steps: self.clock_steps.load(Relaxed),
            lost_records: self.lost_records.load(Relaxed),
            is_reloaded: self.is_reloaded.load(Relaxed),
            reloaded: DateTime::from_timestamp_millis(self.reloaded.load(Relaxed)),
        };
        // A page that grows by doubling takes three times its size for a moment.
        let last = self.last_page.load(Relaxed);
        let page = sheet.into_text(last + last / 16);
        self.last_page.store(page.len(), Relaxed);
        page
    }

    /// The series of each of these jobs; those of others are dropped the second time.
    fn look_up(&self, gauges: &[JobGauges]) -> Vec<Arc<Mutex<Series>>> {
        let mut jobs = guard(&self.jobs);
        let series = |job: &JobGauges| {
            let series = match jobs.get(&job.name) {
                Some(series) => Arc::clone(series),
                None => Arc::clone(jobs.entry(Arc::clone(&job.name)).or_default()),
            };
            guard(&series).is_seen = true;
            series
        };
        let found: Vec<_> = gauges.iter().map(series).collect();
        if jobs.len() > found.len() {
            let is_named =
                |name: &Arc<str>| gauges.binary_search_by(|job| job.name.cmp(name)).is_ok();
            jobs.retain(|name, series| {
                is_named(name) || std::mem::replace(&mut guard(series).is_seen, false)
            });
        }
        found
    }

    fn count(&self, job: &Arc<str>, change: impl FnOnce(&mut Counts)) {
        let series = Arc::clone(guard(&self.jobs).entry(Arc::clone(job)).or_default());
        change(guard(&series).counts.get_or_insert_default());
    }
}

/// What is behind a lock that a panic may have poisoned: a figure less is better than no figures.
fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
