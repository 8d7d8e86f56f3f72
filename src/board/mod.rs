//! The board: what can be seen of the daemon from outside. The loop tells it what happens and never
//! waits for it; those who look at it never meet the loop.

mod line;
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
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use serde_json::{Map, Value};

use crate::agenda::{Order, Record, RunId};
use crate::clock;
use crate::config::{Job, without_secrets};
use crate::metrics::Metrics;
use crate::ping::Pinger;
use crate::state::{self, Added, OnDisk, Row, RunNumber};
use line::Line;
pub use view::{Counts, JobView, StatusView};
use watch::Watchers;
pub use watch::{Event, TooSlow, Watch};

/// How long those who have changed something wait until they can see it.
const CATCH_UP: Duration = Duration::from_secs(5);

/// How long the end of the daemon waits for the board: pings may take 2 s then.
const LAST_WORDS: Duration = Duration::from_secs(4);

/// What the loop tells.
#[derive(Debug)]
pub enum News {
    /// A job is on the agenda, with its next slot and its pause.
    Job {
        /// The job.
        job: Arc<Job>,
        /// Its next slot.
        next: Option<DateTime<Utc>>,
        /// Since when it is paused.
        paused: Option<DateTime<Utc>>,
    },
    /// A job is gone.
    Gone(Arc<str>),
    /// The jobs that were added at run time and are not valid (any more), each with its reason.
    Broken(Vec<(Added, String)>),
    /// A run waits.
    Waits(Order),
    /// An attempt was given to the pool.
    Started(Order, DateTime<Utc>),
    /// An attempt of a job's run failed; another follows.
    WillRetry(Arc<str>, RunId),
    /// A slot has ended.
    Ended(Box<Record>, DateTime<Utc>),
    /// jobs.toml was read again; the reason if it was not taken over.
    Reloaded(Option<String>, DateTime<Utc>),
    /// The clock stepped.
    ClockStepped,
    /// The daemon is about to end.
    Stopping,
}

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
    lines: BTreeMap<Arc<str>, Line>,
    broken: BTreeMap<Arc<str>, (Added, String)>,
    watchers: Watchers,
    /// How many news have been taken in.
    heard: u64,
    loaded_at: DateTime<Utc>,
    reload_error: Option<String>,
    clock_steps: u64,
    stopping: bool,
}

/// The loop's end of the board.
pub struct Teller {
    news: Sender<News>,
    told: u64,
    finished: Receiver<()>,
}

impl Teller {
    /// Tells something; never waits.
    pub fn tell(&mut self, news: News) {
        self.told += 1;
        self.news.send(news).ok();
    }

    /// How much has been told so far.
    #[must_use]
    pub fn told(&self) -> u64 {
        self.told
    }

    /// Waits until everything is told, and what it brings about is done; for 4 s at most.
    pub fn close(self) {
        drop(self.news);
        self.finished.recv_timeout(LAST_WORDS).ok();
    }
}

impl Board {
    /// Hangs up an empty board, and starts the thread that keeps it. What the state knows of earlier
    /// runs is read by that thread, once it has been told of the first jobs.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(about: About) -> io::Result<(Teller, Arc<Self>)> {
        let (sender, news) = unbounded();
        let inner = Inner {
            lines: BTreeMap::new(),
            broken: BTreeMap::new(),
            watchers: Watchers::default(),
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
        thread::Builder::new().name("board".to_owned()).spawn(move || {
            keeper.keep(&news, &pinger);
            pinger.close();
            done.send(()).ok();
        })?;
        Ok((Teller { news: sender, told: 0, finished }, board))
    }

    fn keep(&self, news: &Receiver<News>, pinger: &Pinger) {
        while let Ok(first) = news.recv() {
            let mut batch = vec![first];
            batch.extend(news.try_iter().take(1_000));
            self.recall(&batch);
            for news in &batch {
                self.count(news, pinger);
            }
            let mut inner = self.lock();
            for news in batch {
                inner.hear(news);
            }
            drop(inner);
            self.caught_up.notify_all();
        }
        // Those who watch are let go.
        self.lock().watchers = Watchers::default();
    }

