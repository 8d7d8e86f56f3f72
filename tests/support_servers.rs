//! The test support keeps its own promises: private servers that are ours, that come back, and that leave nothing.

// A test that cannot set up its world shall stop at once, also in its helper functions.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, panic, thread};

use mysql::prelude::Queryable;
use support::toutiao::{self, ARTICLES_KEY, FOLLOWINGS_KEY, FOLLOWINGS_QUERY};
use support::{Mariadb, Recountd, Redis, Writer, WriterOptions, eventually};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn mariadb_keeps_what_was_committed_over_a_kill() {
    let mut server = Mariadb::start();
    let (port, database) = (server.port(), server.create_database());
    let mut conn = database.conn();
    conn.query_drop("CREATE TABLE t (id INT) ENGINE=InnoDB").unwrap();
    conn.query_drop("INSERT INTO t VALUES (7)").unwrap();

    server.kill();
    assert!(conn.query_drop("SELECT 1").is_err());
    server.restart();

    let kept: Option<i32> = database.conn().query_first("SELECT id FROM t").unwrap();
    assert_eq!((kept, server.port()), (Some(7), port));
}

#[test]
fn databases_of_the_shared_server_are_separate() {
    let server = Mariadb::shared();
    let (one, other) = (server.create_database(), server.create_database());
    assert_ne!(one.name(), other.name());
    one.conn().query_drop("CREATE TABLE t (id INT)").unwrap();
    assert!(other.conn().query_drop("SELECT * FROM t").is_err());
    assert_eq!(Mariadb::shared().port(), server.port());
}

#[test]
fn redis_is_empty_after_a_restart_unless_it_keeps_a_log() {
    for (arguments, kept) in
        [(&[][..], None), (&["--appendonly", "yes", "--appendfsync", "always"][..], Some(5))]
    {
        let mut server = Redis::start_with(arguments);
        let mut connection = server.connection();
        redis::cmd("SET").arg("a").arg(5).exec(&mut connection).unwrap();
        server.restart();
        assert!(redis::cmd("PING").exec(&mut connection).is_err());
        let value: Option<i32> =
            redis::cmd("GET").arg("a").query(&mut server.connection()).unwrap();
        assert_eq!(value, kept, "{arguments:?}");
    }
}

#[test]
fn a_password_is_part_of_the_url() {
    let server = Redis::start_with(&["--requirepass", "secret"]);
    assert!(server.url().contains(":secret@"));
    redis::cmd("PING").exec(&mut server.connection()).unwrap();
}

#[test]
fn a_frozen_server_does_not_answer_until_it_thaws() {
    let server = Redis::start();
    let mut connection = server.connection();
    let patience = |connection: &redis::Connection, millis| {
        connection.set_read_timeout(Some(Duration::from_millis(millis))).unwrap();
    };
    patience(&connection, 100);
    server.freeze();
    assert!(redis::cmd("PING").exec(&mut connection).is_err());
    server.thaw();
    redis::cmd("PING").exec(&mut server.connection()).unwrap();
}

#[test]
fn nothing_is_left_after_drop_or_panic() {
    let dropped = Redis::start();
    let folder = dropped.folder().to_owned();
    assert!(folder.exists());
    drop(dropped);
    assert!(!folder.exists());

    let (sender, receiver) = std::sync::mpsc::channel();
    let panicked = thread::spawn(move || {
        let server = Redis::start();
        sender.send(server.folder().to_owned()).unwrap();
        // Quietly: resume_unwind does not call the hook that prints.
        panic::resume_unwind(Box::new("as a failing test does"));
    });
    let folder = receiver.recv().unwrap();
    assert!(panicked.join().is_err());
    assert!(!folder.exists());
}

