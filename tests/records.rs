//! How runs and their evidence are kept: beside a daemon, over a kill, on a full disk, from an older format.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use redis::Commands;
use serde_json::Value;
use support::toutiao::{self, ARTICLES_KEY};
use support::world::{JOB, World, articles_job};
use support::{Recountd, eventually};

const SOON: Duration = Duration::from_secs(20);

/// All counters may change at once.
const ANY: &str = "guard = { max_changed = \"100%\" }";

#[test]
fn a_dry_run_leaves_no_record_and_makes_no_file() {
    let mut world = World::new(100, 500, "");
    toutiao::break_counters(&mut world.connection(), 5, 0, 0, &mut world.rng);
    world.call(&["once", JOB, "--dry-run"], 5);
    assert!(!world.state().exists());
    world.call(&["once", JOB], 0);
    world.call(&["once", JOB, "--dry-run"], 0);
    assert_eq!(world.runs().len(), 1);
}

#[test]
fn once_says_so_when_it_cannot_be_recorded_and_goes_on() {
    let mut world = World::new(100, 500, "");
    toutiao::break_counters(&mut world.connection(), 5, 0, 0, &mut world.rng);
    let jobs = fs::read_to_string(world.recountd.jobs_path()).unwrap();
    world.recountd.write_jobs(&format!("[daemon]\nstate = \"/dev/null/recountd.db\"\n{jobs}"));
    let output = world.call(&["once", JOB], 0);
    assert!(output.stderr.contains("this run is not recorded"), "{}", output.stderr);
    assert_eq!(output.stderr.lines().filter(|line| line.contains("recountd.db")).count(), 1);
    assert_eq!(world.wrong(), []);
    // A file of somebody else's is left as it is, also by a dry run.
    world.recountd.write_jobs(&jobs);
    let theirs = rusqlite::Connection::open(world.state()).unwrap();
    theirs.execute_batch("CREATE TABLE theirs (id); PRAGMA user_version = 1").unwrap();
    drop(theirs);
    let content = fs::read(world.state()).unwrap();
    for arguments in [&["once", JOB][..], &["once", JOB, "--dry-run"]] {
        let output = world.call(arguments, 0);
        assert!(output.stderr.contains("not a state file of recountd"), "{}", output.stderr);
        assert_eq!(fs::read(world.state()).unwrap(), content);
    }
}

#[test]
fn a_disk_that_fills_up_costs_evidence_and_never_the_run() {
    let world = World::new(3_000, 30_000, ANY);
    let wrapper = world.recountd.folder().join("on-a-small-disk");
    // The shell's limit on the size of files stands for the disk: 100 blocks of 1024 bytes.
    let script = format!(
        "#!/bin/sh\ntrap '' XFSZ\nulimit -f 100\nexec {} \"$@\"\n",
        env!("CARGO_BIN_EXE_recountd")
    );
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let jobs = fs::read_to_string(world.recountd.jobs_path()).unwrap();
    let small = Recountd::new(&wrapper, &jobs);
    world.lose_key();
    let output = small.output(&["once", JOB, "--json"]);
    assert_eq!(output.code(), 0, "{}", output.stderr);
    assert_eq!(output.json()["outcome"], "repaired");
    assert_eq!(world.wrong(), []);
    let complaints = output.stderr.lines().filter(|line| line.contains("the run goes on"));
    assert_eq!(complaints.count(), 1, "{}", output.stderr);
}

