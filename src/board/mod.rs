//! The board: what can be seen of the daemon from outside. The loop tells it what happens and never
//! waits for it; those who look at it never meet the loop.

mod keep;
mod line;
mod news;
mod recall;
mod view;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use crossbeam_channel::bounded;
use serde_json::{Map, Value};

use crate::clock;
use crate::config::{Job, without_secrets};
use crate::metrics::Metrics;
use crate::ping::Pinger;
use crate::state::{self, Added, OnDisk, Row, RunNumber};
use line::Line;
use news::Queue;
pub use news::{News, Teller};
use recall::Recall;
pub use view::{Counts, JobView, StatusView};
use watch::Watchers;
pub use watch::{Event, TooSlow, Watch};

/// How long those who have changed something wait until they can see it.
const CATCH_UP: Duration = Duration::from_secs(5);

/// How long the end of the daemon waits for the board: pings may take 2 s then.
const LAST_WORDS: Duration = Duration::from_secs(4);

/// What is known of the daemon when it starts.
#[derive(Debug, Clone)]
pub struct About {
    /// When it started.
    pub started: DateTime<Utc>,
    /// Its jobs.toml.
    pub file: PathBuf,
    /// Its state.
    pub state: PathBuf,
    /// The threads of its pool.
    pub workers: u32,
    /// The zone of jobs that name none.
    pub zone: Tz,
    /// Whether the state is written, as its writer last found.
    pub written: Arc<AtomicBool>,
    /// How far the writer of the state has come.
    pub on_disk: Arc<OnDisk>,
    /// How many of its changes were lost.
    pub lost: Arc<AtomicU64>,
}

impl About {
    /// Whether what happens is remembered.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.written.load(Ordering::Acquire)
    }
}

/// The board, for those who look at it.
pub struct Board {
    about: About,
    metrics: Metrics,
    inner: Mutex<Inner>,
    caught_up: Condvar,
}

struct Inner {
    /// The jobs, and those that are gone while a run of theirs is still at work.
    lines: BTreeMap<Arc<str>, Line>,
    broken: BTreeMap<Arc<str>, (Added, String)>,
    watchers: Watchers,
    /// The zone of jobs that name none.
    zone: Tz,
    /// Up to where the news have been taken in.
    heard: u64,
    loaded_at: DateTime<Utc>,
    reload_error: Option<String>,
    clock_steps: u64,
    stopping: bool,
}