    /// What Prometheus and those who are pinged learn of it.
    fn count(&self, news: &News, pinger: &Pinger) {
        match news {
            News::Started(order, at) => self.metrics.started(order, *at),
            News::WillRetry(job, _) => self.metrics.retried(job),
            News::Ended(record, _) => {
                self.metrics.record(record);
                if let Some(url) = record.ping() {
                    pinger.tell(&record.job.name, url);
                }
            }
            News::Reloaded(error, at) => self.metrics.reloaded(error.is_none(), *at),
            News::ClockStepped => self.metrics.clock_stepped(),
            News::Gone(job) => self.metrics.forget(job),
            News::Job { .. } | News::Broken(_) | News::Waits(_) | News::Stopping => {}
        }
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

    /// Reads what the state knows of jobs that are new on the board, without holding the board.
    fn recall(&self, batch: &[News]) {
        let new: Vec<Arc<str>> = {
            let inner = self.lock();
            let name = |news: &News| match news {
                News::Job { job, .. } if !inner.lines.contains_key(&job.name) => {
                    Some(Arc::clone(&job.name))
                }
                _ => None,
            };
            batch.iter().filter_map(name).collect()
        };
        if new.is_empty() {
            return;
        }
        let names = new.iter().map(AsRef::as_ref);
        let known = match state::last(&self.about.state, names, clock::wall()) {
            Ok(known) => known,
            Err(error) => {
                log::debug!("nothing is known of earlier runs: {error}");
                return;
            }
        };
        let mut inner = self.lock();
        for (name, last) in new.into_iter().zip(known) {
            inner.lines.entry(name).or_default().recall(last);
        }
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
        let broken = inner.broken.iter().map(|(_, (added, why))| JobView::broken(added, why));
        let mut jobs: Vec<JobView> = lines.chain(broken).collect();
        jobs.sort_by(|a, b| a.name.cmp(&b.name));
        jobs
    }

    /// One job.
    #[must_use]
    pub fn job(&self, name: &str, now: DateTime<Utc>) -> Option<JobView> {
        let inner = self.lock();
        let broken = || inner.broken.get(name).map(|(added, why)| JobView::broken(added, why));
        inner.lines.get(name).and_then(|line| line.view(now)).or_else(broken)
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
        inner.lines.keys().chain(inner.broken.keys()).cloned().collect()
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
        let (mut active, mut given) = (0, 0);
        for line in inner.lines.values() {
            let Some(view) = line.view(now) else { continue };
            counts.add(&view);
            active += view.running.len();
            given += view.running.iter().filter(|run| run.started_at.is_some()).count();
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
            // What was given to the pool and is more than its threads can hold waits in its queue.
            queue_depth: given.saturating_sub(self.about.workers as usize),
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

impl Inner {
    fn hear(&mut self, news: News) {
        self.heard += 1;
        match news {
            News::Job { job, next, paused } => {
                let name = Arc::clone(&job.name);
                self.lines.entry(Arc::clone(&name)).or_default().set(job, next, paused);
                self.broken.remove(&name);
                self.show_job(&name);
            }
            News::Gone(name) => {
                self.lines.remove(&name);
                self.broken.remove(&name);
                self.watchers.gone(&name);
            }
            News::Broken(broken) => {
                let entry = |(added, why): (Added, String)| (Arc::from(&*added.name), (added, why));
                self.broken = broken.into_iter().map(entry).collect();
                for (name, (added, why)) in &self.broken {
                    self.watchers.job(name, &JobView::broken(added, why));
                }
            }
            News::Waits(order) => self.begun(&order, None),
            News::Started(order, at) => self.begun(&order, Some(at)),
            News::WillRetry(job, run) => {
                if let Some(line) = self.lines.get_mut(&job) {
                    line.will_retry(run);
                }
                self.show_job(&job);
            }
            News::Ended(record, at) => self.ended(&record, at),
            News::Reloaded(error, at) => {
                if error.is_none() {
                    self.loaded_at = at;
                }
                self.reload_error = error;
                self.watchers.reloaded();
            }
            News::ClockStepped => self.clock_steps += 1,
            News::Stopping => self.stopping = true,
        }
    }

    fn begun(&mut self, order: &Order, at: Option<DateTime<Utc>>) {
        let name = &order.job.name;
        let Some(line) = self.lines.get_mut(name) else { return };
        let started = line.begun(order, at);
        if self.watchers.any() {
            self.watchers.run(name, &Row::begun(order, started).shown(order.job.zone));
            self.show_job(name);
        }
    }

    fn ended(&mut self, record: &Record, at: DateTime<Utc>) {
        let name = &record.job.name;
        let row = Row::of(record, at);
        if let Some(line) = self.lines.get_mut(name) {
            line.ended(record, row.clone());
        }
        if self.watchers.any() {
            self.watchers.run(name, &row.shown(record.job.zone));
            self.show_job(name);
        }
    }

    fn show_job(&mut self, name: &Arc<str>) {
        if self.watchers.any()
            && let Some(view) = self.lines.get(name).and_then(|line| line.view(clock::wall()))
        {
            self.watchers.job(name, &view);
        }
    }
}
