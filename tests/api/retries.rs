//! `Idempotency-Key`: what is sent again is done once and answered the same.

use std::thread;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::house::{House, QUIET, articles, idle, release};
use super::support::http::Response;
use super::support::world::JOB;

fn trigger_path() -> String {
    format!("/v1/jobs/{JOB}/trigger")
}

/// That this is the same answer once more.
#[track_caller]
fn assert_replayed(again: &Response, first: &Response) {
    assert_eq!(first.header("idempotency-replayed"), None, "{first:#?}");
    assert_eq!(again.header("idempotency-replayed"), Some("true"), "{again:#?}");
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    for header in ["location", "content-type"] {
        assert_eq!(again.header(header), first.header(header), "{header}");
    }
}

#[test]
fn a_trigger_that_is_sent_twice_makes_one_run_also_over_kill_9() {
    let mut house = House::new(QUIET);
    let path = trigger_path();
    let first = house.client.post_once(&path, "k-1", None);
    let run = first.expect(202)["run"].as_u64().unwrap();
    assert_replayed(&house.client.post_once(&path, "k-1", None), &first);
    house.ended(run);
    assert_replayed(&house.client.post_once(&path, "k-1", None), &first);
    house.crash();
    assert_replayed(&house.client.post_once(&path, "k-1", None), &first);
    assert_eq!(house.runs(JOB).len(), 1);
    let second = house.client.post_once(&path, "k-2", None);
    assert_eq!(second.header("idempotency-replayed"), None);
    assert_ne!(second.expect(202)["run"], run, "another key is another run");
}

#[test]
fn a_job_that_is_sent_twice_is_added_once_also_over_kill_9() {
    let mut house = House::new(QUIET);
    let job = idle("a");
    let first = house.client.post_once("/v1/jobs", "add a", Some(&job));
    first.problem(400, "bad-request");
    let first = house.client.post_once("/v1/jobs", "add-a", Some(&job));
    first.expect(201);
    assert_replayed(&house.client.post_once("/v1/jobs", "add-a", Some(&job)), &first);
    house.crash();
    assert_replayed(&house.client.post_once("/v1/jobs", "add-a", Some(&job)), &first);
    house.client.post_once("/v1/jobs", "add-b", Some(&job)).problem(409, "job-exists");
}

#[test]
fn a_job_whose_answer_was_never_kept_is_answered_as_added() {
    let mut house = House::new(QUIET);
    let job = articles("a", &json!({"interval": "1h"}));
    house.client.post_once("/v1/jobs", "add-a", Some(&job)).expect(201);
    house.kill();
    // Killed between the job and its answer: the one is on disk, the other is not.
    let state = Connection::open(house.world.state()).unwrap();
    assert_eq!(state.execute("DELETE FROM answers", []).unwrap(), 1);
    drop(state);
    house.start();
    house.client.post_once("/v1/jobs", "other", Some(&job)).problem(409, "job-exists");
    house.client.post_json("/v1/jobs", &job).problem(409, "job-exists");
    let mut changed = job.clone();
    changed["interval"] = "2h".into();
    house.client.post_once("/v1/jobs", "add-a", Some(&changed)).problem(409, "job-exists");
    let answer = house.client.post_once("/v1/jobs", "add-b", Some(&idle("b")));
    answer.expect(201);
    let state = Connection::open(house.world.state()).unwrap();
    state.execute("DELETE FROM answers", []).unwrap();
    drop(state);
    let answer = house.client.post_once("/v1/jobs", "add-a", Some(&job));
    assert_eq!(answer.expect(201)["name"], "a");
    assert_eq!(answer.header("location"), Some("/v1/jobs/a"));
    assert_eq!(house.client.get("/v1/jobs").expect(200)["jobs"].as_array().unwrap().len(), 3);
}

#[test]
fn a_key_is_for_one_request() {
    let house = House::new(QUIET);
    house.add(&idle("a")).expect(201);
    let path = trigger_path();
    house.ended(house.client.post_once(&path, "k", None).expect(202)["run"].as_u64().unwrap());
    let dry = json!({"dry_run": true});
    for (path, body) in [(path.as_str(), Some(&dry)), ("/v1/jobs/a/trigger", None)] {
        let problem = house.client.post_once(path, "k", body).problem(422, "key-reused");
        assert!(problem["detail"].as_str().unwrap().contains("new one"), "{problem:#}");
    }
    assert_eq!(house.client.get("/v1/runs").expect(200)["runs"].as_array().unwrap().len(), 1);
}

#[test]
fn another_query_is_another_request() {
    let house = House::new(QUIET);
    let path = trigger_path();
    house.ended(house.client.post_once(&path, "k", None).expect(202)["run"].as_u64().unwrap());
    for other in ["?", "?a=1"] {
        let answer = house.client.post_once(&format!("{path}{other}"), "k", None);
        match other {
            "?" => assert_eq!(answer.header("idempotency-replayed"), Some("true"), "{answer:#?}"),
            _ => drop(answer.problem(422, "key-reused")),
        }
    }
    assert_eq!(house.runs(JOB).len(), 1);
}

