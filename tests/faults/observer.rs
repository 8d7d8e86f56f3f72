//! Somebody who looks at the counters all the time, as the readers of the web app do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redis::Connection;

use super::support::redis_server;
use super::support::toutiao::ARTICLES_KEY;

const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Watches that no counter is ever absent that was there before, as long as it lives.
pub struct Observer {
    pub ids: Vec<u64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Seen>>,
}

/// What an [`Observer`] saw.
#[derive(Default)]
pub struct Seen {
    /// Looks that Redis answered.
    pub looks: u64,
    /// Ids whose counter was there and then was not.
    pub vanished: BTreeSet<u64>,
}

impl Observer {
    pub fn of(redis_url: &str, ids: Vec<u64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let (url, watched) = (redis_url.to_owned(), ids.clone());
        let thread = Some(thread::spawn(move || watch(&url, &watched, &told)));
        Self { ids, stop, thread }
    }

    pub fn stop(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it is joined once").join().expect("the observer does not panic")
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn watch(url: &str, ids: &[u64], told: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut there: BTreeSet<u64> = BTreeSet::new();
    let mut connection = None;
    while !told.load(Ordering::Relaxed) {
        // What Redis refuses to show (it loads, or the key is something else for a while) is no absence.
        if let Some(scores) = look(url, &mut connection, ids) {
            seen.looks += 1;
            for (id, score) in ids.iter().zip(scores) {
                if score.is_some() {
                    there.insert(*id);
                } else if there.contains(id) {
                    seen.vanished.insert(*id);
                }
            }
        }
        thread::sleep(LOOK_AGAIN);
    }
    seen
}

fn look(url: &str, connection: &mut Option<Connection>, ids: &[u64]) -> Option<Vec<Option<f64>>> {
    if connection.is_none() {
        *connection = redis_server::try_connect(url).ok();
    }
    let answer = redis::cmd("ZMSCORE").arg(ARTICLES_KEY).arg(ids).query(connection.as_mut()?);
    if answer.is_err() {
        *connection = None;
    }
    answer.ok()
}
