//! The commands that speak with a running daemon, as people and scripts use them: the real binary on both
//! sides, on real servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use mysql::prelude::Queryable;
use serde_json::{Value, json};
use support::toutiao::{ARTICLES_KEY, ARTICLES_QUERY};
use support::world::{JOB, World, articles_job};
use support::{Daemon, Recountd, eventually, servers_toml};

const BINARY: &str = env!("CARGO_BIN_EXE_recountd");
const SOON: Duration = Duration::from_secs(30);

/// A daemon that is ready.
fn start(recountd: &Recountd) -> Daemon {
    let daemon = recountd.spawn_run();
    eventually(SOON, "the daemon is ready", || recountd.output(&["status"]).code() == 0);
    daemon
}

fn hourly() -> World {
    World::new(50, 2_000, "interval = \"1h\"\nretries = 0")
}

fn job(world: &World, name: &str) -> Value {
    world.call(&["show", name, "--json"], 0).json()
}

/// Waits until the daemon has nothing to do, and every end is on record.
fn rests(world: &World) {
    eventually(SOON, "nothing runs", || {
        let over = |run: &Value| !["waiting", "running"].iter().any(|word| run["outcome"] == *word);
        job(world, JOB)["running"] == json!([]) && world.runs().iter().all(over)
    });
}

/// The tables of people: nothing at the ends of lines, no colour where nobody sees it.
#[track_caller]
fn is_plain(text: &str) {
    for line in text.lines() {
        assert_eq!(line, line.trim_end());
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
}

#[test]
fn list_show_and_status_tell_people_and_scripts_how_things_are() {
    let world = hourly();
    let _daemon = start(&world.recountd);
    let list = world.call(&["list"], 0).stdout;
    is_plain(&list);
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 2, "{list}");
    assert!(lines[0].starts_with("NAME ") && lines[0].ends_with("TRIGGER"), "{list}");
    for words in [JOB, "scheduled", " in ", "every 1h"] {
        assert!(lines[1].contains(words), "{words} {list}");
    }
    let listed = &world.call(&["list", "--json"], 0).json_lines()[0];
    assert_eq!((&listed["name"], &listed["state"]), (&json!(JOB), &json!("scheduled")));
    assert_eq!(listed["trigger"]["interval"], "1h");
    assert_eq!((&listed["last_run"], &listed["running"]), (&Value::Null, &json!([])));
    world.call(&["trigger", JOB, "--wait"], 0);
    rests(&world);
    let shown = world.call(&["show", JOB], 0).stdout;
    is_plain(&shown);
    for words in
        ["origin", "jobs.toml", "every 1h", "definition", ARTICLES_KEY, "last runs", "clean"]
    {
        assert!(shown.contains(words), "{words} {shown}");
    }
    let shown = job(&world, JOB);
    assert_eq!(shown["definition"]["target"]["zset"], ARTICLES_KEY);
    assert_eq!(shown["last_run"]["outcome"], "clean");
    assert!(shown["last_clean"].is_string(), "{shown}");
    let status = world.call(&["status"], 0).stdout;
    is_plain(&status);
    assert!(status.contains("ready     yes") && status.contains("jobs.toml"), "{status}");
    let status = world.call(&["status", "--json"], 0).json();
    assert_eq!((&status["ready"], &status["jobs"]["total"]), (&json!(true), &json!(1)));
    assert!(world.call(&["show", "nobody"], 2).stderr.contains("there is no job nobody"));
}