#[test]
fn what_is_wrong_with_a_request_is_answered_the_same_too() {
    let house = House::new(QUIET);
    let mut wrong = idle("a");
    wrong["cron"] = "0 25 * * *".into();
    let refused = house.client.post_once("/v1/jobs", "k", Some(&wrong));
    refused.problem(422, "invalid");
    assert_replayed(&house.client.post_once("/v1/jobs", "k", Some(&wrong)), &refused);
    house.client.post_once("/v1/jobs", "k", Some(&idle("a"))).problem(422, "key-reused");
    let text = json!("no object");
    let refused = house.client.post_once("/v1/jobs", "other", Some(&text));
    refused.problem(400, "bad-request");
    assert_replayed(&house.client.post_once("/v1/jobs", "other", Some(&text)), &refused);
}

#[test]
fn a_refusal_that_passes_by_itself_is_not_kept() {
    let house = House::new(QUIET);
    house.client.post_once("/v1/jobs/a/pause", "k", None).problem(404, "no-such-job");
    house.add(&idle("a")).expect(201);
    let answer = house.client.post_once("/v1/jobs/a/pause", "k", None);
    assert!(answer.expect(200)["paused_since"].is_string());
    assert_eq!(answer.header("idempotency-replayed"), None);
    let (held, run) = house.hold_a_run();
    house.client.post_once(&trigger_path(), "run", None).problem(409, "active");
    release(held);
    house.ended(run);
    super::house::wait_for("the run is out of the way", || {
        let answer = house.client.post_once(&trigger_path(), "run", None);
        assert_eq!(answer.header("idempotency-replayed"), None);
        (answer.status == 202).then_some(())
    });
}

#[test]
fn a_stop_is_not_kept_as_an_answer() {
    let mut house = House::new(QUIET);
    let (held, run) = house.hold_a_run();
    house.daemon.signal("TERM");
    super::support::eventually(super::house::SOON, "it stops", || {
        house.status()["stopping"] == true
    });
    house.client.post_once(&trigger_path(), "k", None).problem(503, "stopping");
    release(held);
    house.daemon.wait_exit(super::house::SOON);
    house.start();
    let answer = house.client.post_once(&trigger_path(), "k", None);
    assert!(answer.expect(202)["run"].as_u64().unwrap() > run);
    assert_eq!(answer.header("idempotency-replayed"), None);
}

#[test]
fn twenty_at_the_same_time_with_one_key_make_one_run_and_one_job() {
    let house = House::new("max_instances = 20");
    for round in 0..5 {
        let key = format!("trigger-{round}");
        let answers = twenty(&house, &trigger_path(), &key, None);
        let runs: Vec<u64> = answers
            .iter()
            .filter(|answer| answer.status == 202)
            .map(|answer| answer.json()["run"].as_u64().unwrap())
            .collect();
        assert!(runs.iter().all(|run| *run == runs[0]), "{runs:?}");
        assert_eq!(house.runs(JOB).len(), round + 1, "one run a key");
        let job = idle(&format!("job-{round}"));
        twenty(&house, "/v1/jobs", &format!("add-{round}"), Some(&job));
    }
    let jobs = house.client.get("/v1/jobs").expect(200);
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 6);
}

/// The same request twenty times at once: one is carried out, the others are told to wait or are given its answer.
fn twenty(house: &House, path: &str, key: &str, body: Option<&Value>) -> Vec<Response> {
    let answers: Vec<Response> = thread::scope(|scope| {
        let ask = || house.client.post_once(path, key, body);
        let asking: Vec<_> = (0..20).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|answer| answer.join().unwrap()).collect()
    });
    let (done, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| [201, 202].contains(&answer.status));
    let first = done.iter().filter(|answer| answer.header("idempotency-replayed").is_none());
    assert_eq!(first.count(), 1, "{answers:#?}");
    for refused in refused {
        refused.problem(409, "key-in-use");
        assert!(refused.header("retry-after").is_some());
    }
    answers
}

#[test]
fn a_key_that_is_none_is_refused() {
    let house = House::new(QUIET);
    let long = "k".repeat(256);
    for key in ["", "   ", &long, "a\tb", "two words", "schlüssel"] {
        let refused = house.client.post_once(&trigger_path(), key, None);
        let problem = refused.problem(400, "bad-request");
        assert!(problem["detail"].as_str().unwrap().contains("255"), "{problem:#}");
    }
    let two = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")];
    house.client.send("POST", &trigger_path(), &two, None).problem(400, "bad-request");
    assert!(house.runs(JOB).is_empty());
    house.client.post_once(&trigger_path(), &"k".repeat(255), None).expect(202);
}
