//! The commands that speak with a daemon, where the daemon does what a real one seldom does: it is cut
//! off, goes away and comes back, or refuses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod scripted;
mod support;

use std::fs;
use std::time::Duration;

use recountd::client::Place;
use scripted::{Answer, On, Server, answers, ok, says, says_and_waits};
use serde_json::{Value, json};
use support::{Output, Recountd};

const BINARY: &str = env!("CARGO_BIN_EXE_recountd");
const SOON: Duration = Duration::from_secs(20);
const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
const HELLO: &str = "event: hello\nid: 1\ndata: {\"version\":\"0\"}\n\n";

/// A jobs.toml that is no use, which is no reason not to ask the daemon.
fn recountd() -> Recountd {
    Recountd::new(BINARY, "this is no TOML")
}

fn url(server: &Server) -> String {
    match &server.place {
        Place::Socket(path) => format!("unix:{}", path.display()),
        Place::Http(url) => url.clone(),
    }
}

#[track_caller]
fn call(server: &Server, arguments: &[&str], code: i32) -> Output {
    let url = url(server);
    let output = recountd().output(&[arguments, &["--url", &url]].concat());
    assert_eq!(output.code(), code, "{arguments:?} {output:#?}");
    output
}

fn run(id: u64, outcome: &str) -> Value {
    json!({
        "id": id, "job": "a", "slot": "2026-11-22T03:00:00+08:00", "cause": "trigger", "dry_run": false,
        "started_at": null, "finished_at": null, "duration_ms": 38, "attempts": 1, "outcome": outcome,
        "reason": "because", "report": null, "repairs": 0, "evidence": null,
    })
}

fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

fn stream(events: &[String]) -> Answer {
    says(format!("{STREAM}{HELLO}{}", events.concat()))
}

