//! How the daemon is, for those who look after it, also while its disk is full and while it stops.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;

use super::house::{House, QUIET, SOON, idle, release};
use super::support::http::Client;
use super::support::world::JOB;
use super::support::{Recountd, eventually};

#[test]
fn a_daemon_that_is_well_says_so() {
    let house = House::new(QUIET);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(house.client.get(path).expect(200), json!({"status": "ok"}), "{path}");
    }
}

#[test]
fn a_daemon_that_stops_is_not_ready_and_takes_no_more() {
    let mut house = House::new(QUIET);
    let (held, run) = house.hold_a_run();
    house.daemon.signal("TERM");
    eventually(SOON, "it is not ready", || house.client.get("/readyz").status == 503);
    let problem = house.client.get("/readyz").problem(503, "not-ready");
    assert!(problem["detail"].as_str().unwrap().contains("stopping"), "{problem:#}");
    house.client.get("/healthz").expect(200);
    assert_eq!(house.status()["stopping"], true);
    let refused = [house.client.post(&format!("/v1/jobs/{JOB}/trigger")), house.add(&idle("a"))];
    for refused in refused {
        let problem = refused.problem(503, "stopping");
        assert!(problem["detail"].as_str().unwrap().contains("try again"), "{problem:#}");
        assert!(refused.header("retry-after").is_some());
    }
    assert_eq!(house.run(run)["outcome"], "running");
    release(held);
    assert_eq!(house.daemon.wait_exit(SOON).code(), Some(0));
    house.start();
    assert_eq!(house.run(run)["outcome"], "clean", "what ran was waited for");
    house.client.get("/v1/jobs/a").problem(404, "no-such-job");
}

/// A job that fails at once, because nobody listens there: enough where only the records matter.
const FAILING: &str = "[mysql.main]\nurl = \"mysql://127.0.0.1:1/app\"\n[redis.main]\n\
    url = \"redis://127.0.0.1:1\"\n[jobs.a]\ninterval = \"50ms\"\nretries = 0\n\
    query = \"SELECT 1, 1\"\ntarget = { zset = \"k\" }\n";

fn client(recountd: &Recountd) -> Client {
    Client::unix(recountd.folder().join("recountd.sock"))
}

#[test]
fn a_daemon_whose_disk_is_full_lives_and_is_not_ready() {
    let plain = Recountd::new(env!("CARGO_BIN_EXE_recountd"), FAILING);
    let wrapper = plain.folder().join("on-a-small-disk");
    // The shell's limit on the size of files stands for the disk: 128 blocks of 1024 bytes or of 512.
    let script = format!(
        "#!/bin/sh\ntrap '' XFSZ\nulimit -f 128\nexec {} \"$@\"\n",
        env!("CARGO_BIN_EXE_recountd")
    );
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let small = Recountd::new(&wrapper, FAILING);
    let client = client(&small);
    let daemon = small.spawn_run();
    daemon.wait_for_line("the state cannot be written", SOON);
    let problem = client.get("/readyz").problem(503, "not-ready");
    assert!(problem["detail"].as_str().unwrap().contains("state"), "{problem:#}");
    client.get("/healthz").expect(200);
    assert_eq!(client.get("/v1/status").expect(200)["jobs"]["total"], 1);
    // What need not be on disk first is done all the same.
    assert_eq!(client.post("/v1/jobs/a/pause").expect(200)["name"], "a");
    let run = super::house::wait_for("a run can be had", || {
        let answer = client.post("/v1/jobs/a/trigger");
        (answer.status == 202).then(|| answer.json()["run"].as_u64().unwrap())
    });
    assert_eq!(client.get(&format!("/v1/runs/{run}")).expect(200)["id"], run);
}

