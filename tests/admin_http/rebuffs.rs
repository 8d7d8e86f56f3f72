//! What the log is told of tokens that are tried, by the real daemon.

use std::time::Duration;

use super::support::guardian::free_port;
use super::support::{Recountd, eventually};

const TOKEN: &str = "a-token-of-32-characters-or-more";
const WRONG: &str = "a-token-that-somebody-tries-here";

#[test]
fn a_wrong_token_is_logged_once_a_minute_with_its_sender_and_never_shown() {
    let address = format!("127.0.0.1:{}", free_port());
    let admin = format!("[admin]\nlisten = [\"{address}\"]\ntoken = \"${{RECOUNTD_TOKEN}}\"\n");
    let recountd = Recountd::new(env!("CARGO_BIN_EXE_recountd"), &super::depth::jobs(&admin));
    let mut daemon = recountd.env("RECOUNTD_TOKEN", TOKEN).spawn_run();
    let url = |path: &str| format!("http://{address}{path}");
    eventually(Duration::from_secs(30), "it is ready", || ureq::get(url("/readyz")).call().is_ok());
    let ask = |token: Option<&str>| {
        let request = ureq::get(url("/v1/status")).config().http_status_as_error(false).build();
        let request = match token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        };
        request.call().unwrap().status().as_u16()
    };
    let told = || {
        let lines = daemon.stderr.lines();
        lines.into_iter().filter(|line| line.contains("wrong token")).collect::<Vec<_>>()
    };
    // Whoever shows none may be about to ask for it.
    assert_eq!((ask(None), ask(Some(TOKEN))), (401, 200));
    assert_eq!(told(), Vec::<String>::new());
    for _ in 0..5 {
        assert_eq!(ask(Some(WRONG)), 401);
    }
    eventually(Duration::from_secs(30), "it is logged", || !told().is_empty());
    let lines = told();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("127.0.0.1:"), "{lines:?}");
    let all = daemon.stderr.lines().join("\n");
    assert!(!all.contains(WRONG) && !all.contains(TOKEN), "{all}");
    daemon.signal("TERM");
    daemon.wait_exit(Duration::from_secs(30));
}