#[test]
fn a_triggered_run_is_waited_for_and_ends_with_the_codes_of_once() {
    let world = hourly();
    let _daemon = start(&world.recountd);
    let printed = world.call(&["trigger", JOB], 0).stdout;
    let number = printed.strip_prefix("user-articles: run ").unwrap().trim();
    let number: u64 = number.parse().unwrap();
    eventually(SOON, "the run has ended", || {
        world.runs().iter().any(|run| run["id"] == number && run["outcome"] == "clean")
    });
    world.shift(3.0);
    let dry = world.call(&["trigger", JOB, "--dry-run", "--wait"], 5).stdout;
    assert!(dry.contains("drift (dry run: nothing was written)"), "{dry}");
    assert_eq!(world.wrong().len(), 5);
    let repaired = world.call(&["trigger", JOB, "--wait"], 0).stdout;
    for words in ["user-articles: run ", "user-articles: repaired in ", "drifted", "sum -15"] {
        assert!(repaired.contains(words), "{words} {repaired}");
    }
    assert!(world.wrong().is_empty());
    let run = world.call(&["trigger", JOB, "--wait", "--json"], 0).json();
    assert_eq!((&run["outcome"], &run["cause"]), (&json!("clean"), &json!("trigger")));
    assert!(run["id"].is_u64() && run["finished_at"].is_string(), "{run}");
    assert!(world.call(&["trigger", JOB, "--json"], 0).json()["run"].is_u64());
    rests(&world);
    assert!(world.call(&["trigger", "nobody", "--wait"], 2).stderr.contains("no job nobody"));
    world.mysql().query_drop("DELETE FROM news_article_basic").unwrap();
    assert!(world.call(&["trigger", JOB, "--wait"], 4).stdout.contains("refused"));
    world.mysql().query_drop("DROP TABLE news_article_basic").unwrap();
    assert!(world.call(&["trigger", JOB, "--wait"], 1).stdout.contains("failed"));
}

#[test]
fn ctrl_c_while_waiting_leaves_the_run_alone() {
    let world = World::new(20, 50, "");
    let slow = articles_job("interval = \"1h\"")
        .replace("COUNT(article_id)", "COUNT(article_id) + 0 * SLEEP(0.1)");
    world.write_jobs(&slow);
    let _daemon = start(&world.recountd);
    let mut waits = world.recountd.spawn(&["trigger", JOB, "--wait"]);
    let line = waits.stdout.next(SOON, |line| line.contains(": run ")).unwrap();
    waits.signal("INT");
    assert_eq!(waits.wait_exit(SOON).code(), Some(130));
    let number: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(waits.stderr.lines()[0].contains(&format!("run {number} goes on")));
    eventually(SOON, "the run ends by itself", || {
        let mut runs = world.runs().into_iter();
        let run = runs.find(|run| run["id"] == number);
        run.is_some_and(|run| {
            !["waiting", "running", "shutdown"].iter().any(|w| run["outcome"] == *w)
        })
    });
}

#[test]
fn a_paused_job_says_so_until_it_is_resumed() {
    let world = World::new(20, 50, "interval = \"300ms\"");
    let _daemon = start(&world.recountd);
    let paused = world.call(&["pause", JOB], 0).stdout;
    assert!(paused.starts_with("user-articles: paused"), "{paused}");
    world.call(&["pause", JOB], 0);
    assert!(world.call(&["list"], 0).stdout.contains("paused"));
    let shown = job(&world, JOB);
    assert_eq!(shown["state"], "paused");
    assert!(shown["paused_since"].is_string());
    eventually(SOON, "nothing runs any more", || job(&world, JOB)["running"] == json!([]));
    let last = job(&world, JOB)["last_run"]["id"].clone();
    assert!(world.call(&["resume", JOB], 0).stdout.starts_with("user-articles: resumed; next at "));
    eventually(SOON, "it runs again", || job(&world, JOB)["last_run"]["id"] != last);
    let some = world.call(&["pause", "nobody", JOB], 2);
    assert!(some.stderr.contains("nobody") && some.stdout.contains("user-articles: paused"));
}

