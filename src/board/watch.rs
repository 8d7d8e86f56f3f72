//! Those who watch the board live: each has a short queue of its own, and who does not keep up is let
//! go, for it can come back and look at everything anew.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use serde::Serialize;
use serde_json::json;

use super::view::JobView;
use crate::state::Shown;

/// Events that may wait for one watcher: those of some thousand jobs that are due together.
const BEHIND: usize = 16_384;
/// The most that one is told at once.
const AT_ONCE: usize = 500;
/// How long a watcher gathers what comes together. A slot makes several events; to be woken for each of
/// them costs more than to tell them, and at a time when the loop hands out other slots.
const GATHER: Duration = Duration::from_millis(25);

/// Something that happened.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number, from 1, counted since the daemon started.
    pub id: u64,
    /// `job`, `run`, `gone` or `reloaded`.
    pub kind: &'static str,
    /// The job that it is about; `None` for all.
    pub job: Option<Arc<str>>,
    /// What there is to tell, as JSON in one line.
    pub data: String,
}

/// One who watches. Dropping it ends that.
pub struct Watch {
    events: Receiver<Arc<Event>>,
    /// Tells that it is still there, for as long as it is.
    _presence: Arc<()>,
    /// The number of the last event before the first that it is given; 0 if there was none.
    pub after: u64,
}

impl Watch {
    /// The next events, in their order; none if nothing happens for so long. How a job looks is told
    /// once, as it looked last.
    ///
    /// # Errors
    /// It did not keep up, and was let go.
    pub fn next(&self, patience: Duration) -> Result<Vec<Arc<Event>>, TooSlow> {
        let first = match self.events.recv_timeout(patience) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => return Ok(Vec::new()),
            Err(RecvTimeoutError::Disconnected) => return Err(TooSlow),
        };
        thread::sleep(GATHER);
        let mut events = vec![first];
        events.extend(self.events.try_iter().take(AT_ONCE));
        let mut told = BTreeSet::new();
        let is_last = |event: &Arc<Event>| event.kind != "job" || told.insert(event.job.clone());
        let mut last: Vec<Arc<Event>> = events.into_iter().rev().filter(is_last).collect();
        last.reverse();
        Ok(last)
    }
}

/// A watcher was let go because it did not keep up, or because the daemon ends.
#[derive(Debug, PartialEq, Eq)]
pub struct TooSlow;

/// All who watch.
#[derive(Debug, Default)]
pub struct Watchers {
    all: Vec<Watcher>,
    last: u64,
}

#[derive(Debug)]
struct Watcher {
    presence: Weak<()>,
    to: Sender<Arc<Event>>,
    /// The only job that it wants to hear of, if there is one.
    only: Option<Arc<str>>,
}

impl Watcher {
    fn is_there(&self) -> bool {
        self.presence.strong_count() > 0
    }
}

impl Watchers {
    /// One more, of one job or of all.
    pub fn add(&mut self, job: Option<&str>) -> Watch {
        // Bounded by hand: a bounded channel would take the memory for its whole bound at once.
        let (sender, receiver) = unbounded();
        self.all.retain(Watcher::is_there);
        let presence = Arc::new(());
        let (there, only) = (Arc::downgrade(&presence), job.map(Arc::from));
        self.all.push(Watcher { presence: there, to: sender, only });
        Watch { events: receiver, _presence: presence, after: self.last }
    }

    /// Whether there is any; if not, nothing has to be put into words.
    pub fn any(&self) -> bool {
        !self.all.is_empty()
    }

    /// A job has changed.
    pub fn job(&mut self, name: &Arc<str>, view: &JobView) {
        self.send("job", Some(name), view);
    }

    /// A run has begun or ended.
    pub fn run(&mut self, job: &Arc<str>, run: &Shown) {
        self.send("run", Some(job), run);
    }

    /// A job is gone.
    pub fn gone(&mut self, name: &Arc<str>) {
        self.send("gone", Some(name), &json!({"name": &**name}));
    }

    /// jobs.toml was read again.
    pub fn reloaded(&mut self) {
        self.send("reloaded", None, &json!({}));
    }

    fn send(&mut self, kind: &'static str, job: Option<&Arc<str>>, value: &impl Serialize) {
        self.last += 1;
        if self.all.is_empty() {
            return;
        }
        let Ok(data) = serde_json::to_string(value) else { return };
        let event = Arc::new(Event { id: self.last, kind, job: job.cloned(), data });
        // Who has left is noticed with every event, also one that is not meant for it.
        self.all.retain(|watcher| {
            let Watcher { to, only, .. } = watcher;
            let is_meant = match (only, job) {
                (Some(only), Some(job)) => only == job,
                _ => true,
            };
            let is_told = || to.len() < BEHIND && to.send(Arc::clone(&event)).is_ok();
            watcher.is_there() && (!is_meant || is_told())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_left_is_forgotten_though_nothing_happens_to_its_job() {
        let mut watchers = Watchers::default();
        let here = watchers.add(Some("quiet"));
        for _ in 0..1_000 {
            drop(watchers.add(Some("quiet")));
        }
        assert_eq!(watchers.all.len(), 2, "each that comes has those taken off that left");
        watchers.gone(&Arc::from("another"));
        assert_eq!(watchers.all.len(), 1, "and so has every event");
        assert_eq!(here.next(Duration::ZERO), Ok(Vec::new()));
    }
}
