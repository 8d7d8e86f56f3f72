//! A fixed number of std threads behind a bounded queue (S8). Every order is answered: a run that
//! panics answers like any other, and its thread lives on.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use std::{io, thread};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::agenda::{Cause, Ended, Order, RunId};
use crate::clock;
use crate::jobs::{Cancel, RunError};
use crate::report::Outcome;

/// Orders that may wait in the pool's queue, beside those that run.
pub const QUEUE: usize = 4096;

/// How many orders a pool with so many workers takes at once, running and waiting.
#[must_use]
pub fn places(workers: u32) -> usize {
    workers as usize + QUEUE
}

/// What a worker does with an order.
pub type Work = dyn Fn(&Order, &Cancel) -> Ended + Send + Sync;

/// Where a worker sends its answer.
pub type Answer = dyn Fn(RunId, Ended) + Send + Sync;

/// The pool. Dropping it lets the threads end after what they are at.
pub struct Pool {
    queue: Sender<Ticket>,
    closed: Arc<AtomicBool>,
}

struct Ticket {
    order: Order,
    cancel: Cancel,
    queued: Instant,
}

impl Pool {
    /// Starts `workers` threads.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(workers: u32, work: &Arc<Work>, answer: &Arc<Answer>) -> io::Result<Self> {
        // Room for those that run as well: a worker may not have taken its order yet when the agenda
        // gives out the last place.
        let (queue, tickets) = bounded(places(workers));
        let closed = Arc::new(AtomicBool::new(false));
        for number in 1..=workers {
            let (tickets, closed) = (tickets.clone(), Arc::clone(&closed));
            let (work, answer) = (Arc::clone(work), Arc::clone(answer));
            thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || serve(&tickets, &closed, &*work, &*answer))?;
        }
        Ok(Self { queue, closed })
    }

    /// Queues an order and never waits; false if the queue is full, which an agenda that counts
    /// the places does not let happen.
    #[must_use]
    pub fn submit(&self, order: Order, cancel: Cancel) -> bool {
        let queued = clock::monotonic();
        self.queue.try_send(Ticket { order, cancel, queued }).is_ok()
    }

    /// From now on, what waits in the queue is answered without being run.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

fn serve(tickets: &Receiver<Ticket>, closed: &AtomicBool, work: &Work, answer: &Answer) {
    while let Ok(Ticket { order, cancel, queued }) = tickets.recv() {
        let waited = clock::monotonic().saturating_duration_since(queued);
        let ended = if closed.load(Ordering::Acquire) {
            Ended::NotStarted
        } else if order.attempt == 1
            && order.cause == Cause::Slot
            && waited > order.job.limits.misfire_grace
        {
            Ended::Expired { waited }
        } else {
            let run = AssertUnwindSafe(|| work(&order, &cancel));
            panic::catch_unwind(run).unwrap_or_else(|payload| panicked(&*payload))
        };
        answer(order.run, ended);
    }
}

