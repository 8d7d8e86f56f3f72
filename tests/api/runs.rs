//! Running a job now, and the log of runs.

use serde_json::{Value, json};

use super::house::{House, QUIET, idle, members, release};
use super::support::world::JOB;

#[test]
fn a_triggered_run_is_found_at_once_and_repairs_with_evidence() {
    let house = House::new(QUIET);
    house.world.shift(3.0);
    let answer = house.client.post(&format!("/v1/jobs/{JOB}/trigger"));
    let run = answer.expect(202)["run"].as_u64().unwrap();
    assert_eq!(members(&answer.json()), ["run"]);
    let location = answer.header("location").unwrap().to_owned();
    assert_eq!(location, format!("/v1/runs/{run}"));
    let begun = house.client.get(&location).expect(200);
    assert_eq!((&begun["id"], &begun["job"]), (&run.into(), &JOB.into()));
    let ended = house.ended(run);
    assert_eq!(ended["outcome"], "repaired");
    let names = [
        "attempts",
        "cause",
        "dry_run",
        "duration_ms",
        "evidence",
        "finished_at",
        "id",
        "job",
        "outcome",
        "reason",
        "repairs",
        "report",
        "slot",
        "started_at",
    ];
    assert_eq!(members(&begun), names);
    assert_eq!(members(&ended), names);
    assert_eq!(
        (&ended["cause"], &ended["dry_run"], &ended["attempts"], &ended["repairs"]),
        (&"trigger".into(), &false.into(), &1.into(), &5.into())
    );
    assert_eq!(
        (&ended["report"]["drifted"], &ended["report"]["drift_sum"]),
        (&5.into(), &(-15).into())
    );
    assert_eq!(ended["report"]["samples"].as_array().unwrap().len(), 5);
    assert!(house.world.wrong().is_empty());
    let told = house.world.call(&["explain", JOB, "3"], 0).stdout;
    assert!(told.contains(&format!("run {run}")), "{told}");
    // The log of the command and of the API is the same one.
    let printed = house.world.runs();
    let runs = house.runs(JOB);
    assert_eq!(printed.len(), runs.len());
    for (name, value) in printed[0].as_object().unwrap() {
        assert_eq!(value, &runs[0][name], "{name}");
    }
}

#[test]
fn a_dry_run_writes_nothing_and_ends_drift() {
    let house = House::new(QUIET);
    house.world.shift(3.0);
    let before = house.world.image();
    let path = format!("/v1/jobs/{JOB}/trigger");
    let answer = house.client.post_json(&path, &json!({"dry_run": true}));
    let ended = house.ended(answer.expect(202)["run"].as_u64().unwrap());
    assert_eq!((&ended["outcome"], &ended["dry_run"]), (&"drift".into(), &true.into()));
    assert_eq!((&ended["report"]["drifted"], &ended["repairs"]), (&5.into(), &0.into()));
    assert_eq!(house.world.image(), before, "nothing was written");
    assert_eq!(house.world.wrong().len(), 5);
    super::house::wait_for("the job shows it", || {
        (house.job(JOB)["last_run"]["id"] == ended["id"]).then_some(())
    });
    assert!(house.job(JOB)["last_clean"].is_null());
    // An empty object is a run like any other.
    let answer = house.client.post_json(&path, &json!({}));
    let ended = house.ended(answer.expect(202)["run"].as_u64().unwrap());
    assert_eq!((&ended["outcome"], &ended["dry_run"]), (&"repaired".into(), &false.into()));
}

#[test]
fn a_second_trigger_while_one_runs_is_refused_with_the_number_of_the_run() {
    let house = House::new(QUIET);
    let (held, run) = house.hold_a_run();
    let refused = house.client.post(&format!("/v1/jobs/{JOB}/trigger"));
    let problem = refused.problem(409, "active");
    assert_eq!(problem["run"], run);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(&format!("run {run}")) && detail.contains("max_instances"), "{detail}");
    let running = house.run(run);
    assert_eq!((&running["outcome"], &running["finished_at"]), (&"running".into(), &Value::Null));
    release(held);
    house.ended(run);
    assert_eq!(house.ended(house.trigger(JOB))["outcome"], "clean");
    assert_eq!(house.runs(JOB).len(), 2, "what was refused leaves no run");
}

#[test]
fn the_log_is_the_newest_first_and_no_longer_than_asked_for() {
    let house = House::new(QUIET);
    house.add(&idle("other")).expect(201);
    let mine: Vec<u64> =
        (0..3).map(|_| house.ended(house.trigger(JOB))["id"].as_u64().unwrap()).collect();
    let other = house.ended(house.trigger("other"))["id"].as_u64().unwrap();
    let ids = |path: &str| -> Vec<u64> {
        let answer = house.client.get(path).expect(200);
        assert_eq!(members(&answer), ["runs"]);
        answer["runs"].as_array().unwrap().iter().map(|run| run["id"].as_u64().unwrap()).collect()
    };
    assert_eq!(ids("/v1/runs"), [other, mine[2], mine[1], mine[0]]);
    assert_eq!(ids("/v1/runs?limit=2"), [other, mine[2]]);
    assert_eq!(ids(&format!("/v1/jobs/{JOB}/runs?limit=2")), [mine[2], mine[1]]);
    assert_eq!(ids("/v1/jobs/other/runs?limit=1000"), [other]);
}

#[test]
fn a_run_beside_the_daemon_is_in_the_log_under_its_name() {
    let house = House::new(QUIET);
    house.world.shift(1.0);
    house.world.call(&["once", JOB], 0);
    let beside = &house.runs(JOB)[0];
    assert_eq!((&beside["id"], &beside["cause"]), (&"o1".into(), &"once".into()));
    let one = house.client.get("/v1/runs/o1").expect(200);
    assert_eq!((&one, &one["outcome"]), (beside, &"repaired".into()));
}

#[test]
fn a_run_that_was_killed_is_interrupted_and_its_number_is_not_given_again() {
    let mut house = House::new(QUIET);
    let (held, run) = house.hold_a_run();
    super::support::eventually(super::house::SOON, "the run is on disk", || {
        house.world.runs().iter().any(|row| row["id"] == run)
    });
    house.crash();
    assert_eq!(house.run(run)["outcome"], "interrupted");
    release(held);
    assert!(house.trigger(JOB) > run);
}
