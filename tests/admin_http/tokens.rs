//! What the real daemon does with the tokens that it is shown, and what its log is told of those that are tried.

use std::time::Duration;

use super::support::guardian::free_port;
use super::support::{Daemon, Recountd, eventually};

const TOKEN: &str = "a-token-of-32-characters-or-more";
const READ_TOKEN: &str = "a-token-with-which-nobody-writes";
const WRONG: &str = "a-token-that-somebody-tries-here";
const SOON: Duration = Duration::from_secs(30);

struct House {
    daemon: Daemon,
    address: String,
    _recountd: Recountd,
}

impl House {
    fn new() -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let tokens = "token = \"${RECOUNTD_TOKEN}\"\nread_token = \"${RECOUNTD_READ_TOKEN}\"\n";
        let admin = format!("[admin]\nlisten = [\"{address}\"]\n{tokens}");
        let recountd = Recountd::new(env!("CARGO_BIN_EXE_recountd"), &super::depth::jobs(&admin))
            .env("RECOUNTD_TOKEN", TOKEN)
            .env("RECOUNTD_READ_TOKEN", READ_TOKEN);
        let house = Self { daemon: recountd.spawn_run(), address, _recountd: recountd };
        let ready = format!("http://{}/readyz", house.address);
        eventually(SOON, "it is ready", || ureq::get(&ready).call().is_ok());
        house
    }

    /// Status and body.
    fn ask(&self, method: &str, path: &str, token: Option<&str>) -> (u16, String) {
        let url = format!("http://{}{path}", self.address);
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let mut answer = agent.run(request.body(()).unwrap()).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    /// Nothing that it was shown or given is in its log.
    fn ends_silently(mut self) {
        let all = self.daemon.stderr.lines().join("\n");
        assert!(![TOKEN, READ_TOKEN, WRONG].iter().any(|token| all.contains(token)), "{all}");
        self.daemon.signal("TERM");
        self.daemon.wait_exit(SOON);
    }
}

#[test]
fn the_read_token_of_jobs_toml_reads_and_says_which_token_writes() {
    let house = House::new();
    for path in ["/v1/status", "/v1/jobs", "/v1/jobs/a", "/metrics", "/admin/scheduled-jobs"] {
        assert_eq!(house.ask("GET", path, Some(READ_TOKEN)).0, 200, "{path}");
        assert_eq!(house.ask("HEAD", path, Some(READ_TOKEN)).0, 200, "{path}");
    }
    for (method, path) in [
        ("POST", "/v1/jobs/a/trigger"),
        ("POST", "/v1/jobs/a/pause"),
        ("POST", "/admin/jobs/a/trigger"),
        ("DELETE", "/v1/jobs/a"),
    ] {
        let (status, body) = house.ask(method, path, Some(READ_TOKEN));
        assert_eq!(status, 403, "{method} {path}");
        assert!(body.contains("urn:recountd:problem:read-only"), "{body}");
        assert!(body.contains("its `token` is the one that may change something"), "{body}");
    }
    assert!(house.ask("GET", "/v1/jobs/a", Some(READ_TOKEN)).1.contains("\"paused_since\":null"));
    assert_eq!(house.ask("POST", "/v1/jobs/a/pause", Some(TOKEN)).0, 200);
    house.ends_silently();
}

#[test]
fn a_wrong_token_is_logged_once_a_minute_with_its_sender_and_never_shown() {
    let house = House::new();
    let told = || {
        let lines = house.daemon.stderr.lines();
        lines.into_iter().filter(|line| line.contains("wrong token")).collect::<Vec<_>>()
    };
    // Whoever shows none may be about to ask for it; who may only read has shown a right one.
    assert_eq!(house.ask("GET", "/v1/status", None).0, 401);
    assert_eq!(house.ask("POST", "/v1/jobs/a/pause", Some(READ_TOKEN)).0, 403);
    assert_eq!(told(), Vec::<String>::new());
    for _ in 0..5 {
        assert_eq!(house.ask("GET", "/v1/status", Some(WRONG)).0, 401);
    }
    eventually(SOON, "it is logged", || !told().is_empty());
    let lines = told();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("127.0.0.1:"), "{lines:?}");
    house.ends_silently();
}
