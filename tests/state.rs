//! The memory that survives restarts: what is recorded, what is done with it, and which files are refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use support::world::{JOB, World, articles_job};
use support::{Daemon, Recountd, eventually};

const SOON: Duration = Duration::from_secs(20);

/// A job that fails at once, because nobody listens there: enough where only the schedule matters.
fn failing(trigger: &str) -> String {
    format!(
        "[mysql.main]\nurl = \"mysql://127.0.0.1:1/app\"\n[redis.main]\nurl = \"redis://127.0.0.1:1\"\n\
         [jobs.a]\n{trigger}\nretries = 0\nquery = \"SELECT 1, 1\"\ntarget = {{ zset = \"k\" }}\n"
    )
}

fn recountd(jobs: &str) -> Recountd {
    Recountd::new(env!("CARGO_BIN_EXE_recountd"), jobs)
}

fn runs(recountd: &Recountd, arguments: &[&str]) -> Vec<Value> {
    let output = recountd.output(&[&["runs", "--json"][..], arguments].concat());
    assert_eq!(output.code(), 0, "{}", output.stderr);
    output.json_lines()
}

fn stop(mut daemon: Daemon) {
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(SOON).code(), Some(0), "{:#?}", daemon.stderr.lines());
}

fn db(recountd: &Recountd) -> PathBuf {
    recountd.folder().join("recountd.db")
}

#[test]
fn runs_shows_what_became_of_each_slot_the_newest_first_also_while_the_daemon_runs() {
    let world = World::new(50, 200, "interval = \"300ms\"");
    let daemon = world.recountd.spawn_run();
    for _ in 0..3 {
        daemon.wait_for_line("user-articles: clean", SOON);
    }
    let finished = || -> Vec<Value> {
        let all = runs(&world.recountd, &[JOB]);
        all.into_iter().filter(|run| run["outcome"] == "clean").collect()
    };
    eventually(SOON, "three runs are recorded", || finished().len() >= 3);
    let rows = finished();
    assert!(rows.windows(2).all(|pair| pair[0]["id"].as_i64() > pair[1]["id"].as_i64()));
    let row = &rows[0];
    let slot = DateTime::parse_from_rfc3339(row["slot"].as_str().unwrap()).unwrap();
    assert_eq!(slot.timestamp_millis() % 300, 0);
    assert!(DateTime::parse_from_rfc3339(row["started_at"].as_str().unwrap()).unwrap() >= slot);
    assert_eq!((&row["job"], &row["attempts"]), (&JOB.into(), &1.into()));
    assert!(row["duration_ms"].as_u64().is_some());
    assert_eq!(row["report"]["counters"], rows[1]["report"]["counters"]);
    assert_eq!(row["report"]["outcome"], "clean");
    assert_eq!(runs(&world.recountd, &["-n", "2"]).len(), 2);
    assert!(runs(&world.recountd, &["no-such-job"]).is_empty());
    stop(daemon);
    let table = world.recountd.output(&["runs", "-n", "1"]).stdout;
    assert!(table.contains(JOB) && table.lines().count() == 1, "{table}");
}

#[test]
fn a_run_that_was_killed_shows_as_interrupted_after_the_next_start() {
    let world = World::new(20, 50, "");
    let slow = articles_job("interval = \"200ms\"").replace("COUNT(article_id)", "SLEEP(100)");
    world.write_jobs(&slow);
    let mut daemon = world.recountd.spawn_run();
    eventually(SOON, "the run is recorded", || {
        db(&world.recountd).exists() && world.recountd.output(&["runs"]).stdout.contains("running")
    });
    let early = world.call(&["undo", "1"], 1);
    assert!(early.stderr.contains("run 1 has not ended yet"), "{}", early.stderr);
    daemon.signal("KILL");
    daemon.wait_exit(SOON);
    // It cannot go on where no daemon runs, so it need not wait for one to be undone.
    world.call(&["undo", "1", "--dry-run"], 0);
    world.write_jobs(&articles_job("interval = \"1h\""));
    let daemon = world.recountd.spawn_run();
    daemon.wait_for_line("1 runs were interrupted", SOON);
    let rows = runs(&world.recountd, &[]);
    let first = rows.iter().find(|row| row["id"] == 1).unwrap();
    assert_eq!(first["outcome"], "interrupted");
    assert!(first["reason"].as_str().unwrap().contains("the daemon ended"));
    stop(daemon);
}

