//! Counters that never stand still (R5), on real servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use support::toutiao::ARTICLES_KEY;
use support::world::{JOB, World};

const SETTLE: Duration = Duration::from_millis(400);

/// What the app does for one user: a row, and a moment later its increment, at random times.
struct Hot {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Hot {
    fn start(world: &World, user: u64, rate: f64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut mysql, mut redis) = (world.mysql(), world.connection());
        let (stopped, mut random) = (Arc::clone(&stop), fastrand::Rng::with_seed(support::seed()));
        let insert = format!(
            "INSERT INTO news_article_basic (user_id, channel_id, title, status) VALUES ({user}, 1, 'x', 2)"
        );
        let thread = thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_secs_f64(-(1.0 - random.f64()).ln() / rate));
                let committed = Instant::now();
                mysql.query_drop(&insert).unwrap();
                thread::sleep(Duration::from_millis(2));
                redis::cmd("ZINCRBY").arg(ARTICLES_KEY).arg(1).arg(user).exec(&mut redis).unwrap();
                longest = longest.max(committed.elapsed());
            }
            longest
        });
        Self { stop, thread }
    }

    /// Ends it; gives the longest time that an increment was in flight.
    fn stop(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn world() -> World {
    World::new(50, 2_000, "settle = \"400ms\"\nguard = { max_changed = '100%' }")
}

#[test]
fn a_hot_counter_that_drifted_is_corrected_while_it_moves() {
    let world = world();
    let mut redis = world.connection();
    redis::cmd("ZINCRBY").arg(ARTICLES_KEY).arg(-3).arg(1).exec(&mut redis).unwrap();
    let hot = Hot::start(&world, 1, 8.0);
    let run = world.recountd.output(&["once", JOB, "--json"]);
    let longest = hot.stop();
    assert!(longest < SETTLE, "the premise of the test: {longest:?}");
    let report = run.json();
    assert_eq!(report["outcome"], "repaired", "{report}\n{}", run.stderr);
    assert_eq!(report["drift_sum"], 3, "{report}");
    assert_eq!(world.wrong(), []);
}

#[test]
fn a_hot_counter_that_is_true_is_left_alone() {
    let world = world();
    let hot = Hot::start(&world, 1, 30.0);
    for _ in 0..2 {
        let run = world.recountd.output(&["once", JOB, "--json"]);
        let report = run.json();
        assert_eq!((&report["drifted"], &report["repaired"]), (&0.into(), &0.into()), "{report}");
    }
    hot.stop();
    assert_eq!(world.wrong(), []);
}
