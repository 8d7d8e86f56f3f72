//! What the loop tells the board, and the queue in which it waits. The loop never waits for the board, so the
//! queue takes everything; one that grows is thinned out to what still matters, so that it is bounded by how
//! many jobs and runs there are and not by how much happens.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, Utc};
use crossbeam_channel::Receiver;

use super::LAST_WORDS;
use crate::agenda::{Order, Record, RunId};
use crate::config::Job;
use crate::state::Added;

/// How long the board lets news gather before it takes them in.
const GATHER: Duration = Duration::from_millis(10);
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
    /// Runs whose end is here and whose beginning was thinned out: nobody has heard of them.
    unheard: BTreeSet<RunId>,
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
            if inner.news.is_empty() {
                continue;
            }
            // Slots that are due together bring many news. Their runs come first: the board looks when
            // the loop has handed them out, and does not take their time on the processors.
            drop(inner);
            thread::sleep(GATHER);
            inner = self.lock();
        }
        let most = most.min(inner.news.len());
        let taken: Vec<(u64, News)> = inner.news.drain(..most).collect();
        let mut up_to = taken.last().map_or(0, |(number, _)| *number);
        if inner.news.is_empty() {
            (up_to, inner.left, inner.dropped) = (inner.last, 0, 0);
            inner.unheard.clear();
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
        let mut whole = BTreeSet::new();
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
                        self.unheard.insert(order.run);
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
                        whole.insert(run);
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
        kept.retain(|(_, news)| !matches!(news, News::Over(_, run) if self.unheard.contains(run)));
        self.unheard.retain(|run| whole.contains(run));
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

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::agenda::{Cause, SlotEnd};
    use crate::config::{self, Surroundings};
    use crate::report::Outcome;

    fn job(name: &str) -> Arc<Job> {
        let text = format!(
            "mysql.a.url = 'mysql://h/d'\nredis.a.url = 'redis://h'\n[jobs.{name}]\n\
             interval = '1s'\nquery = 'SELECT 1, 1'\ntarget = {{ zset = 'k' }}\n"
        );
        let none = |_: &str| Err("none".to_owned());
        let surroundings = Surroundings {
            system_zone: chrono_tz::Tz::UTC,
            variable: &none,
            credential: &none,
            check_url: &|_, _| Ok(()),
        };
        let config = config::parse("jobs.toml", &text, &surroundings).unwrap();
        Arc::clone(&config.jobs[name])
    }

    fn at(run: u64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(i64::try_from(run).unwrap())
    }

    fn put(job: &Arc<Job>, run: u64) -> News {
        News::Job { job: Arc::clone(job), next: Some(at(run)), paused: None }
    }

    fn started(job: &Arc<Job>, run: u64) -> News {
        let (job, cause) = (Arc::clone(job), Cause::Slot);
        News::Started(Order { run: RunId(run), job, slot: at(run), attempt: 1, cause }, at(run))
    }

    fn ended(job: &Arc<Job>, run: u64) -> News {
        let end = SlotEnd::Ran { outcome: Outcome::Clean, attempts: 1, reason: None, report: None };
        let record = Record {
            job: Arc::clone(job),
            slot: at(run),
            run: RunId(run),
            cause: Cause::Slot,
            started: Some(at(run)),
            took: None,
            stands_for: 1,
            end,
        };
        News::Ended(Box::new(record), at(run))
    }

    fn in_words(news: &News) -> String {
        match news {
            News::Job { job, next, .. } => {
                format!("job {} {}", job.name, next.unwrap().timestamp())
            }
            News::Gone(job) => format!("gone {job}"),
            News::Started(order, _) => format!("started {}", order.run),
            News::Ended(record, _) => format!("ended {}", record.run),
            News::Over(_, run) => format!("over {run}"),
            other => format!("{other:?}"),
        }
    }

    fn taken(queue: &Queue, most: usize) -> (Vec<String>, u64) {
        let batch = queue.take(most).unwrap();
        (batch.news.iter().map(in_words).collect(), batch.up_to)
    }

    #[test]
    fn what_is_told_is_taken_in_its_order_and_counted() {
        let (queue, a) = (Queue::default(), job("a"));
        for (number, news) in (1..).zip([put(&a, 1), started(&a, 1), ended(&a, 1)]) {
            queue.push(number, news);
        }
        assert_eq!(taken(&queue, 2), (vec!["job a 1".to_owned(), "started 1".to_owned()], 2));
        queue.close();
        assert_eq!(taken(&queue, 2), (vec!["ended 1".to_owned()], 3));
        assert!(queue.take(2).is_none());
    }

    #[test]
    fn a_board_that_does_not_keep_up_costs_memory_for_what_there_is_and_not_for_what_happens() {
        let (queue, jobs) = (Queue::default(), [job("a"), job("b")]);
        let mut told = 0;
        let mut tell = |news| {
            told += 1;
            queue.push(told, news);
            assert!(queue.lock().news.len() <= MOST);
        };
        // The board hears of two beginnings, and of nothing after that.
        tell(started(&jobs[0], 1));
        tell(started(&jobs[1], 2));
        assert_eq!(queue.take(2).unwrap().up_to, 2);
        let rounds = MOST as u64;
        for run in 3..rounds {
            let job = &jobs[usize::from(run % 2 == 0)];
            tell(put(job, run));
            tell(started(job, run));
            tell(ended(job, run));
            match run {
                3 => tell(ended(&jobs[0], 1)),
                5 => tell(News::Gone(Arc::clone(&jobs[0].name))),
                7 => tell(News::Reloaded(None, at(7))),
                _ => {}
            }
        }
        tell(started(&jobs[0], rounds));
        queue.lock().thin_out();
        let (news, up_to) = taken(&queue, MOST);
        assert_eq!(up_to, told, "who waits for what was thinned out waits no longer");
        let (last, other) = (rounds - 1, rounds - 2);
        let want = [
            "over 1".to_owned(),
            "gone a".to_owned(),
            "Reloaded(None, 1970-01-01T00:00:07Z)".to_owned(),
            format!("job b {other}"),
            format!("ended {other}"),
            format!("job a {last}"),
            format!("ended {last}"),
            format!("started {rounds}"),
        ];
        assert_eq!(news, want, "run 2 goes on");
    }
}