#[test]
fn jobs_are_added_rescheduled_and_removed_at_run_time() {
    let world = hourly();
    let _daemon = start(&world.recountd);
    let target = format!("zset={ARTICLES_KEY}");
    let what = ["--query", ARTICLES_QUERY, "--target", &target, "--set", "settle=100ms"];
    let add = |name: &str, when: &[&str], code: i32| {
        world.call(&[&["add", name][..], when, &what[..]].concat(), code)
    };
    let added = add("second", &["--cron", "0 3 * * *", "--timezone", "Asia/Shanghai"], 0).stdout;
    assert!(added.starts_with("second: added, at 03:00 every day"), "{added}");
    assert!(added.contains("; next at 20") && added.contains("03:00:00 +08:00"), "{added}");
    let second = job(&world, "second");
    assert_eq!(
        (&second["origin"], &second["timezone"]),
        (&json!("run-time"), &json!("Asia/Shanghai"))
    );
    assert_eq!(second["trigger"]["cron"], "0 3 * * *");
    world.shift(2.0);
    world.call(&["trigger", "second", "--wait"], 0);
    assert!(world.wrong().is_empty());
    assert!(add("second", &["--interval", "5m"], 1).stderr.contains("second"));
    let wrong = add("third", &["--cron", "61 3 * * *"], 2);
    assert!(wrong.stderr.contains("cron") && wrong.stderr.contains("61"), "{}", wrong.stderr);
    assert!(wrong.stderr.lines().count() >= 1 && wrong.stdout.is_empty());
    world.call(&["reschedule", "second", "--interval", "5m"], 0);
    assert_eq!(job(&world, "second")["trigger"]["interval"], "5m");
    world.call(&["reschedule", "second", "--in", "30m"], 0);
    assert!(job(&world, "second")["trigger"]["date"].is_string());
    world.call(&["reschedule", "second", "--cron", "61 * * * *"], 2);
    assert!(world.call(&["reschedule", JOB, "--cron", "@daily"], 1).stderr.contains("jobs.toml"));
    // What a job is can be given to another one.
    let file = world.recountd.folder().join("definition.json");
    fs::write(&file, second["definition"].to_string()).unwrap();
    let from = ["add", "copy", "--interval", "1h", "--from-file", file.to_str().unwrap()];
    world.call(&from, 0);
    let copy = job(&world, "copy");
    assert_eq!(copy["definition"]["query"], second["definition"]["query"]);
    assert_eq!(copy["trigger"]["interval"], "1h");
    let removed = world.call(&["remove", "copy", "second"], 0).stdout;
    assert_eq!(removed, "copy: removed\nsecond: removed\n");
    world.call(&["show", "second"], 2);
    world.call(&["remove", "second"], 2);
    assert!(world.call(&["remove", JOB], 1).stderr.contains("jobs.toml"));
    assert_eq!(world.call(&["list", "--json"], 0).json_lines().len(), 1);
}

#[test]
fn runs_are_followed_as_they_end_over_a_restart() {
    let world = hourly();
    let mut daemon = start(&world.recountd);
    let trigger = || world.call(&["trigger", JOB, "--wait", "--json"], 0).json()["id"].clone();
    let first = trigger();
    rests(&world);
    let follows = world.recountd.spawn(&["runs", "--follow", "--json"]);
    let next = |wanted: &Value| {
        let wanted = format!("\"id\":{wanted},");
        follows.stdout.next(SOON, |line| line.contains(&wanted)).expect("the run is shown")
    };
    next(&first);
    next(&trigger());
    daemon.signal("TERM");
    daemon.wait_exit(SOON);
    let _daemon = start(&world.recountd);
    next(&trigger());
    let shown = follows.stdout.lines();
    let mut ids: Vec<String> = shown
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].to_string())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), shown.len(), "{shown:?}");
}

#[test]
fn runs_over_the_api_are_those_of_the_state_file() {
    let world = hourly();
    let _daemon = start(&world.recountd);
    for _ in 0..2 {
        world.call(&["trigger", JOB, "--wait"], 0);
    }
    let url = format!("unix:{}", world.recountd.folder().join("recountd.sock").display());
    let ids =
        |runs: Vec<Value>| -> Vec<Value> { runs.iter().map(|run| run["id"].clone()).collect() };
    rests(&world);
    let told = ids(world.call(&["runs", JOB, "--json", "--url", &url], 0).json_lines());
    assert_eq!(told, ids(world.runs()));
    assert_eq!(told.len(), 2);
    assert_eq!(world.call(&["runs", "--url", &url, "-n", "1"], 0).stdout.lines().count(), 1);
    world.call(&["runs", "nobody", "--url", &url], 2);
}

#[test]
fn without_a_daemon_each_command_names_the_socket_and_the_way_out() {
    let recountd = Recountd::new(BINARY, "this is no TOML");
    let socket = recountd.folder().join("recountd.sock").display().to_string();
    for arguments in [
        &["list"][..],
        &["show", JOB],
        &["trigger", JOB],
        &["trigger", JOB, "--wait"],
        &["pause", JOB],
        &["resume", JOB],
        &["add", "a", "--cron", "@daily"],
        &["remove", JOB, "b"],
        &["reschedule", JOB, "--in", "5m"],
        &["runs", "--follow"],
        &["status"],
        &["status", "--json"],
    ] {
        let output = recountd.output(arguments);
        assert_eq!(output.code(), 1, "{arguments:?} {output:#?}");
        assert_eq!(output.stderr.lines().count(), 1, "{arguments:?} {}", output.stderr);
        for words in [&*socket, "is the daemon running?", "--url"] {
            assert!(output.stderr.contains(words), "{arguments:?} {}", output.stderr);
        }
        assert_eq!(output.stdout, "");
    }
}

