//! The daemon on real servers: its schedule, its signals, and what it leaves behind when it is killed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use mysql::prelude::Queryable;
use support::toutiao::{self, ARTICLES_KEY};
use support::world::{JOB, World, articles_job};
use support::{Mariadb, Recountd, Redis, eventually};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn it_repairs_on_schedule_until_it_is_told_to_stop() {
    let mut world = World::new(500, 2_000, "interval = \"500ms\"");
    let mut daemon = world.recountd.spawn_run();
    daemon.wait_for_line("user-articles: clean", SOON);
    toutiao::break_counters(&mut world.connection(), 40, 5, 3, &mut world.rng);
    eventually(SOON, "all counters are true again", || world.wrong().is_empty());
    daemon.wait_for_line("user-articles: repaired id", SOON);
    daemon.wait_for_line("user-articles: repaired;", SOON);
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(SOON).code(), Some(0));
    assert!(daemon.stderr.lines().last().unwrap().contains("stopped"));
}

#[test]
fn sighup_swaps_a_good_jobs_toml_in_and_logs_the_diff() {
    let world = World::new(50, 200, "interval = \"1h\"");
    let daemon = world.recountd.spawn_run();
    daemon.wait_for_line("next at", SOON);
    let second = articles_job("interval = \"300ms\"").replace(JOB, "second");
    world.write_jobs(&format!("{}{second}", articles_job("interval = \"2h\"")));
    daemon.signal("HUP");
    let line = daemon.wait_for_line("reloaded:", SOON);
    assert!(
        line.contains("added second; changed user-articles; removed none; unchanged 0"),
        "{line}"
    );
    daemon.wait_for_line("second: clean", SOON);
}

#[test]
fn sighup_keeps_the_last_good_jobs_toml_when_the_new_one_is_bad() {
    let world = World::new(50, 200, "interval = \"300ms\"");
    let daemon = world.recountd.spawn_run();
    daemon.wait_for_line("user-articles: clean", SOON);
    world.write_jobs(&articles_job("interval = \"300ms\"\nretires = 3\njiter = \"1s\""));
    daemon.signal("HUP");
    daemon.wait_for_line("the last good one stays", SOON);
    daemon.wait_for_line("unknown key `retires`", SOON);
    daemon.wait_for_line("unknown key `jiter`", SOON);
    daemon.wait_for_line("user-articles: clean", SOON);
}

#[test]
fn a_reload_waits_for_no_running_job() {
    let world = World::new(20, 50, "");
    let slow = articles_job("interval = \"200ms\"").replace("COUNT(article_id)", "SLEEP(100)");
    world.write_jobs(&slow);
    let mut daemon = world.recountd.spawn_run();
    eventually(SOON, "the query runs", || sleeping(&world) == 1);
    world.write_jobs(&articles_job("interval = \"200ms\"").replace(JOB, "other"));
    daemon.signal("HUP");
    daemon.wait_for_line("reloaded: added other; changed none; removed user-articles", SOON);
    daemon.wait_for_line("other: clean", SOON);
    assert_eq!(sleeping(&world), 1, "the running run goes on under its old definition");
    daemon.signal("TERM");
    daemon.wait_for_line("waiting up to 30s for user-articles (run 1)", SOON);
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(Duration::from_secs(3)).code(), Some(1), "at once");
}

#[test]
fn sigterm_cancels_what_outlasts_shutdown_timeout_and_exits_0() {
    let world = World::new(20, 50, "");
    let slow = articles_job("interval = \"200ms\"").replace("COUNT(article_id)", "SLEEP(100)");
    world.write_jobs(&format!("[daemon]\nshutdown_timeout = \"300ms\"\n{slow}"));
    let mut daemon = world.recountd.spawn_run();
    eventually(SOON, "the query runs", || sleeping(&world) == 1);
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(SOON).code(), Some(0));
    let log = daemon.stderr.lines().join("\n");
    assert!(log.contains("cancelled"), "{log}");
    eventually(SOON, "the query is gone from the server", || sleeping(&world) == 0);
}

fn sleeping(world: &World) -> u64 {
    let query = "SELECT COUNT(*) FROM information_schema.processlist \
                 WHERE db = DATABASE() AND info LIKE '%SLEEP(100)%' AND info NOT LIKE '%processlist%'";
    world.mysql().query_first(query).unwrap().unwrap()
}

#[test]
fn a_server_that_goes_away_fails_runs_and_a_later_one_repairs() {
    let mariadb = Mariadb::start();
    let settings = "interval = \"500ms\"\nretries = 0";
    let mut world = World::on(&mariadb, Redis::start(), 200, 1_000, settings);
    let daemon = world.recountd.spawn_run();
    daemon.wait_for_line("user-articles: clean", SOON);
    mariadb.kill();
    daemon.wait_for_line("user-articles: failed", SOON);
    let mut mariadb = mariadb;
    mariadb.restart();
    toutiao::break_counters(&mut world.connection(), 10, 0, 0, &mut world.rng);
    eventually(SOON, "all counters are true again", || world.wrong().is_empty());
}