fn begun() -> Answer {
    answers("202 Accepted", "application/json", r#"{"run":12}"#)
}

fn problem(status: u16, detail: &str) -> Answer {
    let body = json!({"status": status, "title": "no", "detail": detail}).to_string();
    answers(&format!("{status} No"), "application/problem+json", &body)
}

#[test]
fn a_run_that_is_waited_for_gives_its_exit_code() {
    for (outcome, code) in
        [("clean", 0), ("failed", 1), ("missed", 1), ("partial", 3), ("refused", 4), ("drift", 5)]
    {
        let others = [event("job", &json!({})), event("run", &run(11, "failed"))];
        let end = event("run", &run(12, outcome));
        let events = stream(&[&others[..], &[event("run", &run(12, "running")), end]].concat());
        let server = Server::start(On::Unix, vec![begun(), events, ok(&run(12, "waiting"))]);
        let output = call(&server, &["trigger", "a", "--wait"], code);
        assert_eq!(output.stdout, format!("a: run 12\na: {outcome}, run 12\n  because\n"));
        assert_eq!(output.stderr, "");
        let requests = server.requests();
        assert!(requests[0].starts_with("POST /v1/jobs/a/trigger HTTP"));
        assert!(requests[1].starts_with("GET /v1/events?job=a HTTP"));
        assert!(requests[2].starts_with("GET /v1/runs/12 HTTP"));
    }
}

#[test]
fn waiting_goes_on_by_asking_where_the_events_break_off() {
    let lines = vec![
        begun(),
        stream(&[]),
        problem(404, "there is no run 12"),
        ok(&run(12, "waiting")),
        problem(503, "too many connections"),
        problem(503, "too many connections"),
        says(""),
        says(""),
        says(""),
        stream(&[]),
        ok(&run(12, "partial")),
    ];
    let server = Server::start(On::Unix, lines);
    let output = call(&server, &["trigger", "a", "--wait", "--json", "--dry-run"], 3);
    assert_eq!(output.json(), run(12, "partial"));
    assert!(server.requests()[0].ends_with("{\"dry_run\":true}"));
}

#[test]
fn ctrl_c_ends_the_waiting_and_says_that_the_run_goes_on() {
    let server = Server::start(On::Unix, vec![begun(), says_and_waits(STREAM)]);
    let recountd = recountd();
    let mut waits = recountd.spawn(&["trigger", "a", "--wait", "--url", &url(&server)]);
    waits.stdout.next(SOON, |line| line == "a: run 12").unwrap();
    waits.signal("INT");
    assert_eq!(waits.wait_exit(SOON).code(), Some(130));
    assert_eq!(waits.stderr.lines(), ["run 12 goes on; `recountd runs a` shows how it ends"]);
}

#[test]
fn runs_are_followed_over_restarts_and_none_is_shown_twice() {
    let runs = |ids: &[(u64, &str)]| {
        let runs: Vec<Value> = ids.iter().map(|(id, outcome)| run(*id, outcome)).collect();
        ok(&json!({ "runs": runs }))
    };
    let lines = vec![
        stream(&[event("run", &run(4, "failed"))]),
        runs(&[(5, "running"), (4, "failed"), (3, "clean"), (2, "clean"), (1, "clean")]),
        says(""),
        problem(503, "stopping"),
        stream(&[event("run", &run(7, "running")), event("run", &run(7, "refused"))]),
        runs(&[(7, "running"), (6, "missed"), (5, "interrupted"), (4, "failed"), (3, "clean")]),
        says_and_waits(STREAM),
    ];
    let server = Server::start(On::Unix, lines);
    let recountd = recountd();
    let url = url(&server);
    let follows = recountd.spawn(&["runs", "a", "--follow", "-n", "2", "--url", &url]);
    follows.stdout.next(SOON, |line| line.contains("refused")).unwrap();
    let shown: Vec<String> = follows
        .stdout
        .lines()
        .iter()
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .collect();
    assert_eq!(shown, ["3", "4", "5", "6", "7"]);
}

#[test]
fn runs_and_status_come_over_the_api_if_a_url_is_named() {
    let answer = json!({"runs": [run(2, "clean"), run(1, "failed")]});
    let server = Server::start(On::Tcp, vec![ok(&answer), ok(&answer)]);
    let output = call(&server, &["runs", "a", "-n", "5"], 0);
    let line = "     2  2026-11-22 03:00:00 +08:00  a  clean           38ms  because\n";
    assert!(output.stdout.starts_with(line), "{}", output.stdout);
    assert_eq!(call(&server, &["runs", "--json"], 0).json_lines()[1], run(1, "failed"));
    let requests = server.requests();
    assert!(requests[0].starts_with("GET /v1/jobs/a/runs?limit=5 "));
    assert!(requests[1].starts_with("GET /v1/runs?limit=20 "));
    let status = json!({"version": "0.1.0", "pid": 1});
    let server = Server::start(On::Tcp, vec![ok(&status), problem(503, "it is stopping")]);
    assert!(call(&server, &["status"], 1).stdout.contains("NO: it is stopping"));
}

#[test]
fn the_token_comes_from_a_file_or_the_environment_and_is_in_no_log() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "hunter2\n").unwrap();
    let runs = || ok(&json!({"runs": []}));
    let server = Server::start(On::Tcp, vec![runs(), runs(), answers("401 No", "text/plain", "")]);
    let arguments = ["runs", "-n", "2000", "--url", &url(&server)];
    let recountd = recountd().env("RECOUNTD_TOKEN", "hunter3").env("RUST_LOG", "trace");
    let output =
        recountd.output(&[&arguments[..], &["--token-file", file.to_str().unwrap()]].concat());
    assert_eq!(output.code(), 0, "{output:#?}");
    assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
    assert!(output.stderr.contains("1000 runs at most"), "there was a log");
    assert!(!recountd.output(&arguments).stderr.contains("hunter3"));
    let refused = call(&server, &["list"], 1);
    assert!(refused.stderr.contains("wants a token: give it with --token-file"), "{refused:#?}");
    let requests = server.requests();
    assert!(requests[0].contains("authorization: bearer hunter2\r\n"));
    assert!(requests[1].contains("authorization: bearer hunter3\r\n"));
    assert!(!requests[2].contains("authorization"));
}