#[test]
fn once_beside_a_running_daemon_has_a_record_of_its_own() {
    let world = World::new(200, 2_000, "interval = \"250ms\"");
    let daemon = world.recountd.spawn_run();
    daemon.wait_for_line("user-articles: clean", SOON);
    let once = |code| world.call(&["once", JOB, "--json"], code);
    for _ in 0..3 {
        once(0);
    }
    daemon.wait_for_line("user-articles: clean", SOON);
    let mut daemon = daemon;
    daemon.signal("TERM");
    daemon.wait_exit(SOON);
    assert!(
        !daemon.stderr.lines().iter().any(|line| line.contains("ERROR")),
        "{:?}",
        daemon.stderr.lines()
    );
    let rows = world.runs();
    let own: Vec<&Value> = rows.iter().filter(|row| row["id"].is_string()).collect();
    let names: Vec<&str> = own.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["o3", "o2", "o1"]);
    assert!(own.iter().all(|row| row["outcome"] == "clean" && row["report"]["job"] == JOB));
    let started: Vec<&str> = rows.iter().filter_map(|row| row["started_at"].as_str()).collect();
    assert!(started.windows(2).all(|pair| pair[0] >= pair[1]), "the newest first: {started:?}");
    // The daemon's numbers go on as if nothing had been beside it.
    let numbers: Vec<i64> = rows.iter().filter_map(|row| row["id"].as_i64()).collect();
    assert_eq!(numbers.first().copied(), Some(numbers.len() as i64));
}

#[test]
fn the_daemon_keeps_evidence_and_a_kill_in_the_middle_of_a_run_does_not_lose_it() {
    // Slow enough to be killed on the way: redis_share leaves Redis alone for most of the time.
    let world = World::new(4_000, 20_000, "interval = \"300ms\"\nredis_share = \"1%\"");
    world.lose_key();
    let truth = toutiao::truth(&mut world.mysql());
    let mut daemon = world.recountd.spawn_run();
    eventually(SOON, "some are written", || {
        world.connection().zcard::<_, u64>(ARTICLES_KEY).unwrap() >= 1_200
    });
    daemon.signal("KILL");
    daemon.wait_exit(SOON);
    let counters = toutiao::counters(&mut world.connection(), ARTICLES_KEY);
    assert!(counters.len() < truth.len(), "it was killed in the middle");
    world.write_jobs(&articles_job("cron = \"@yearly\"").replace("cron = \"0 3 * * *\"\n", ""));
    let dry = world.recountd.output(&["undo", "1", "--dry-run", "--json"]).json();
    assert!(dry["undone"].as_u64().unwrap() >= 950, "no daemon is needed to undo it: {dry}");
    let daemon = world.recountd.spawn_run();
    daemon.wait_for_line("were interrupted", SOON);
    let rows = world.runs();
    let first = rows.iter().find(|row| row["id"] == 1).unwrap();
    assert_eq!(first["outcome"], "interrupted", "{rows:?}");
    // Of the call that was on its way when the kill came, Redis may know and the evidence not.
    let undone = world.recountd.output(&["undo", "1", "--json"]).json();
    let (undone, moved) = (undone["undone"].as_u64().unwrap(), undone["moved"].as_u64().unwrap());
    assert_eq!(moved, 0);
    assert!(undone + 250 >= counters.len() as u64 && undone <= counters.len() as u64, "{undone}");
    drop(daemon);
}

