//! A web app whose counters drift, and recountd setting them right while the app keeps writing.
//!
//! Everything is private to the demo and gone afterwards: a MariaDB and a Redis server on free ports, 20,000 users,
//! 100,000 articles, counters of which 700 are wrong, an app that goes on losing increments, and the real recountd.
//! The exit code is 0 only when every counter is true at the end.

// A demo that cannot set up its world has nothing to show.
#![allow(clippy::expect_used)]

mod relay;
mod stage;
#[path = "../../tests/support/mod.rs"]
mod support;
mod tell;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};

use relay::Relay;
use stage::{JOB, Page, Stage};
use support::{Daemon, Writer};

/// How long recountd may take, after the app stopped, until all is true: four of its intervals.
const LAST_RUN: Duration = Duration::from_secs(20);

/// How long recountd may take to stop.
const STOP: Duration = Duration::from_secs(30);

/// Shows recountd at work on private servers: 700 wrong counters, and an app that goes on losing increments.
#[derive(Parser)]
#[command(name = "demo")]
struct Arguments {
    /// How long the app writes, in seconds; Ctrl-C ends it sooner.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Lets a browser on this machine look on; give --seconds a longer time, then.
    #[arg(long)]
    page: bool,
    /// The recountd binary; by default the one that was built beside the demo.
    #[arg(long)]
    recountd: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let binary = arguments.recountd.unwrap_or_else(built_beside);
    let Ok(binary) = binary.canonicalize() else {
        println!("There is no {}; scripts/demo builds it.", binary.display());
        return ExitCode::from(2);
    };
    let stopped = stop_on_signal();
    // Whatever happens in it, the servers, the daemon and the folders are gone when `show` returns.
    if show(&binary, Duration::from_secs(arguments.seconds), arguments.page, &stopped) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The story of the demo; whether every counter is true at its end.
fn show(binary: &std::path::Path, length: Duration, page: bool, stopped: &AtomicBool) -> bool {
    tell::opening(length);
    let page = page.then(Page::new);
    let mut stage = Stage::set(binary, page.as_ref());
    let wrong_before = stage.wrong();
    tell::before(&wrong_before);

    let writer = stage.start_app();
    let mut daemon = stage.recountd.spawn_run();
    let mut relay = Relay::new();
    tell::action();
    if let Some(Page { address, token }) = &page {
        tell::aside(&format!("look on at http://{address}/ with the token {token}"));
    }
    let curtain = Instant::now() + length;
    while Instant::now() < curtain && !stopped.load(Ordering::Relaxed) && !daemon.has_exited() {
        relay.next(&daemon);
    }

    tell::ending();
    let figures = Writer::stop(writer);
    let alive = wait_until_true(&mut stage, &mut daemon, &mut relay) && end(&mut daemon);
    let wrong_now = stage.wrong();
    tell::verdict(&figures, wrong_before.len(), &wrong_now);
    if !alive {
        tell::died(&daemon.stderr.lines());
    }
    alive && wrong_now.is_empty()
}

/// Lets recountd finish a run after the app has stopped, and more of them until nothing is wrong or it takes too long.
/// Whether recountd was still there.
fn wait_until_true(stage: &mut Stage, daemon: &mut Daemon, relay: &mut Relay) -> bool {
    let (until, runs_before) = (Instant::now() + LAST_RUN, relay.runs_of(JOB));
    while Instant::now() < until && !daemon.has_exited() {
        relay.next(daemon);
        if relay.runs_of(JOB) > runs_before && stage.wrong().is_empty() {
            break;
        }
    }
    !daemon.has_exited()
}

/// Stops recountd as systemd does; whether it ended well.
fn end(daemon: &mut Daemon) -> bool {
    daemon.signal("TERM");
    daemon.wait_exit(STOP).success()
}

/// A flag that Ctrl-C and SIGTERM raise; a second one ends the demo at once, and the servers with it.
fn stop_on_signal() -> Arc<AtomicBool> {
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: at the first signal the flag is not yet raised when the exit looks at it.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stopped))
            .expect("the signal can be handled");
        signal_hook::flag::register(signal, Arc::clone(&stopped))
            .expect("the signal can be handled");
    }
    stopped
}

/// Cargo puts examples into a folder beside the binaries.
fn built_beside() -> PathBuf {
    let mut path = env::current_exe().expect("the demo knows where it is");
    path.pop();
    path.pop();
    path.join("recountd")
}