#[test]
fn a_jobs_toml_that_breaks_later_keeps_nobody_from_the_daemon() {
    let world = hourly();
    let _daemon = start(&world.recountd);
    world.recountd.write_jobs("[jobs.user-articles");
    world.call(&["list"], 0);
    world.call(&["trigger", JOB, "--wait"], 0);
}

#[test]
fn a_daemon_on_tcp_wants_its_token() {
    const TOKEN: &str = "correct-horse-battery-staple-0123456789";
    let world = hourly();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let head = servers_toml(world.database.url(), &world.redis.url());
    let admin =
        format!("[admin]\nlisten = [\"127.0.0.1:{port}\"]\ntoken = \"${{RECOUNTD_TOKEN}}\"\n");
    let jobs = format!("{head}{admin}{}", articles_job("interval = \"1h\""));
    let recountd = Recountd::new(BINARY, &jobs).env("RECOUNTD_TOKEN", TOKEN);
    let _daemon = recountd.spawn_run();
    let code = |arguments: &[&str]| recountd.output(arguments).code();
    eventually(SOON, "it is ready", || code(&["status", "--url", &url]) == 0);
    assert_eq!(code(&["list", "--url", &url]), 0);
    assert_eq!(code(&["trigger", JOB, "--wait", "--url", &url]), 0);
    let file = recountd.folder().join("token");
    let with_file = ["list", "--url", &url, "--token-file", file.to_str().unwrap()];
    fs::write(&file, "another").unwrap();
    let refused = recountd.output(&with_file);
    assert_eq!(refused.code(), 1, "{refused:#?}");
    assert!(refused.stderr.contains("does not take this token"), "{}", refused.stderr);
    // Who has no token in the environment, and then one in a file.
    let stranger = Recountd::new(BINARY, "");
    let refused = stranger.output(&["list", "--url", &url]);
    assert_eq!(refused.code(), 1, "{refused:#?}");
    assert!(
        refused.stderr.contains("--token-file FILE or in RECOUNTD_TOKEN"),
        "{}",
        refused.stderr
    );
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    assert_eq!(stranger.output(&with_file).code(), 0);
}

#[test]
fn the_socket_is_found_where_jobs_toml_puts_it() {
    let world = hourly();
    let admin = "[admin]\nlisten = [\"unix:own.sock\"]\n";
    let socket = world.recountd.folder().join("own.sock");
    let admin = admin.replace("own.sock", &socket.display().to_string());
    world.write_jobs(&format!("{admin}{}", articles_job("interval = \"1h\"")));
    let _daemon = world.recountd.spawn_run();
    let url = format!("unix:{}", socket.display());
    eventually(SOON, "it is ready", || {
        world.recountd.output(&["status", "--url", &url]).code() == 0
    });
    world.call(&["list"], 0);
}

const COMMANDS: [&str; 18] = [
    "run",
    "check",
    "next",
    "runs",
    "once",
    "explain",
    "undo",
    "list",
    "show",
    "trigger",
    "pause",
    "resume",
    "add",
    "remove",
    "reschedule",
    "status",
    "completions",
    "man",
];

#[test]
fn completions_know_every_command() {
    let recountd = Recountd::new(BINARY, "");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = recountd.output(&["completions", shell]);
        assert_eq!(output.code(), 0, "{output:#?}");
        for command in COMMANDS {
            assert!(output.stdout.contains(command), "{shell}: {command}");
        }
    }
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let recountd = Recountd::new(BINARY, "");
    let folder = recountd.folder().join("share/man1");
    assert_eq!(recountd.output(&["man", folder.to_str().unwrap()]).code(), 0);
    for command in COMMANDS {
        let page = fs::read_to_string(folder.join(format!("recountd-{command}.1"))).unwrap();
        assert!(page.contains(".TH") && page.contains(command), "{command}: {page}");
        assert!(!page.contains(&*recountd.jobs_path().to_string_lossy()), "{page}");
    }
    let whole = fs::read_to_string(folder.join("recountd.1")).unwrap();
    assert_eq!(recountd.output(&["man"]).stdout, whole);
    let file = recountd.jobs_path();
    let output = recountd.output(&["man", file.to_str().unwrap()]);
    assert_eq!(output.code(), 1);
    assert!(output.stderr.contains("jobs.toml"), "{}", output.stderr);
}
