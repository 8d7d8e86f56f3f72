//! Jobs that were added at run time, as the commands that work without the daemon see them: they look into
//! its state file, while it runs and when it is gone, and change nothing there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use support::toutiao::{ARTICLES_KEY, ARTICLES_QUERY};
use support::world::{JOB, World, articles_job};
use support::{Daemon, eventually};

const SOON: Duration = Duration::from_secs(30);
const ADDED: &str = "o1";

fn start(world: &World) -> Daemon {
    let daemon = world.recountd.spawn_run();
    eventually(SOON, "the daemon is ready", || world.recountd.output(&["status"]).code() == 0);
    daemon
}

/// A world whose own job has other counters than the one that is added at run time.
fn world() -> World {
    let world = World::new(50, 2_000, "interval = \"1h\"");
    world.write_jobs(&articles_job("interval = \"1h\"").replace(ARTICLES_KEY, "elsewhere"));
    world
}

fn add(world: &World, when: &[&str]) {
    let target = format!("zset={ARTICLES_KEY}");
    let what = ["--query", ARTICLES_QUERY, "--target", &target, "--set", "settle=100ms"];
    let more = ["--set", "guard.max_changed=100%", "--set", "description=at\u{1b}[31m run time"];
    world.call(&[&["add", ADDED][..], when, &what, &more].concat(), 0);
}

/// Triggers the added job and waits until its end is in the state file.
fn repair(world: &World) -> String {
    let run = world.call(&["trigger", ADDED, "--wait", "--json"], 0).json();
    assert_eq!(run["outcome"], "repaired", "{run}");
    eventually(SOON, "its end is on record", || {
        world.runs().iter().any(|row| row["id"] == run["id"] && row["outcome"] == "repaired")
    });
    run["id"].to_string()
}

#[test]
fn it_is_explained_run_and_undone_beside_the_daemon_and_without_it() {
    let world = world();
    let mut daemon = start(&world);
    add(&world, &["--interval", "1h"]);
    for is_running in [true, false] {
        world.shift(3.0);
        let wrong = world.image();
        let run = if is_running {
            repair(&world)
        } else {
            let report = world.call(&["once", ADDED, "--json"], 0).json();
            assert_eq!((&report["job"], &report["repaired"]), (&json!(ADDED), &json!(5)));
            world.runs()[0]["id"].as_str().unwrap().to_owned()
        };
        assert_eq!(world.wrong(), []);
        let dry = world.call(&["once", ADDED, "--dry-run", "--json"], 0).json();
        assert_eq!(dry["outcome"], "clean");
        let told = world.call(&["explain", ADDED, "1", "--json"], 0).json();
        assert_eq!(told["repairs"].as_array().unwrap().last().unwrap()["run"].to_string(), {
            if is_running { run.clone() } else { format!("\"{run}\"") }
        });
        assert!(world.call(&["explain", ADDED], 0).stdout.contains(ADDED));
        let undone = world.call(&["undo", &run, "--json"], 0).json();
        assert_eq!((&undone["undone"], &undone["job"]), (&json!(5), &json!(ADDED)));
        assert_eq!(world.image(), wrong);
        world.shift(-3.0);
        if is_running {
            daemon.signal("TERM");
            daemon.wait_exit(SOON);
        }
    }
}

#[test]
fn a_run_of_a_job_that_was_removed_is_undone_once_the_job_is_given_again() {
    let world = world();
    let _daemon = start(&world);
    add(&world, &["--interval", "1h"]);
    world.shift(3.0);
    let wrong = world.image();
    let run = repair(&world);
    world.call(&["remove", ADDED], 0);
    let refused = world.call(&["undo", &run], 1);
    for words in ["is gone", "`recountd add o1 ", "query, target and servers", "jobs.toml"] {
        assert!(refused.stderr.contains(words), "{words} in {}", refused.stderr);
    }
    world.call(&["once", ADDED], 2);
    add(&world, &["--in", "10h"]);
    world.call(&["undo", &run], 0);
    assert_eq!(world.image(), wrong);
}