#[test]
fn a_date_that_has_run_never_runs_again() {
    let date = (Utc::now() + chrono::TimeDelta::seconds(1)).to_rfc3339();
    let recountd = recountd(&failing(&format!("date = {date}")));
    let daemon = recountd.spawn_run();
    daemon.wait_for_line("a: failed", SOON);
    stop(daemon);
    for _ in 0..2 {
        let daemon = recountd.spawn_run();
        daemon.wait_for_line("jobs from", SOON);
        stop(daemon);
    }
    assert_eq!(runs(&recountd, &[]).len(), 1);
}

#[test]
fn a_date_that_was_missed_is_recorded_once() {
    let recountd = recountd(&failing("date = 2026-01-01T00:00:00Z"));
    for _ in 0..2 {
        let daemon = recountd.spawn_run();
        daemon.wait_for_line("jobs from", SOON);
        stop(daemon);
    }
    let rows = runs(&recountd, &[]);
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0]["outcome"], &rows[0]["attempts"]), (&"missed".into(), &0.into()));
    assert!(rows[0]["reason"].as_str().unwrap().contains("late"));
    assert!(rows[0]["started_at"].is_null() && rows[0]["report"].is_null());
}

#[test]
fn what_came_due_while_the_daemon_was_down_is_dealt_with_at_the_start() {
    let recountd = recountd(&failing("interval = \"1s\"\nmisfire_grace = \"1h\""));
    let daemon = recountd.spawn_run();
    daemon.wait_for_line("a: failed", SOON);
    stop(daemon);
    let last = runs(&recountd, &["-n", "1"])[0]["slot"].as_str().unwrap().to_owned();
    let last = DateTime::parse_from_rfc3339(&last).unwrap().to_utc();
    // The wall clock is what is tested here: three slots have to pass.
    eventually(SOON, "three slots have passed", || {
        Utc::now() > last + chrono::TimeDelta::milliseconds(3_500)
    });
    let daemon = recountd.spawn_run();
    daemon.wait_for_line("slots", SOON);
    stop(daemon);
    let rows = runs(&recountd, &[]);
    let coalesced = rows.iter().find(|row| row["reason"].as_str().unwrap().contains("slots"));
    assert!(coalesced.is_some(), "{rows:#?}");
    let mut slots: Vec<&str> = rows.iter().map(|row| row["slot"].as_str().unwrap()).collect();
    let all = slots.len();
    slots.dedup();
    assert_eq!(slots.len(), all, "no slot ran twice");
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_left_as_it_is() {
    let recountd = recountd(&failing("interval = \"1h\""));
    let make = |statements: &str| {
        fs::remove_file(db(&recountd)).ok();
        let file = rusqlite::Connection::open(db(&recountd)).unwrap();
        file.execute_batch(statements).unwrap();
        drop(file);
        fs::read(db(&recountd)).unwrap()
    };
    let ours = "PRAGMA application_id = 1919118964; CREATE TABLE runs (id);";
    for (content, says) in [
        (make("CREATE TABLE theirs (id)"), "not a state file of recountd"),
        (make(&format!("{ours} PRAGMA user_version = 99")), "written by a newer recountd"),
        (
            b"this is no database, but a text that somebody keeps here".repeat(40),
            "not a state file",
        ),
        (damaged(&make(&format!("{ours} PRAGMA user_version = 1"))), "damaged"),
    ] {
        fs::write(db(&recountd), &content).unwrap();
        let daemon = recountd.output(&["run"]);
        assert_eq!(daemon.code(), 1, "{}", daemon.stderr);
        assert!(daemon.stderr.contains(says), "{says} in {}", daemon.stderr);
        assert!(daemon.stderr.contains("recountd.db"), "{}", daemon.stderr);
        assert_eq!(fs::read(db(&recountd)).unwrap(), content, "{says}");
        assert_eq!(recountd.output(&["runs"]).code(), 1);
    }
}

/// A database whose second page is noise.
fn damaged(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    file[4096..4600].fill(0xA5);
    file
}

#[test]
fn two_daemons_do_not_share_a_state() {
    let recountd = recountd(&failing("interval = \"1h\""));
    let first = recountd.spawn_run();
    first.wait_for_line("jobs from", SOON);
    let second = recountd.output(&["run"]);
    assert_eq!(second.code(), 1);
    assert!(second.stderr.contains("another recountd runs with this state"), "{}", second.stderr);
    stop(first);
}

#[test]
fn a_disk_that_takes_nothing_does_not_stop_the_schedule() {
    let jobs = failing("interval = \"200ms\"");
    let recountd = recountd(&format!("[daemon]\nstate = \"/dev/null/recountd.db\"\n{jobs}"));
    let daemon = recountd.spawn_run();
    daemon.wait_for_line("the state cannot be written", SOON);
    for _ in 0..5 {
        daemon.wait_for_line("a: failed", SOON);
    }
    stop(daemon);
}

#[test]
fn a_disk_that_fills_up_is_complained_of_once_and_the_schedule_goes_on() {
    let recountd = recountd(&failing("interval = \"50ms\""));
    let wrapper = recountd.folder().join("on-a-small-disk");
    // The shell's limit on the size of files stands for the disk: 96 blocks of 1024 bytes.
    let script = format!(
        "#!/bin/sh\ntrap '' XFSZ\nulimit -f 96\nexec {} \"$@\"\n",
        env!("CARGO_BIN_EXE_recountd")
    );
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let small = Recountd::new(&wrapper, &fs::read_to_string(recountd.jobs_path()).unwrap());
    let daemon = small.spawn_run();
    daemon.wait_for_line("the state cannot be written, the schedule goes on", SOON);
    for _ in 0..30 {
        daemon.wait_for_line("a: failed", SOON);
    }
    let lines = daemon.stderr.lines();
    let complaints = lines.iter().filter(|line| line.contains("the state cannot be written"));
    assert_eq!(complaints.count(), 1, "once a minute");
    drop(daemon);
}

#[test]
fn old_records_are_removed_beyond_keep_runs() {
    let jobs = failing("interval = \"20ms\"");
    let recountd = recountd(&format!("[daemon]\nkeep_runs = 5\n{jobs}"));
    let daemon = recountd.spawn_run();
    for _ in 0..20 {
        daemon.wait_for_line("a: failed", SOON);
    }
    stop(daemon);
    assert!(runs(&recountd, &["-n", "100"]).len() >= 20);
    // Records are removed at the first write after a start, and every ten minutes after that.
    recountd.write_jobs(&format!("[daemon]\nkeep_runs = 5\n{}", failing("interval = \"1h\"")));
    let daemon = recountd.spawn_run();
    eventually(SOON, "five are left", || runs(&recountd, &["-n", "100"]).len() == 5);
    stop(daemon);
}

#[test]
fn old_records_that_cannot_be_removed_are_told_of_and_hold_nothing_up() {
    let jobs = failing("interval = \"20ms\"");
    let recountd = recountd(&format!("[daemon]\nkeep_runs = 1\n{jobs}"));
    let daemon = recountd.spawn_run();
    for _ in 0..5 {
        daemon.wait_for_line("a: failed", SOON);
    }
    stop(daemon);
    let file = rusqlite::Connection::open(db(&recountd)).unwrap();
    file.execute_batch(
        "CREATE TRIGGER stuck BEFORE DELETE ON runs BEGIN SELECT RAISE(FAIL, 'stuck'); END",
    )
    .unwrap();
    let daemon = recountd.spawn_run();
    let told = daemon.wait_for_line("old records cannot be removed", SOON);
    assert!(told.contains("stuck") && told.contains("recountd.db"), "{told}");
    for _ in 0..20 {
        daemon.wait_for_line("a: failed", SOON);
    }
    let lines = daemon.stderr.lines();
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("old records cannot be removed"), 1, "once for each try");
    assert_eq!(count("the state cannot be written"), 0);
    stop(daemon);
}

