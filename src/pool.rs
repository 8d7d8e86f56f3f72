//! A fixed number of std threads behind a bounded queue (S8). Every order is answered: a run that
//! panics answers like any other, and its thread lives on.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use std::{io, thread};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::agenda::{Ended, Order, RunId};
use crate::clock;
use crate::jobs::{Cancel, RunError};
use crate::report::Outcome;

/// Orders that may wait in the pool's queue, beside those that run.
pub const QUEUE: usize = 4096;

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
        let (queue, tickets) = bounded(QUEUE);
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
        } else if order.attempt == 1 && waited > order.job.limits.misfire_grace {
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