#[test]
fn next_check_and_runs_show_it_in_its_zone_and_with_its_origin() {
    let world = world();
    let _daemon = start(&world);
    add(&world, &["--cron", "0 3 * * *", "--timezone", "Asia/Kathmandu"]);
    let only = world.call(&["next", ADDED, "--json", "-n", "2"], 0).json_lines();
    assert_eq!(only.len(), 2);
    assert!(only[0]["at"].as_str().unwrap().ends_with("T03:00:00+05:45"), "{only:?}");
    let keys: Vec<&String> = only[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["at", "job"], "the format is fixed");
    let all = world.call(&["next", "--json", "-n", "100"], 0).json_lines();
    let jobs: Vec<&Value> = all.iter().map(|line| &line["job"]).collect();
    assert!(jobs.contains(&&json!(ADDED)) && jobs.contains(&&json!(JOB)), "{jobs:?}");
    let next = world.call(&["next", ADDED], 0).stdout;
    assert!(next.contains("at [31m run time"), "the terminal obeys nobody's description: {next:?}");

    let check = world.call(&["check"], 0).stdout;
    assert!(check.contains("o1 (added at run time): at [31m run time\n  at 03:00"), "{check:?}");
    assert!(check.contains("is valid: 1 job,"), "it is not in the file: {check}");
    assert!(!check.contains(&format!("{JOB} (added")), "{check}");

    for json in [&[][..], &["--json"]] {
        let told =
            world.call(&[&["explain", ADDED, "x\u{1b}[31m\u{9b}y"], json].concat(), 0).stdout;
        assert!(!told.contains(['\u{1b}', '\u{9b}']) && told.contains("[31m"), "{told:?}");
    }

    world.call(&["trigger", ADDED, "--wait"], 0);
    let slot = world.runs()[0]["slot"].as_str().unwrap().to_owned();
    assert!(slot.ends_with("+05:45"), "{slot}");

    // A name that nobody has.
    let none = world.call(&["next", "o2"], 2).stderr;
    assert!(none.contains("no job o2") && none.contains("user-articles, o1"), "{none}");
}

#[test]
fn one_that_is_not_valid_beside_this_jobs_toml_is_named_with_its_reason() {
    let world = world();
    let mut daemon = start(&world);
    add(&world, &["--interval", "1h", "--set", "redis=main"]);
    daemon.signal("TERM");
    daemon.wait_exit(SOON);
    let jobs = fs::read_to_string(world.recountd.jobs_path()).unwrap();
    let jobs = jobs.replace("[redis.main]", "[redis.other]");
    world.recountd.write_jobs(&jobs.replace("settle", "redis = \"other\"\nsettle"));
    let check = world.call(&["check"], 0).stdout;
    let broken = check.split_once("o1 (added at run time)\n  BROKEN: ").expect(&check).1;
    assert!(broken.lines().next().unwrap().contains("main"), "{check}");
    let next = world.call(&["next", "-n", "3"], 0);
    assert!(next.stderr.contains("job o1, added at run time") && next.stderr.contains("main"));
    assert_eq!(next.stdout.lines().count(), 3);
    for command in ["next", "once", "explain"] {
        let refused = world.call(&[command, ADDED], 2).stderr;
        assert!(refused.contains("cannot run with this jobs.toml"), "{command} {refused}");
        assert!(refused.contains("recountd remove o1"), "{command} {refused}");
    }
    // The one in the file wins over the one that was added.
    world.write_jobs(&articles_job("interval = \"1h\"").replace(JOB, ADDED));
    let check = world.call(&["check"], 0).stdout;
    assert!(check.contains("o1\n") && !check.contains("added at run time"), "{check}");
}

#[test]
fn looking_makes_no_state_and_migrates_none_and_a_foreign_one_is_no_reason_to_fail() {
    let world = world();
    for (arguments, code) in [(&["check"][..], 0), (&["next"], 0), (&["next", "o1"], 2)] {
        world.call(arguments, code);
        assert!(!world.state().exists(), "{arguments:?}");
    }
    world.call(&["once", JOB], 0);
    let file = rusqlite::Connection::open(world.state()).unwrap();
    let older = "DROP TABLE added; DROP TABLE answers; ALTER TABLE runs DROP COLUMN cause; \
         ALTER TABLE runs DROP COLUMN dry; PRAGMA user_version = 2";
    file.execute_batch(older).unwrap();
    world.call(&["check"], 0);
    world.call(&["next", "o1"], 2);
    let format: i64 = file.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(format, 2);
    drop(file);
    fs::write(world.state(), "somebody's notes, which are no database at all").unwrap();
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(world.state().with_file_name(format!("recountd.db{suffix}"))).ok();
    }
    let check = world.call(&["check"], 0);
    assert!(check.stderr.contains("not a state file"), "{}", check.stderr);
    let next = world.call(&["next", "o1"], 2);
    assert!(next.stderr.contains("not a state file"), "{}", next.stderr);
    let notes = fs::read_to_string(world.state()).unwrap();
    assert_eq!(notes, "somebody's notes, which are no database at all");
}
