//! The real binary across changes of offset and steps of the clock (S3, S12), on a clock made by libfaketime.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use support::{Daemon, Recountd, eventually};

const SOON: Duration = Duration::from_secs(20);

/// A recountd whose wall clock the test sets. Its monotonic clock is the real one, as after a real step.
struct Faked {
    recountd: Recountd,
    folder: tempfile::TempDir,
}

fn library() -> PathBuf {
    let of = |machine: fs::DirEntry| machine.path().join("faketime/libfaketimeMT.so.1");
    let found = fs::read_dir("/usr/lib").unwrap().map(|entry| of(entry.unwrap()));
    found.into_iter().find(|path| path.exists()).expect("scripts/setup installs faketime")
}

impl Faked {
    fn new(jobs: &[(&str, &str)], now: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut text = String::from(
            "[daemon]\ntimezone = \"America/New_York\"\n[defaults]\nretries = 0\n\
             [mysql.main]\nurl = \"mysql://127.0.0.1:1/app\"\n[redis.main]\nurl = \"redis://127.0.0.1:1\"\n",
        );
        for (name, trigger) in jobs {
            text += &format!(
                "[jobs.{name}]\n{trigger}\nquery = \"SELECT 1, 1\"\ntarget = {{ zset = \"k\" }}\n"
            );
        }
        let recountd = Recountd::new(env!("CARGO_BIN_EXE_recountd"), &text)
            .env("LD_PRELOAD", library())
            .env("FAKETIME_TIMESTAMP_FILE", folder.path().join("offset"))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let faked = Self { recountd, folder };
        faked.set(now);
        faked
    }

    fn set(&self, now: &str) {
        let now: DateTime<Utc> = now.parse().unwrap();
        let offset = (now - Utc::now()).num_milliseconds() as f64 / 1000.0;
        let draft = self.folder.path().join("draft");
        fs::write(&draft, format!("{offset:+.3}\n")).unwrap();
        fs::rename(draft, self.folder.path().join("offset")).unwrap();
    }

    /// The recorded slots of a job, the oldest first, with their outcomes.
    fn slots(&self, job: &str) -> Vec<(String, String)> {
        let output = self.recountd.output(&["runs", job, "--json", "-n", "10000"]);
        let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
        let rows = output.json_lines();
        rows.iter().rev().map(|row| (text(row, "slot"), text(row, "outcome"))).collect()
    }

    fn wait_for_slot(&self, job: &str, slot: &str) {
        eventually(SOON, &format!("{job} at {slot}"), || {
            self.slots(job).iter().any(|(at, _)| at == slot)
        });
    }
}

fn stop(mut daemon: Daemon) {
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(SOON).code(), Some(0));
}

fn ran(slot: &str) -> (String, String) {
    (slot.to_owned(), "failed".to_owned())
}

#[test]
fn s3_a_fixed_time_in_the_gap_runs_once_right_after_it() {
    let jobs = [("fixed", "cron = \"15,30 2 * * *\""), ("often", "cron = \"*/30 * * * *\"")];
    let world = Faked::new(&jobs, "2026-03-08T06:59:58Z");
    let daemon = world.recountd.spawn_run();
    world.wait_for_slot("often", "2026-03-08T03:00:00-04:00");
    world.wait_for_slot("fixed", "2026-03-08T03:00:00-04:00");
    stop(daemon);
    assert_eq!(world.slots("fixed"), [ran("2026-03-08T03:00:00-04:00")]);
    assert_eq!(world.slots("often"), [ran("2026-03-08T03:00:00-04:00")]);
}

#[test]
fn s3_a_fixed_time_in_the_fold_runs_in_the_first_pass_only() {
    let jobs = [("fixed", "cron = \"30 1 * * *\""), ("often", "cron = \"*/30 * * * *\"")];
    let world = Faked::new(&jobs, "2026-11-01T05:29:58Z");
    let daemon = world.recountd.spawn_run();
    world.wait_for_slot("fixed", "2026-11-01T01:30:00-04:00");
    stop(daemon);
    world.set("2026-11-01T06:29:58Z");
    let daemon = world.recountd.spawn_run();
    world.wait_for_slot("often", "2026-11-01T01:30:00-05:00");
    stop(daemon);
    assert_eq!(world.slots("fixed"), [ran("2026-11-01T01:30:00-04:00")]);
}

#[test]
fn s12_a_step_forward_makes_what_it_skipped_missed() {
    let jobs = [("hourly", "cron = \"0 * * * *\""), ("tick", "interval = \"1s\"")];
    let world = Faked::new(&jobs, "2026-06-01T10:30:00Z");
    let daemon = world.recountd.spawn_run();
    daemon.wait_for_line("tick: failed", SOON);
    world.set("2026-06-01T12:30:00Z");
    let step = daemon.wait_for_line("the clock stepped forward by", SOON);
    assert!(step.contains("by 1h59m5") || step.contains("by 2h"), "{step}");
    let missed = daemon.wait_for_line("hourly: missed", SOON);
    assert!(missed.contains("for 2 slots") && missed.contains("late"), "{missed}");
    daemon.wait_for_line("tick: failed", SOON);
    stop(daemon);
    let slots = world.slots("hourly");
    assert_eq!(slots, [("2026-06-01T08:00:00-04:00".to_owned(), "missed".to_owned())]);
}

#[test]
fn s12_a_step_back_lets_no_slot_run_a_second_time() {
    let jobs = [("tick", "interval = \"1s\""), ("hourly", "cron = \"0 * * * *\"")];
    let world = Faked::new(&jobs, "2026-06-01T11:59:58Z");
    let daemon = world.recountd.spawn_run();
    world.wait_for_slot("hourly", "2026-06-01T08:00:00-04:00");
    let before = world.slots("tick");
    world.set("2026-06-01T09:59:59Z");
    // Any message wakes the loop at once; without one it looks at the clock every 60 s.
    daemon.signal("HUP");
    let step = daemon.wait_for_line("the clock stepped backward by", SOON);
    assert!(step.contains("by 2h") || step.contains("by 1h59m5"), "{step}");
    daemon.wait_for_line("reloaded:", SOON);
    // Ten o'clock comes a second time, and passes.
    let passed = Utc::now() + TimeDelta::seconds(3);
    eventually(SOON, "10:00 has passed again", || Utc::now() > passed);
    daemon.signal("HUP");
    daemon.wait_for_line("reloaded:", SOON);
    stop(daemon);
    assert_eq!(world.slots("hourly"), [ran("2026-06-01T08:00:00-04:00")]);
    let ticks = world.slots("tick");
    assert!(ticks.len() <= before.len() + 2, "{ticks:?}");
    let mut unique = ticks.clone();
    unique.dedup();
    assert_eq!(unique, ticks);
}