#[test]
fn a_state_of_format_1_is_migrated_and_read_before_that() {
    let world = World::new(100, 500, "interval = \"1h\"");
    // As the version before this one made it.
    let old = "CREATE TABLE runs (id INTEGER PRIMARY KEY, job TEXT NOT NULL, slot INTEGER NOT NULL,
          attempts INTEGER NOT NULL, started INTEGER, finished INTEGER, took_ms INTEGER,
          outcome TEXT NOT NULL, reason TEXT, report TEXT) STRICT;
        CREATE INDEX runs_by_job ON runs (job, id);
        CREATE TABLE jobs (name TEXT PRIMARY KEY, trigger TEXT NOT NULL, done INTEGER NOT NULL,
          paused INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
        INSERT INTO runs VALUES (6, 'user-articles', 1700000000000, 1, 1700000000000, 1700000001000,
          1000, 'clean', NULL, '{\"counters\":5}'), (7, 'user-articles', 1700000900000, 1,
          1700000900000, NULL, NULL, 'running', NULL, NULL);
        PRAGMA application_id = 1919118964; PRAGMA user_version = 1; PRAGMA journal_mode = WAL";
    let file = rusqlite::Connection::open(world.state()).unwrap();
    file.execute_batch(old).unwrap();
    let format = || file.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).unwrap();
    let rows = world.runs();
    assert_eq!((&rows[0]["id"], &rows[1]["id"]), (&7.into(), &6.into()));
    assert_eq!((&rows[1]["report"]["counters"], &rows[1]["repairs"]), (&5.into(), &0.into()));
    world.call(&["explain", JOB], 0);
    assert_eq!(format(), 1, "reading changes nothing");
    // `once` migrates it under the daemon's records, and interrupts none of them.
    let jobs = fs::read_to_string(world.recountd.jobs_path()).unwrap();
    world.recountd.write_jobs(&jobs.replace("[jobs", "[daemon]\nkeep = \"3650d\"\n[jobs"));
    world.call(&["once", JOB], 0);
    assert_eq!(format(), 4);
    let rows = world.runs();
    let outcomes: Vec<&str> = rows.iter().map(|row| row["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["clean", "running", "clean"]);
    let daemon = world.recountd.spawn_run();
    daemon.wait_for_line("1 runs were interrupted", SOON);
    assert_eq!(world.runs().iter().filter(|row| row["outcome"] == "interrupted").count(), 1);
    drop(daemon);
}

#[test]
fn evidence_goes_with_its_run() {
    let world = World::new(2_000, 20_000, ANY);
    let jobs = fs::read_to_string(world.recountd.jobs_path()).unwrap();
    world.recountd.write_jobs(&format!("[daemon]\nkeep_runs = 2\n{jobs}"));
    for _ in 0..4 {
        world.lose_key();
        world.call(&["once", JOB], 0);
    }
    let rows = world.runs();
    let names: Vec<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["o4", "o3"]);
    let folder = world.recountd.folder().join("recountd.db-evidence");
    let mut files: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, ["o3.tsv", "o4.tsv"]);
    let told = world.call(&["explain", JOB, "1", "--json"], 0).json();
    assert_eq!(told["repairs"].as_array().unwrap().len(), 2);
    let left: i64 = rusqlite::Connection::open(world.state())
        .unwrap()
        .query_row("SELECT COUNT(*) FROM repairs", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 2_000);
}

#[test]
fn the_number_of_a_run_beside_the_daemon_is_never_given_again() {
    let world = World::new(100, 500, "");
    for _ in 0..3 {
        world.call(&["once", JOB], 0);
    }
    // As if all of them had been removed for their age, and a file had been left over.
    let file = rusqlite::Connection::open(world.state()).unwrap();
    file.execute_batch("DELETE FROM runs; DELETE FROM evidence; DELETE FROM repairs").unwrap();
    let folder = world.recountd.folder().join("recountd.db-evidence");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("o4.tsv"), "1\t\t5\t6\t1700000000000\tstill\n").unwrap();
    world.set_counter("1", 0.5);
    world.call(&["once", JOB], 0);
    assert_eq!(world.runs()[0]["id"], "o4");
    let undone = world.call(&["undo", "o4", "--json", "--dry-run"], 0).json();
    assert_eq!(undone["undone"], 1, "none of the file's: {undone}");
}

#[test]
fn old_records_go_a_few_at_a_time_and_all_of_them() {
    let world = World::new(50, 200, "");
    world.call(&["once", JOB], 0);
    let file = rusqlite::Connection::open(world.state()).unwrap();
    file.execute_batch(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 105)
         INSERT INTO runs (id, job, slot, attempts, started, outcome)
         SELECT i, 'other', i, 1, i, 'clean' FROM n;
         INSERT INTO claims SELECT id, '', x'31', 0 FROM runs WHERE id > 0",
    )
    .unwrap();
    world.call(&["once", JOB], 0);
    let left = |table: &str| -> i64 {
        let text = format!("SELECT COUNT(*) FROM {table}");
        file.query_row(&text, [], |row| row.get(0)).unwrap()
    };
    assert_eq!((left("runs"), left("claims")), (2, 0), "those of 1970 are too old");
}