#[test]
fn one_job_that_is_refused_does_not_keep_the_others_from_it() {
    let paused = json!({"name": "a", "state": "paused", "running": [{"id": 12}]});
    let server =
        Server::start(On::Unix, vec![ok(&paused), problem(404, "there is no job b"), ok(&paused)]);
    let output = call(&server, &["pause", "a", "b", "a"], 2);
    let line = "a: paused; what is running goes on (run 12)\n";
    assert_eq!(output.stdout, line.repeat(2));
    assert_eq!(output.stderr, "error: there is no job b\n");
    let server = Server::start(On::Unix, vec![problem(409, "in jobs.toml")]);
    assert_eq!(call(&server, &["remove", "a"], 1).stderr, "error: in jobs.toml\n");
}

#[test]
fn add_sends_what_its_options_say() {
    let folder = tempfile::tempdir().unwrap();
    let (query, base) = (folder.path().join("q.sql"), folder.path().join("job.json"));
    fs::write(&query, "SELECT 1, 2").unwrap();
    fs::write(&base, r#"{"name": "old", "interval": "5m", "retries": 1, "settle": "2s"}"#).unwrap();
    let added = || {
        let job = json!({"name": "a", "trigger_in_words": "every 1m", "next_run": null});
        answers("201 Created", "application/json", &job.to_string())
    };
    let server = Server::start(On::Unix, vec![added(), added()]);
    let query = format!("@{}", query.display());
    let options = ["--query", &query, "--target", "hash=user:{id}", "--set", "target.field=n"];
    let first =
        [&["add", "a", "--interval", "90s", "--start", "2026-01-01T00:00:00Z"], &options[..]];
    assert_eq!(call(&server, &first.concat(), 0).stdout, "a: added, every 1m; no slot is left\n");
    let base = base.to_str().unwrap();
    call(&server, &["add", "a", "--cron", "@daily", "--from-file", base, "--set", "retries=2"], 0);
    let body = |request: &str| -> Value {
        serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    let requests = server.requests();
    assert_eq!(
        body(&requests[0]),
        json!({
            "name": "a", "interval": "1m30s", "start": "2026-01-01T00:00:00+00:00", "query": "SELECT 1, 2",
            "target": {"hash": "user:{id}", "field": "n"},
        })
    );
    let merged = json!({"name": "a", "cron": "@daily", "retries": 2, "settle": "2s"});
    assert_eq!(body(&requests[1]), merged);
}

#[test]
fn wrong_usage_exits_2_without_asking_anybody() {
    for (arguments, words) in [
        (&["list", "--url", "ftp://a"][..], "write http://HOST:PORT, https://HOST or unix:/PATH"),
        (&["list", "--url", "http://a:hunter2@b"], "--token-file"),
        (&["list", "--url", "http://127.0.0.1:1", "--token-file", "/no/such"], "/no/such: "),
        (&["pause"], "<JOB>"),
        (&["add", "a", "--cron", "@daily", "--in", "5m"], "cannot be used with"),
        (&["add", "a", "--interval", "5"], "whole number and a unit"),
        (&["add", "a", "--target", "zset"], "key=value"),
        (&["add", "a", "--query", "-", "--from-file", "-"], "both read standard input"),
        (&["add", "a", "--query", "@/no/such"], "/no/such: "),
        (&["add", "a", "--from-file", "jobs.toml"], "is not one JSON object"),
        (&["reschedule", "a"], "--cron"),
        (
            &["reschedule", "a", "--start", "2026-01-01T00:00:00Z", "--cron", "@daily"],
            "cannot be used with",
        ),
        (&["completions", "tcsh"], "bash"),
    ] {
        let output = recountd().output(arguments);
        assert_eq!(output.code(), 2, "{arguments:?} {output:#?}");
        assert!(output.stderr.contains(words), "{arguments:?} {}", output.stderr);
        assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
    }
}

#[test]
fn what_a_daemon_sends_reaches_no_terminal_as_it_is() {
    const EVIL: &str = "x\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}y";
    let harmless = |text: &str| {
        let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(obeyed), "{text:?}");
        assert!(text.contains('y'), "{text:?}");
    };
    let job = json!({
        "name": EVIL, "description": EVIL, "state": EVIL, "origin": EVIL, "trigger_in_words": EVIL, "timezone": EVIL,
        "reason": EVIL, "next_run": null, "running": [{"id": EVIL, "cause": EVIL}], "definition": {EVIL: EVIL, "a": [EVIL]},
        "last_run": {"id": EVIL, "outcome": EVIL},
    });
    let report = json!({
        "job": EVIL, "outcome": "drift", "started_at": "2026-11-22T03:00:00Z", "counters": 1, "drifted": 1, "reason": EVIL,
        "samples": [{"target": EVIL, "id": EVIL, "redis": 1, "mysql": 2}],
    });
    let mut ended = run(12, "drift");
    ended["job"] = json!(EVIL);
    ended["reason"] = json!(EVIL);
    let mut failed = ended.clone();
    failed["outcome"] = json!(EVIL);
    ended["report"] = report;
    let jobs = json!({"jobs": [&job]});
    let runs = json!({"runs": [&failed, &ended]});
    let status = json!({"version": EVIL, "pid": EVIL, "file": EVIL, "state": EVIL, "timezone": EVIL, "reload_error": EVIL});
    let not_ready = || problem(503, EVIL);
    for (arguments, answers, code) in [
        (&["list"][..], vec![ok(&jobs)], 0),
        (&["list", "--json"], vec![ok(&jobs)], 0),
        (&["show", "a"], vec![ok(&job), ok(&runs)], 0),
        (&["show", "a", "--json"], vec![ok(&job)], 0),
        (&["runs"], vec![ok(&runs)], 0),
        (&["runs", "--json"], vec![ok(&runs)], 0),
        (&["status"], vec![ok(&status), not_ready()], 1),
        (&["status", "--json"], vec![ok(&status), not_ready()], 1),
        (&["pause", "a"], vec![ok(&job)], 0),
        (&["reschedule", "a", "--cron", "@daily"], vec![ok(&job)], 0),
        (
            &["trigger", "a", "--wait"],
            vec![begun(), stream(&[event("run", &ended)]), ok(&json!({}))],
            5,
        ),
        (
            &["trigger", "a", "--wait"],
            vec![begun(), stream(&[event("run", &failed)]), ok(&json!({}))],
            1,
        ),
        (&["list"], vec![not_ready()], 1),
        (&["remove", "a"], vec![problem(409, EVIL)], 1),
    ] {
        let server = Server::start(On::Unix, answers);
        let output = call(&server, arguments, code);
        harmless(&format!("{}{}", output.stdout, output.stderr));
        if arguments.contains(&"--json") {
            assert!(output.json_lines()[0].to_string().contains(EVIL.get(..1).unwrap()));
        }
        if arguments == ["list", "--json"] {
            assert_eq!(output.json_lines()[0]["name"], EVIL, "as JSON nothing of it is lost");
        }
    }
}

#[test]
fn a_token_that_others_could_read_on_its_way_is_warned_of_once() {
    let empty = || vec![ok(&json!({"jobs": []}))];
    for (host, token, is_warned) in
        [("127.0.0.1", "hunter2", false), ("0.0.0.0", "hunter2", true), ("0.0.0.0", "", false)]
    {
        let server = Server::start(On::Tcp, empty());
        let url = url(&server).replace("127.0.0.1", host);
        let recountd = recountd().env("RECOUNTD_TOKEN", token);
        let output = recountd.output(&["list", "--url", &url]);
        assert_eq!(output.code(), 0, "{output:#?}");
        let warnings = output.stderr.matches("unencrypted").count();
        assert_eq!(warnings, usize::from(is_warned), "{output:#?}");
        assert!(!output.stderr.contains("hunter2"));
    }
}