/// Runs only inside [`nothing_is_left_after_sigkill`]: starts one of everything, says where, and waits to be killed.
#[test]
#[ignore = "it is killed by nothing_is_left_after_sigkill"]
fn the_victim() {
    let Some(report) = env::var_os("RECOUNTD_VICTIM_REPORT") else {
        return;
    };
    let (mariadb, redis) = (Mariadb::shared(), Redis::start());
    let recountd = Recountd::new("/bin/sleep", "");
    let _daemon = recountd.spawn(&["600"]);
    let folders = [mariadb.folder(), redis.folder(), recountd.folder()];
    let folders = folders.map(|folder| folder.to_str().expect("the name is plain"));
    let report = PathBuf::from(report);
    let draft = report.with_extension("draft");
    fs::write(&draft, folders.join("\n")).expect("the report is written");
    fs::rename(draft, report).expect("the report appears at once, as a whole");
    thread::sleep(3 * SOON);
}

#[test]
fn nothing_is_left_after_sigkill() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let mut victim = Command::new(env::current_exe().unwrap())
        .args(["--exact", "the_victim", "--ignored"])
        .env("RECOUNTD_VICTIM_REPORT", &report)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually(SOON, "the victim runs", || report.exists());
    let folders = fs::read_to_string(report).unwrap();
    let folders: Vec<&Path> = folders.lines().map(Path::new).collect();
    let before = processes_in(&folders);

    victim.kill().unwrap();
    victim.wait().unwrap();

    assert_eq!(before, 3, "two servers and what stands for a daemon");
    eventually(SOON, "nothing is left", || {
        processes_in(&folders) == 0 && !folders.iter().any(|folder| folder.exists())
    });
}

/// The number of processes that work in one of these folders, as the servers and the daemon do.
fn processes_in(folders: &[&Path]) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| fs::read_link(process.path().join("cwd")).ok())
        .filter(|place| folders.iter().any(|folder| place.starts_with(folder)))
        .count()
}

#[test]
fn the_seed_is_true_and_breaking_it_shows() {
    let (database, server) = (Mariadb::shared().create_database(), Redis::start());
    let (mut conn, mut redis) = (database.conn(), server.connection());
    let mut rng = fastrand::Rng::with_seed(support::seed());
    toutiao::create(&mut conn);
    toutiao::seed(&mut conn, &mut redis, 500, 5_500, &mut rng);

    let truth = toutiao::truth(&mut conn);
    let articles = |redis: &mut _| toutiao::wrong(&truth, &toutiao::counters(redis, ARTICLES_KEY));
    assert!(truth.values().sum::<i64>() > 4_000);
    assert_eq!(articles(&mut redis), []);
    let followings = toutiao::truth_of(&mut conn, FOLLOWINGS_QUERY);
    let counters = toutiao::counters(&mut redis, FOLLOWINGS_KEY);
    assert!(followings.len() > 200);
    assert_eq!(toutiao::wrong(&followings, &counters), []);

    let broken = toutiao::break_counters(&mut redis, 30, 20, 10, &mut rng);
    let mut expected: Vec<String> = [broken.errors, broken.missing, broken.ghosts]
        .concat()
        .iter()
        .map(u64::to_string)
        .collect();
    let mut found: Vec<String> = articles(&mut redis).into_iter().map(|one| one.id).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn the_writer_makes_wrong_exactly_what_it_loses() {
    let (database, server) = (Mariadb::shared().create_database(), Redis::start());
    let (mut conn, mut redis) = (database.conn(), server.connection());
    let seed = support::seed();
    toutiao::create(&mut conn);
    toutiao::seed(&mut conn, &mut redis, 200, 2_000, &mut fastrand::Rng::with_seed(seed));
    for loss in [0.0, 0.3] {
        let options = WriterOptions {
            users: 1..=200,
            hot: vec![1, 2],
            loss,
            // Without it every loss leaves a counter too low, so that losses do not cancel out.
            take_back: if loss > 0.0 { 0.0 } else { 0.3 },
            seed,
            ..WriterOptions::default()
        };
        let writer = Writer::start(database.url(), &server.url(), &options);
        eventually(SOON, "the writer writes", || writer.writes() > 300);
        let figures = writer.stop();
        let wrong = toutiao::wrong(
            &toutiao::truth(&mut conn),
            &toutiao::counters(&mut redis, ARTICLES_KEY),
        );
        let off: f64 = wrong.iter().map(|one| one.mysql as f64 - one.redis.unwrap_or(0.0)).sum();
        assert_eq!(off, figures.total.lost as f64, "{figures:?}");
        assert_eq!(loss > 0.0, figures.total.lost > 0);
        assert!(figures.by_id[&1].writes > figures.total.writes / 8);
    }
}

#[test]
fn the_writer_keeps_its_rate() {
    let (database, server) = (Mariadb::shared().create_database(), Redis::start());
    toutiao::create(&mut database.conn());
    let options = WriterOptions { rate: Some(100.0), ..WriterOptions::default() };
    let began = Instant::now();
    let writer = Writer::start(database.url(), &server.url(), &options);
    thread::sleep(Duration::from_secs(2));
    let figures = writer.stop();
    let most = 130.0 * began.elapsed().as_secs_f64();
    assert!((50.0..most).contains(&(figures.total.writes as f64)));
}

/// A stand-in for the binary: these tests are about the handle, not about recountd.
const STAND_IN: &str = r#"#!/bin/sh
case $1 in
once) echo '{"job":"a"}'; echo "reads $RECOUNTD_CONFIG with $GREETING" >&2; exit 3 ;;
run)
    trap 'echo reloaded >&2' HUP
    trap 'echo bye >&2; exit 0' TERM
    echo ready >&2
    while :; do sleep 0.02; done ;;
