//! What the loop tells the board, and the queue in which it waits. The loop never waits for the board, so the
//! queue takes everything; one that grows is thinned out to what still matters, so that it is bounded by how
//! many jobs and runs there are and not by how much happens.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use crossbeam_channel::Receiver;

use super::LAST_WORDS;
use crate::agenda::{Order, Record, RunId};
use crate::config::Job;
use crate::state::Added;

/// News that may wait before they are thinned out for the first time.
const MOST: usize = 50_000;

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
    /// The run of a job has ended, and how was thinned out: a later one's end was told after it.
    Over(Arc<str>, RunId),
    /// jobs.toml was read again; the reason if it was not taken over.
    Reloaded(Option<String>, DateTime<Utc>),
    /// The clock stepped.
    ClockStepped,
    /// The daemon is about to end.
    Stopping,
}

/// The loop's end of the queue.
pub struct Teller {
    queue: Arc<Queue>,
    told: u64,
    finished: Receiver<()>,
}

impl Teller {
    pub(super) fn new(queue: Arc<Queue>, finished: Receiver<()>) -> Self {
        Self { queue, told: 0, finished }
    }

    /// Tells something; never waits.
    pub fn tell(&mut self, news: News) {
        self.told += 1;
        self.queue.push(self.told, news);
    }

    /// How much has been told so far.
    #[must_use]
    pub fn told(&self) -> u64 {
        self.told
    }

    /// Waits until everything is told, and what it brings about is done; for 4 s at most.
    pub fn close(self) {
        self.queue.close();
        self.finished.recv_timeout(LAST_WORDS).ok();
    }
}

/// A loop that ended in a panic has nothing more to tell.
impl Drop for Teller {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// The news on their way.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    more: Condvar,
}

#[derive(Default)]
struct Inner {
    /// Each with its number, from 1.
    news: VecDeque<(u64, News)>,
    last: u64,
    /// How many were left when they were last thinned out.
    left: usize,
    /// Ends of runs that were thinned out since the queue was last empty.
    dropped: usize,
    closed: bool,
}

/// Some of the news, in their order, and the number up to which everything has been given then.
pub(super) struct Batch {
    pub(super) news: Vec<News>,
    pub(super) up_to: u64,
}

impl Queue {
    fn push(&self, number: u64, news: News) {
        let mut inner = self.lock();
        inner.last = number;
        inner.news.push_back((number, news));
        // Twice what was left: to thin out costs no more than to have told it.
        if inner.news.len() >= MOST.max(2 * inner.left) {
            inner.thin_out();
        }
        drop(inner);
        self.more.notify_one();
    }

    fn close(&self) {
        self.lock().closed = true;
        self.more.notify_one();
    }

    /// Waits for news and takes up to `most` of them; `None` once there will be none any more.
    pub(super) fn take(&self, most: usize) -> Option<Batch> {
        let mut inner = self.lock();
        while inner.news.is_empty() {
            if inner.closed {
                return None;
            }
            inner = self.more.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        let most = most.min(inner.news.len());
        let taken: Vec<(u64, News)> = inner.news.drain(..most).collect();
        let mut up_to = taken.last().map_or(0, |(number, _)| *number);
        if inner.news.is_empty() {
            (up_to, inner.left, inner.dropped) = (inner.last, 0, 0);
            inner.news.shrink_to(MOST / 16);
        }
        Some(Batch { news: taken.into_iter().map(|(_, news)| news).collect(), up_to })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Drops what later news say anew. Of the ends of a job's runs only the last is kept whole; so the others are
    /// neither counted for Prometheus nor pinged, which is said once.
    fn thin_out(&mut self) {
        let (mut told, mut gone, mut ended) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let (mut over, mut begun) = (BTreeSet::new(), BTreeSet::new());
        // Ends of runs whose beginning is thinned out as well: nobody has heard of them.
        let mut unheard = BTreeSet::new();
        let (mut is_broken_told, mut dropped) = (false, 0);
        let mut kept: Vec<(u64, News)> = Vec::new();
        for (number, news) in std::mem::take(&mut self.news).into_iter().rev() {
            let news = match news {
                News::Job { ref job, .. } => told.insert(Arc::clone(&job.name)).then_some(news),
                News::Gone(ref name) => {
                    told.insert(Arc::clone(name));
                    gone.insert(Arc::clone(name)).then_some(news)
                }
                News::Broken(_) => (!std::mem::replace(&mut is_broken_told, true)).then_some(news),
                News::Waits(ref order) | News::Started(ref order, _) => {
                    let is_over = over.contains(&order.run);
                    if is_over {
                        unheard.insert(order.run);
                    }
                    (!is_over && begun.insert(order.run)).then_some(news)
                }
                News::WillRetry(_, run) => {
                    (!over.contains(&run) && begun.insert(run)).then_some(news)
                }
                News::Ended(record, at) => {
                    let (name, run) = (Arc::clone(&record.job.name), record.run);
                    if !over.insert(run) {
                        // The record of a pause comes again with every slot, and says all that it said before.
                        None
                    } else if ended.insert(Arc::clone(&name)) {
                        Some(News::Ended(record, at))
                    } else {
                        dropped += 1;
                        Some(News::Over(name, run))
                    }
                }
                News::Over(_, run) => over.insert(run).then_some(news),
                News::Reloaded(..) | News::ClockStepped | News::Stopping => Some(news),
            };
            kept.extend(news.map(|news| (number, news)));
        }
        kept.retain(|(_, news)| !matches!(news, News::Over(_, run) if unheard.contains(run)));
        self.news = kept.into_iter().rev().collect();
        self.left = self.news.len();
        if self.dropped == 0 && dropped > 0 {
            log::error!(
                "the board cannot keep up: the ends of {dropped} slots and more are neither counted in \
                 /metrics nor pinged; all of them are on record"
            );
        }
        self.dropped += dropped;
    }
}
