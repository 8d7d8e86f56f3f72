//! What the black-box tests and the demo stand on: private MariaDB and Redis servers, the web app's tables and
//! counters, a writer that behaves like the web app, and a handle on the real `recountd` binary.
//!
//! Nothing here uses a fixed port or a server of the machine, and nothing outlives the process that started it, not
//! even when that process is killed with SIGKILL: see [`guardian`].

// Every test binary compiles its own copy of this module and uses only a part of it.
#![allow(dead_code, unused_imports)]
// A test that cannot set up its world has nothing to say: it shall stop at once, and loudly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod browser;
pub mod capture;
pub mod guardian;
pub mod http;
pub mod mariadb;
pub mod proxy;
pub mod recountd;
pub mod redis_server;
pub mod tls;
pub mod toutiao;
pub mod world;
pub mod writer;

pub use mariadb::{Database, Mariadb};
pub use proxy::Proxy;
pub use recountd::{Daemon, Output, Recountd, servers_toml};
pub use redis_server::Redis;
pub use writer::{Figures, Writer, WriterOptions};

use std::thread;
use std::time::{Duration, Instant};

/// How long [`eventually`] sleeps between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Waits until `holds` is true, and panics with `what` when it still is not after `deadline`. Black-box tests wait
/// this way instead of sleeping for a time that is either too short on a busy machine or wasted on an idle one.
#[track_caller]
pub fn eventually(deadline: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < deadline, "still not true after {deadline:?}: {what}");
        thread::sleep(LOOK_AGAIN);
    }
}

/// The seed of a test's randomness: `RECOUNTD_SEED` when it is set, a fresh one otherwise. It is printed, and the
/// test harness shows it when the test fails, so that the failure can be repeated.
pub fn seed() -> u64 {
    let seed = match std::env::var("RECOUNTD_SEED") {
        Ok(text) => text.parse().expect("RECOUNTD_SEED is a whole number"),
        Err(_) => fastrand::u64(..),
    };
    println!("to repeat this: RECOUNTD_SEED={seed}");
    seed
}
