//! Bodies that are nested as deeply as somebody likes, sent to the real daemon: the thread that reads them
//! has a small stack, and one that overflows takes the whole process with it.

use std::time::Duration;

use super::support::http::Client;
use super::support::{Recountd, eventually};

/// A jobs.toml that needs no server before tomorrow.
pub fn jobs(admin: &str) -> String {
    format!(
        "{admin}[mysql.main]\nurl = \"mysql://root@127.0.0.1:1/toutiao\"\n\
         [redis.main]\nurl = \"redis://127.0.0.1:1/0\"\n\
         [jobs.a]\ninterval = \"365d\"\nquery = \"SELECT id, n FROM t\"\ntarget = {{ zset = \"k\" }}\n"
    )
}

fn nested(open: &[&str], close: &[&str], depth: usize, core: &str) -> String {
    let at = |parts: &[&str], level: usize| parts[level % parts.len()].to_owned();
    let opened: String = (0..depth).map(|level| at(open, level)).collect();
    let closed: String = (0..depth).rev().map(|level| at(close, level)).collect();
    format!("{opened}{core}{closed}")
}

#[test]
fn a_body_however_deep_is_answered_and_the_daemon_goes_on() {
    let recountd = Recountd::new(env!("CARGO_BIN_EXE_recountd"), &jobs(""));
    let mut daemon = recountd.spawn_run();
    let client = Client::unix(recountd.folder().join("recountd.sock"));
    let ready = || client.try_send("GET", "/readyz", &[], None).is_ok_and(|a| a.status == 200);
    eventually(Duration::from_secs(30), "it is ready", ready);
    let shapes: [(&[&str], &[&str]); 3] =
        [(&["{\"a\":"], &["}"]), (&["["], &["]"]), (&["{\"a\":", "["], &["}", "]"])];
    let added = r#""query": "SELECT id, n FROM t", "target": {"zset": "b"}, "interval": "365d""#;
    // A run-time job that can be rescheduled.
    send(&client, "POST", "/v1/jobs", &format!(r#"{{"name": "b", {added}}}"#));
    for (open, close) in shapes {
        // 127 is what the reader of JSON takes, 100,000 of the shortest level all that a body can hold.
        for depth in [1, 126, 127, 128, 1_000, 40_000, 100_000] {
            let bare = nested(open, close, depth, "1");
            let inside = nested(open, close, depth.saturating_sub(1), "1");
            let never_closed = nested(open, &[""], depth, "");
            let bodies = [
                ("POST", "/v1/jobs/a/trigger", bare.clone()),
                ("POST", "/v1/jobs/a/trigger", format!(r#"{{"dry_run": {inside}}}"#)),
                ("POST", "/v1/jobs", bare.clone()),
                ("POST", "/v1/jobs", format!(r#"{{"name": {inside}, {added}}}"#)),
                ("POST", "/v1/jobs", format!(r#"{{"name": "c", "x": {inside}, {added}}}"#)),
                ("POST", "/v1/jobs", format!(r#"{{"name": "c", "guard": {inside}, {added}}}"#)),
                ("POST", "/v1/jobs", never_closed.clone()),
                ("PATCH", "/v1/jobs/b", bare),
                ("PATCH", "/v1/jobs/b", format!(r#"{{"cron": {inside}}}"#)),
                ("PATCH", "/v1/jobs/b", format!(r#"{{"interval": {inside}}}"#)),
                ("PATCH", "/v1/jobs/b", never_closed),
            ];
            for (method, path, body) in bodies {
                let status = send(&client, method, path, &body);
                let what = format!("{method} {path} {depth} deep: {status}");
                assert!([400, 413, 422].contains(&status), "{what}");
            }
        }
    }
    assert_eq!(client.try_send("GET", "/readyz", &[], None).unwrap().status, 200);
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(Duration::from_secs(30)).code(), Some(0));
}

#[track_caller]
fn send(client: &Client, method: &str, path: &str, body: &str) -> u16 {
    let fields = [("Content-Type", "application/json")];
    let start: String = body.chars().take(40).collect();
    match client.try_send(method, path, &fields, Some(body)) {
        Ok(answer) => answer.status,
        // What is too large is cut off while it is still being sent.
        Err(_) if body.len() > 256 * 1024 => 413,
        Err(error) => panic!("{method} {path} {start}… of {} bytes: {error}", body.len()),
    }
}