esac
"#;

fn stand_in() -> (tempfile::TempDir, Recountd) {
    let folder = tempfile::tempdir().expect("a folder is made");
    let binary = folder.path().join("recountd");
    // A shell writes it: were the file open for writing here, a process that another test forks at this moment would
    // inherit that, and the system refuses to run a program that anybody has open for writing.
    let written = Command::new("sh")
        .args(["-c", "printf %s \"$1\" >\"$2\" && chmod +x \"$2\""])
        .args(["sh", STAND_IN])
        .arg(&binary)
        .status()
        .expect("sh starts");
    assert!(written.success());
    let recountd = Recountd::new(&binary, "# empty\n").env("GREETING", "hello");
    (folder, recountd)
}

#[test]
fn a_command_gives_its_code_and_both_streams() {
    let (_folder, recountd) = stand_in();
    let output = recountd.output(&["once", "a"]);
    assert_eq!(output.code(), 3);
    assert_eq!(output.json()["job"], "a");
    assert_eq!(output.json_lines().len(), 1);
    let config = recountd.jobs_path();
    let expected = format!("reads {} with hello\n", config.display());
    assert_eq!(output.stderr, expected);
}

#[test]
fn a_daemon_logs_takes_signals_and_ends() {
    let (_folder, recountd) = stand_in();
    let mut daemon = recountd.spawn_run();
    daemon.wait_for_line("ready", SOON);
    for _ in 0..2 {
        daemon.signal("HUP");
        daemon.wait_for_line("reloaded", SOON);
    }
    assert!(!daemon.has_exited());
    daemon.signal("TERM");
    assert!(daemon.wait_exit(SOON).success());
    assert_eq!(daemon.stderr.lines().last().unwrap(), "bye");
}

#[test]
fn a_daemon_ends_with_its_handle() {
    let (_folder, recountd) = stand_in();
    let daemon = recountd.spawn_run();
    daemon.wait_for_line("ready", SOON);
    let stderr = daemon.stderr.clone();
    drop(daemon);
    assert_eq!(stderr.finish(SOON), ["ready"]);

    let mut killed = recountd.spawn_run();
    killed.wait_for_line("ready", SOON);
    killed.signal("KILL");
    assert_eq!(killed.wait_exit(SOON).signal(), Some(9));
}