#[test]
fn a_failed_run_is_retried_before_its_next_slot() {
    let world = World::new(20, 50, "");
    let job = articles_job("interval = \"2s\"\nbackoff = \"10ms\"\nretries = 2");
    let head = support::servers_toml(world.database.url(), "redis://127.0.0.1:1");
    world.recountd.write_jobs(&format!("{head}{job}"));
    let daemon = world.recountd.spawn_run();
    daemon.wait_for_line("run 1 is tried again", SOON);
    daemon.wait_for_line("run 1 is tried again", SOON);
    daemon.wait_for_line("user-articles: failed", SOON);
}

#[test]
fn kill_9_in_the_middle_of_a_repair_leaves_a_key_that_the_next_run_finishes() {
    // With a twentieth of Redis's time a repair is slow enough to be killed in the middle.
    let settings = "interval = \"300ms\"\nredis_share = \"5%\"";
    let mut world = World::new(20_000, 60_000, settings);
    let truth = toutiao::truth(&mut world.mysql());
    for lost_key in [true, false] {
        let mut redis = world.connection();
        if lost_key {
            redis::cmd("DEL").arg(ARTICLES_KEY).exec(&mut redis).unwrap();
        } else {
            toutiao::break_counters(&mut redis, 1_500, 7_500, 0, &mut world.rng);
        }
        let wrong_before = world.wrong().len();
        let mut daemon = world.recountd.spawn_run();
        eventually(SOON, "the repair has begun", || world.wrong().len() < wrong_before);
        daemon.signal("KILL");
        daemon.wait_exit(SOON);
        let left = world.wrong();
        assert!(!left.is_empty() && left.len() < wrong_before, "killed in the middle");
        let counters = toutiao::counters(&mut redis, ARTICLES_KEY);
        let right =
            truth.iter().filter(|(id, n)| counters.get(&id.to_string()) == Some(&(**n as f64)));
        assert!(right.count() > truth.len() - wrong_before, "nothing was deleted first");
        world.write_jobs(&articles_job(""));
        assert_eq!(world.recountd.output(&["once", JOB]).code(), 0);
        assert!(world.wrong().is_empty());
        world.write_jobs(&articles_job(settings));
    }
}

#[test]
fn systemd_is_told_when_it_is_ready_reloads_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let world = World::new(20, 50, "interval = \"1h\"");
    let recountd =
        Recountd::new(env!("CARGO_BIN_EXE_recountd"), &jobs_of(&world)).env("NOTIFY_SOCKET", &path);
    let mut daemon = recountd.spawn_run();
    let next = || {
        let mut buffer = [0; 500];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert!(next().starts_with("READY=1"));
    daemon.signal("HUP");
    let reloading = next();
    assert!(reloading.starts_with("RELOADING=1") && reloading.contains("MONOTONIC_USEC="));
    assert!(next().starts_with("READY=1"));
    daemon.signal("TERM");
    assert!(next().starts_with("STOPPING=1"));
    assert_eq!(daemon.wait_exit(SOON).code(), Some(0));
}

#[test]
fn the_watchdog_hears_from_the_loop_as_long_as_it_turns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let world = World::new(20, 50, "interval = \"1h\"");
    let recountd = Recountd::new(env!("CARGO_BIN_EXE_recountd"), &jobs_of(&world))
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "400000");
    let mut daemon = recountd.spawn_run();
    let next = || {
        let mut buffer = [0; 500];
        let length = socket.recv(&mut buffer).map_err(|error| error.kind())?;
        Ok::<_, std::io::ErrorKind>(String::from_utf8_lossy(&buffer[..length]).into_owned())
    };
    assert!(next().unwrap().starts_with("READY=1"));
    // Nothing is due for an hour, and yet it is heard of.
    for _ in 0..5 {
        assert_eq!(next().unwrap().trim_end(), "WATCHDOG=1");
    }
    daemon.signal("STOP");
    // What was sent before it stopped may still be on its way; then there is silence.
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let silent = (0..20).any(|_| next() == Err(std::io::ErrorKind::WouldBlock));
    assert!(silent, "a loop that is stuck says that it turns");
    daemon.signal("CONT");
    assert_eq!(next().unwrap().trim_end(), "WATCHDOG=1");
    socket.set_nonblocking(true).unwrap();
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(SOON).code(), Some(0));
}

fn jobs_of(world: &World) -> String {
    std::fs::read_to_string(world.recountd.jobs_path()).unwrap()
}