#[test]
fn the_state_is_its_owners_alone_whatever_the_umask() {
    let jobs = failing("interval = \"1h\"");
    let plain = recountd(&jobs);
    let wrapper = plain.folder().join("open-to-all");
    let binary = env!("CARGO_BIN_EXE_recountd");
    fs::write(&wrapper, format!("#!/bin/sh\numask 000\nexec {binary} \"$@\"\n")).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let recountd = Recountd::new(&wrapper, &jobs);
    let daemon = recountd.spawn_run();
    daemon.wait_for_line("jobs from", SOON);
    let mode = |end: &str| {
        let file = format!("{}{end}", db(&recountd).display());
        fs::metadata(file).map(|file| file.permissions().mode() & 0o777).ok()
    };
    eventually(SOON, "the first job is written", || mode("-wal").is_some());
    assert_eq!(["", "-wal", "-shm"].map(mode), [Some(0o600); 3]);
    stop(daemon);
}

#[test]
fn where_the_state_is_follows_the_file_then_systemd_then_the_folder_of_jobs_toml() {
    let there = tempfile::tempdir().unwrap();
    let jobs = failing("interval = \"1h\"");
    let recountd = recountd(&jobs).env("STATE_DIRECTORY", there.path());
    let daemon = recountd.spawn_run();
    daemon.wait_for_line("jobs from", SOON);
    stop(daemon);
    assert!(there.path().join("recountd.db").exists() && !db(&recountd).exists());
    let named = there.path().join("deep/inside/runs.db");
    recountd.write_jobs(&format!("[daemon]\nstate = \"{}\"\n{jobs}", named.display()));
    let daemon = recountd.spawn_run();
    daemon.wait_for_line("jobs from", SOON);
    stop(daemon);
    assert!(named.exists());
}