fn panicked(payload: &(dyn Any + Send)) -> Ended {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
    let error = RunError::Panicked(text);
    Ended::Done {
        outcome: Outcome::Failed,
        reason: Some(error.to_string()),
        retry: error.is_passing(),
        report: None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use chrono::{TimeDelta, Utc};

    use super::*;
    use crate::config::{self, ServerKind, Surroundings};

    const SOON: Duration = Duration::from_secs(20);

    fn order(run: u64, attempt: u32) -> Order {
        let text = "[mysql.a]\nurl = 'mysql://h/d'\n[redis.a]\nurl = 'redis://h'\n[jobs.j]\n\
                    interval = '1s'\nquery = 'SELECT 1, 1'\ntarget = { zset = 'k' }\n\
                    misfire_grace = '100ms'";
        let none = |_: &str| Err(String::new());
        let surroundings = Surroundings {
            system_zone: chrono_tz::Tz::UTC,
            variable: &none,
            credential: &none,
            check_url: &|_: ServerKind, _: &str| Ok(()),
        };
        let config = config::parse("jobs.toml", text, &surroundings).unwrap();
        let job = Arc::clone(config.jobs.values().next().unwrap());
        let slot = Utc::now() - TimeDelta::seconds(1);
        Order { run: RunId(run), job, slot, attempt, cause: Cause::Slot }
    }

    /// A pool whose answers come out of the channel.
    fn pool(
        workers: u32,
        work: impl Fn(&Order, &Cancel) -> Ended + Send + Sync + 'static,
    ) -> (Pool, mpsc::Receiver<(RunId, Ended)>) {
        let (sender, answers) = mpsc::channel();
        let answer: Arc<Answer> = Arc::new(move |run, ended| {
            sender.send((run, ended)).ok();
        });
        let work: Arc<Work> = Arc::new(work);
        (Pool::start(workers, &work, &answer).unwrap(), answers)
    }

    #[test]
    fn s8_a_run_that_panics_answers_like_any_other_and_its_thread_lives_on() {
        let (pool, answers) = pool(1, |order, _| match order.run.0 {
            1 => panic!("what is the {}", "matter"),
            _ => Ended::NotStarted,
        });
        for run in 1..=3 {
            assert!(pool.submit(order(run, 2), Cancel::default()));
        }
        let (run, ended) = answers.recv_timeout(SOON).unwrap();
        let Ended::Done { outcome, reason, retry, .. } = ended else { panic!("{ended:?}") };
        assert_eq!((run, outcome, retry), (RunId(1), Outcome::Failed, true));
        assert!(reason.unwrap().contains("a defect in recountd: what is the matter"));
        for run in 2..=3 {
            assert_eq!(answers.recv_timeout(SOON), Ok((RunId(run), Ended::NotStarted)));
        }
    }

    #[test]
    fn s8_a_first_attempt_that_waited_longer_than_its_grace_does_not_run() {
        let (go, gate) = mpsc::channel::<()>();
        let gate = std::sync::Mutex::new(gate);
        let (pool, answers) = pool(1, move |order, _| {
            if order.run.0 == 1 {
                gate.lock().unwrap().recv().ok();
            }
            Ended::NotStarted
        });
        for (run, attempt) in [(1, 1), (2, 1), (3, 2)] {
            assert!(pool.submit(order(run, attempt), Cancel::default()));
        }
        // Nobody else can let the first run go on before its grace is over.
        let begun = clock::monotonic();
        while clock::monotonic().saturating_duration_since(begun) < Duration::from_millis(150) {
            thread::yield_now();
        }
        go.send(()).unwrap();
        let ends: Vec<Ended> = (0..3).map(|_| answers.recv_timeout(SOON).unwrap().1).collect();
        assert!(matches!(ends[1], Ended::Expired { waited } if waited.as_millis() >= 100));
        assert_eq!(ends[2], Ended::NotStarted, "a retry runs however long it waited");
    }

    #[test]
    fn a_closed_pool_answers_what_waits_without_running_it() {
        let (go, gate) = mpsc::channel::<()>();
        let gate = std::sync::Mutex::new(gate);
        let (begins, begun) = mpsc::channel();
        let begins = std::sync::Mutex::new(begins);
        let (pool, answers) = pool(1, move |_, _| {
            begins.lock().unwrap().send(()).ok();
            gate.lock().unwrap().recv().ok();
            Ended::Expired { waited: Duration::ZERO }
        });
        for run in 1..=2 {
            assert!(pool.submit(order(run, 1), Cancel::default()));
        }
        begun.recv_timeout(SOON).unwrap();
        pool.close();
        go.send(()).unwrap();
        let ends: Vec<Ended> = (0..2).map(|_| answers.recv_timeout(SOON).unwrap().1).collect();
        assert_eq!(ends, [Ended::Expired { waited: Duration::ZERO }, Ended::NotStarted]);
    }

    #[test]
    fn a_full_queue_says_so_and_never_waits() {
        let (go, gate) = mpsc::channel::<()>();
        let gate = std::sync::Mutex::new(gate);
        let (pool, _answers) = pool(1, move |_, _| {
            gate.lock().unwrap().recv().ok();
            Ended::NotStarted
        });
        let accepted = (1..).take_while(|run| pool.submit(order(*run, 2), Cancel::default()));
        assert!(accepted.count() >= places(1));
        drop(go);
    }
}