#[test]
fn a_daemon_without_a_state_lives_and_is_not_ready() {
    let jobs = format!("[daemon]\nstate = \"/dev/null/recountd.db\"\n{FAILING}");
    let recountd = Recountd::new(env!("CARGO_BIN_EXE_recountd"), &jobs);
    let client = client(&recountd);
    let daemon = recountd.spawn_run();
    daemon.wait_for_line("a: failed", SOON);
    client.get("/readyz").problem(503, "not-ready");
    client.get("/healthz").expect(200);
    // What must be on disk first is not done.
    let job =
        json!({"name": "b", "interval": "1h", "query": "SELECT 1, 1", "target": {"zset": "k"}});
    let refused = client.post_json("/v1/jobs", &job);
    let problem = refused.problem(503, "state");
    assert!(problem["detail"].as_str().unwrap().contains("log"), "{problem:#}");
    assert!(refused.header("retry-after").is_some());
    client.get("/v1/jobs/b").problem(404, "no-such-job");
    let refused = [
        client.get("/v1/runs"),
        client.get("/v1/jobs/a/runs"),
        client.post_once("/v1/jobs/a/pause", "k", None),
        client.delete("/v1/jobs/a"),
    ];
    for (refused, (status, kind)) in refused.iter().zip([
        (503, "state"),
        (503, "state"),
        (503, "state"),
        (409, "from-jobs-toml"),
    ]) {
        refused.problem(status, kind);
    }
    let job = client.get("/v1/jobs/a").expect(200);
    let run = &job["last_run"];
    assert_eq!(run["outcome"], "failed");
    client.post("/v1/jobs/a/pause").expect(200);
    eventually(SOON, "its last run has ended", || {
        client.get("/v1/jobs/a").expect(200)["state"] == "paused"
    });
    let run = client.get("/v1/jobs/a").expect(200)["last_run"].clone();
    let path = format!("/v1/runs/{}", run["id"]);
    assert_eq!(client.get(&path).expect(200), run, "what the daemon knows itself it tells");
}

#[test]
fn a_state_that_comes_late_keeps_its_pauses_and_jobs_and_a_restart_is_asked_for() {
    let recountd = Recountd::new(env!("CARGO_BIN_EXE_recountd"), "");
    let folder = recountd.folder();
    let state = folder.join("disk/recountd.db");
    recountd.write_jobs(&format!("[daemon]\nstate = \"{}\"\n{FAILING}", state.display()));
    // One step makes the folder another one, as a mount does.
    let mount = |what: &str| {
        symlink(folder.join(what), folder.join("new")).unwrap();
        fs::rename(folder.join("new"), folder.join("disk")).unwrap();
    };
    fs::create_dir(folder.join("there")).unwrap();
    fs::write(folder.join("away"), "").unwrap();
    mount("there");
    let client = client(&recountd);
    let mut daemon = recountd.spawn_run();
    daemon.wait_for_line("a: failed", SOON);
    let job =
        json!({"name": "b", "interval": "1h", "query": "SELECT 1, 1", "target": {"zset": "k"}});
    client.post_json("/v1/jobs", &job).expect(201);
    let paused = client.post("/v1/jobs/a/pause").expect(200)["paused_since"].clone();
    daemon.kill();
    mount("away");
    let mut daemon = recountd.spawn_run();
    daemon.wait_for_line("runs are not remembered", SOON);
    daemon.wait_for_line("a: failed", SOON);
    mount("there");
    daemon.wait_for_line("restart the daemon", SOON);
    daemon.wait_for_line("the state can be written again", SOON);
    daemon.wait_for_line("a: failed", SOON);
    eventually(SOON, "what it does now is written", || {
        let runs = client.get("/v1/jobs/a/runs");
        let runs = if runs.status == 200 { runs.json() } else { return false };
        runs["runs"][0]["id"].as_u64().is_some_and(|id| id > 1_000_000_000_000)
    });
    let problem = client.get("/readyz").problem(503, "not-ready");
    assert!(problem["detail"].as_str().unwrap().contains("restart"), "{problem:#}");
    client.get("/v1/jobs/b").problem(404, "no-such-job");
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(SOON).code(), Some(0));
    let _daemon = recountd.spawn_run();
    eventually(SOON, "it is ready", || {
        client.try_send("GET", "/readyz", &[], None).is_ok_and(|answer| answer.status == 200)
    });
    assert_eq!(client.get("/v1/jobs/b").expect(200)["state"], "scheduled");
    let job = client.get("/v1/jobs/a").expect(200);
    assert_eq!((&job["state"], &job["paused_since"]), (&"paused".into(), &paused));
}
