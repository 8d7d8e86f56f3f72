//! The thread that keeps the board: it takes in what the loop tells.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::news::{News, Queue};
use super::{Board, Inner, JobView, Recall, Watchers};
use crate::agenda::{Order, Record};
use crate::clock;
use crate::ping::Pinger;
use crate::state::{Added, Row};

/// News that are taken in between two moments at which others may look.
const AT_ONCE: usize = 1_000;

impl Board {
    /// Keeps the board until there is nothing left to be told.
    pub(super) fn keep(&self, queue: &Queue, pinger: &Pinger) {
        let mut recall = Recall::of(self.about.state.clone());
        while let Some(batch) = queue.take(AT_ONCE) {
            ping(&batch.news, pinger);
            // The state is read without holding the board.
            let mut known = recall.about(self.new_in(&batch.news));
            let mut inner = self.lock();
            for news in batch.news {
                self.count(&inner, &news);
                let job = match &news {
                    News::Job { job, .. } => Some(Arc::clone(&job.name)),
                    News::Gone(job) => {
                        recall.forget(job);
                        None
                    }
                    _ => None,
                };
                if let Some(name) = job
                    && let Some(last) = known.remove(&name)
                {
                    inner.lines.entry(name).or_default().recall(last);
                }
                inner.hear(news);
            }
            // What could not be told earlier.
            for (name, last) in known {
                if let Some(line) = inner.lines.get_mut(&name) {
                    line.recall(last);
                    inner.show_job(&name);
                }
            }
            inner.heard = batch.up_to;
            drop(inner);
            self.caught_up.notify_all();
        }
        // Those who watch are let go.
        self.lock().watchers = Watchers::default();
    }

    /// The jobs that are new on the board with these news, or had their name taken over.
    fn new_in(&self, batch: &[News]) -> BTreeSet<Arc<str>> {
        let inner = self.lock();
        let mut gone = BTreeSet::new();
        let mut new = BTreeSet::new();
        for news in batch {
            match news {
                News::Gone(name) => {
                    gone.insert(Arc::clone(name));
                }
                News::Job { job, .. } => {
                    let is_known =
                        inner.lines.get(&job.name).is_some_and(|line| line.is_recalled());
                    if !is_known || gone.contains(&job.name) {
                        new.insert(Arc::clone(&job.name));
                    }
                }
                _ => {}
            }
        }
        new
    }

    /// What Prometheus learns of it. A run that is still at work when its job is removed counts for no job: the figures
    /// of that one are gone, and those of another one of its name are not its.
    fn count(&self, inner: &Inner, news: &News) {
        match news {
            News::Started(order, at) => self.metrics.started(order, *at),
            News::WillRetry(job, run) => {
                if inner.lines.get(job).is_some_and(|line| line.counts(*run)) {
                    self.metrics.retried(job);
                }
            }
            News::Ended(record, _) => {
                let line = inner.lines.get(&record.job.name);
                if line.is_some_and(|line| line.counts(record.run)) {
                    self.metrics.record(record);
                }
            }
            News::Reloaded(error, at) => self.metrics.reloaded(error.is_none(), *at),
            News::ClockStepped => self.metrics.clock_stepped(),
            News::Gone(job) => self.metrics.forget(job),
            News::Job { .. }
            | News::Broken(_)
            | News::Waits(_)
            | News::Over(..)
            | News::Stopping => {}
        }
    }
}

fn ping(batch: &[News], pinger: &Pinger) {
    for news in batch {
        if let News::Ended(record, _) = news
            && let Some(url) = record.ping()
        {
            pinger.tell(&record.job.name, url);
        }
    }
}

impl Inner {
    fn hear(&mut self, news: News) {
        match news {
            News::Job { job, next, paused } => {
                let name = Arc::clone(&job.name);
                self.lines.entry(Arc::clone(&name)).or_default().set(job, next, paused);
                self.broken.remove(&name);
                self.show_job(&name);
            }
            News::Gone(name) => {
                if let Some(line) = self.lines.get_mut(&name) {
                    line.leave();
                }
                self.clear(&name);
                self.broken.remove(&name);
                self.watchers.gone(&name);
            }
            News::Broken(broken) => {
                let entry = |(added, why): (Added, String)| (Arc::from(&*added.name), (added, why));
                self.broken = broken.into_iter().map(entry).collect();
                for (name, (added, why)) in &self.broken {
                    self.watchers.job(name, &JobView::broken(added, why, self.zone));
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
            News::Over(job, run) => {
                if let Some(line) = self.lines.get_mut(&job) {
                    line.over(run);
                }
                self.clear(&job);
            }
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
        self.clear(name);
        if self.watchers.any() {
            self.watchers.run(name, &row.shown(record.job.zone));
            self.show_job(name);
        }
    }

    /// Takes the line of a job off that is gone, once none of its runs is at work any more.
    fn clear(&mut self, name: &Arc<str>) {
        if self.lines.get(name).is_some_and(|line| line.is_empty()) {
            self.lines.remove(name);
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