#[test]
fn a_run_that_was_killed_before_it_started_leaves_a_trace() {
    let recountd = recountd(&failing("interval = \"300ms\"\njitter = \"1h\""));
    let mut daemon = recountd.spawn_run();
    eventually(SOON, "the run waits", || {
        db(&recountd).exists() && recountd.output(&["runs"]).stdout.contains("waiting")
    });
    daemon.signal("KILL");
    daemon.wait_exit(SOON);
    let daemon = recountd.spawn_run();
    daemon.wait_for_line("were interrupted", SOON);
    stop(daemon);
    let rows = runs(&recountd, &["-n", "1000"]);
    let first = rows.iter().find(|row| row["id"] == 1).unwrap();
    assert_eq!((&first["outcome"], &first["attempts"]), (&"interrupted".into(), &0.into()));
    assert!(first["reason"].as_str().unwrap().contains("before it started"));
}

#[test]
fn a_state_that_can_be_opened_only_later_keeps_the_records_that_it_has() {
    let recountd = recountd("");
    let folder = recountd.folder();
    let jobs = |settings: &str| {
        let state = folder.join("state/recountd.db");
        recountd.write_jobs(&format!(
            "[daemon]\nstate = \"{}\"\n{}",
            state.display(),
            failing(settings)
        ));
    };
    // One step makes the folder another one, as a mount does.
    let mount = |what: &str| {
        symlink(folder.join(what), folder.join("new")).unwrap();
        fs::rename(folder.join("new"), folder.join("state")).unwrap();
    };
    fs::create_dir(folder.join("disk")).unwrap();
    fs::write(folder.join("no-disk"), "").unwrap();
    mount("disk");
    jobs("interval = \"300ms\"\njitter = \"1h\"");
    let mut daemon = recountd.spawn_run();
    eventually(SOON, "a run waits", || recountd.output(&["runs"]).stdout.contains("waiting"));
    daemon.signal("KILL");
    daemon.wait_exit(SOON);
    let before = runs(&recountd, &["-n", "1000"]);
    mount("no-disk");
    jobs("interval = \"200ms\"");
    let daemon = recountd.spawn_run();
    daemon.wait_for_line("runs are not remembered", SOON);
    daemon.wait_for_line("a: failed", SOON);
    mount("disk");
    daemon.wait_for_line("were interrupted", SOON);
    daemon.wait_for_line("the state can be written again", SOON);
    stop(daemon);
    let after = runs(&recountd, &["-n", "1000"]);
    let (new, old): (Vec<&Value>, Vec<&Value>) =
        after.iter().partition(|row| row["id"].as_i64().unwrap() > 1_700_000_000);
    assert!(!new.is_empty() && new.iter().all(|row| row["outcome"] == "failed"), "{new:#?}");
    assert_eq!(old.len(), before.len());
    for (old, before) in old.iter().zip(&before) {
        assert_eq!((&old["id"], &old["slot"]), (&before["id"], &before["slot"]));
        assert_eq!(old["outcome"], "interrupted");
    }
}