impl Board {
    /// Hangs up an empty board, and starts the thread that keeps it. What the state knows of earlier
    /// runs is read by that thread, once it has been told of the first jobs.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(about: About) -> io::Result<(Teller, Arc<Self>)> {
        let queue = Arc::new(Queue::default());
        let inner = Inner {
            lines: BTreeMap::new(),
            broken: BTreeMap::new(),
            watchers: Watchers::default(),
            zone: about.zone,
            heard: 0,
            loaded_at: about.started,
            reload_error: None,
            clock_steps: 0,
            stopping: false,
        };
        let board = Arc::new(Self {
            about,
            metrics: Metrics::new(env!("CARGO_PKG_VERSION")),
            inner: Mutex::new(inner),
            caught_up: Condvar::new(),
        });
        let (keeper, pinger) = (Arc::clone(&board), Pinger::start()?);
        let (done, finished) = bounded(1);
        let news = Arc::clone(&queue);
        thread::Builder::new().name("board".to_owned()).spawn(move || {
            keeper.keep(&news, &pinger);
            pinger.close();
            done.send(()).ok();
        })?;
        Ok((Teller::new(queue, finished), board))
    }

    /// The page for Prometheus.
    #[must_use]
    pub fn metrics(&self, now: DateTime<Utc>) -> String {
        let status = self.status(now);
        self.metrics.set_queue_depth(status.queue_depth);
        self.metrics.set_active_runs(status.active_runs);
        self.metrics.set_lost_records(self.about.lost.load(Ordering::Relaxed));
        let gauges: Vec<_> =
            self.lock().lines.values().filter_map(|line| line.gauges(now)).collect();
        self.metrics.encode(gauges.into_iter(), now)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while the board was held can have left nothing worse than an old line.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything up to `told` can be seen; 5 s at most.
    pub fn catch_up(&self, told: u64) {
        let end = clock::monotonic() + CATCH_UP;
        let mut inner = self.lock();
        while inner.heard < told {
            let left = end.saturating_duration_since(clock::monotonic());
            if left.is_zero() {
                return;
            }
            let waited = self.caught_up.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What is known since the start.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// All the jobs, by name.
    #[must_use]
    pub fn jobs(&self, now: DateTime<Utc>) -> Vec<JobView> {
        let inner = self.lock();
        let lines = inner.lines.values().filter_map(|line| line.view(now));
        let broken = inner.broken.values().map(|(added, why)| self.view_broken(added, why));
        let mut jobs: Vec<JobView> = lines.chain(broken).collect();
        jobs.sort_by(|a, b| a.name.cmp(&b.name));
        jobs
    }

    /// One job.
    #[must_use]
    pub fn job(&self, name: &str, now: DateTime<Utc>) -> Option<JobView> {
        let inner = self.lock();
        let broken = || inner.broken.get(name).map(|(added, why)| self.view_broken(added, why));
        inner.lines.get(name).and_then(|line| line.view(now)).or_else(broken)
    }

    fn view_broken(&self, added: &Added, why: &str) -> JobView {
        JobView::broken(added, why, self.about.zone)
    }

    /// One job as it is defined, unless it is broken.
    #[must_use]
    pub fn definition(&self, name: &str) -> Option<Arc<Job>> {
        self.lock().lines.get(name).and_then(Line::job)
    }

    /// What a broken job was defined as.
    #[must_use]
    pub fn broken(&self, name: &str) -> Option<Map<String, Value>> {
        self.lock().broken.get(name).map(|(added, _)| without_secrets(&added.definition))
    }

    /// A run that has begun and may not have reached the disk, or the last one of its job.
    #[must_use]
    pub fn run(&self, number: RunNumber) -> Option<Row> {
        self.lock().lines.values().find_map(|line| line.run(number))
    }

    /// The names of all jobs.
    #[must_use]
    pub fn names(&self) -> Vec<Arc<str>> {
        let inner = self.lock();
        let known = inner.lines.iter().filter(|(_, line)| line.job().is_some());
        known.map(|(name, _)| name).chain(inner.broken.keys()).cloned().collect()
    }

    /// The zone in which the times of a job are shown.
    #[must_use]
    pub fn zone(&self, job: &str) -> Tz {
        self.definition(job).map_or(self.about.zone, |job| job.zone)
    }

    /// How the daemon is.
    #[must_use]
    pub fn status(&self, now: DateTime<Utc>) -> StatusView {
        let inner = self.lock();
        let mut counts = Counts { broken: inner.broken.len(), ..Counts::default() };
        counts.total = counts.broken;
        let (mut active, mut given, mut ready) = (0, 0, 0);
        for line in inner.lines.values() {
            counts.add(line.state(), line.overdue(now));
            // A run of a job that is gone takes its worker all the same.
            let runs = line.runs();
            (active, given, ready) = (active + runs.active, given + runs.given, ready + runs.ready);
        }
        let time = |at| state::time(at, self.about.zone);
        StatusView {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            started_at: time(self.about.started),
            now: time(now),
            timezone: self.about.zone.name(),
            file: self.about.file.clone(),
            loaded_at: time(inner.loaded_at),
            reload_error: inner.reload_error.clone(),
            state: self.about.state.clone(),
            workers: self.about.workers,
            // What was given to the pool and is more than its threads can hold waits in its queue; what
            // the pool has no place for waits with the agenda.
            queue_depth: given.saturating_sub(self.about.workers as usize) + ready,
            active_runs: active,
            clock_steps: inner.clock_steps,
            stopping: inner.stopping,
            jobs: counts,
        }
    }

    /// Watches what happens from now on, to one job or to all.
    #[must_use]
    pub fn watch(&self, job: Option<&str>) -> Watch {
        self.lock().watchers.add(job)
    }
}
