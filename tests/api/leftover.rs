//! Runs that outlive their job: it was removed while they were at work, and another one may have its name by then.

use serde_json::{Value, json};

use super::house::{House, QUIET, SOON, idle, release, wait_for};
use super::support::eventually;
use super::support::world::articles_job;

/// The lines of a scrape that are about this job.
fn metrics_of(house: &House, job: &str) -> Vec<String> {
    let label = format!("job=\"{job}\"");
    let answer = house.client.get("/metrics");
    assert_eq!(answer.status, 200);
    answer.body.lines().filter(|line| line.contains(&label)).map(str::to_owned).collect()
}

#[track_caller]
fn figure(house: &House, start: &str) -> Option<String> {
    let lines = metrics_of(house, "a");
    let line = lines.iter().find(|line| line.starts_with(start))?;
    Some(line.rsplit(' ').next().unwrap().to_owned())
}

const CLEAN: &str = "recountd_slots_total{job=\"a\",outcome=\"clean\"}";
const COMPARED: &str = "recountd_counters_compared_total";

#[test]
fn a_run_whose_job_was_removed_is_shown_with_the_next_job_of_its_name() {
    let mut house = House::new(QUIET);
    house.add(&idle("a")).expect(201);
    let held = house.hold();
    let run = house.trigger("a");
    eventually(SOON, "it is at work", || house.job("a")["state"] == "running");
    assert_eq!(house.client.delete("/v1/jobs/a").status, 204);
    house.client.get("/v1/jobs/a").problem(404, "no-such-job");
    assert_eq!(
        (&house.status()["active_runs"], &house.status()["jobs"]["total"]),
        (&1.into(), &1.into())
    );
    assert_eq!(house.run(run)["outcome"], "running");
    let added = house.add(&idle("a")).expect(201);
    assert_eq!((&added["state"], &added["running"][0]["id"]), (&"running".into(), &run.into()));
    assert_eq!(added["overdue"], false);
    let active = house.client.post("/v1/jobs/a/trigger").problem(409, "active");
    assert_eq!(active["run"], run, "what is in the way can be seen");
    assert_eq!(house.status()["active_runs"], 1);
    release(held);
    assert_eq!(house.ended(run)["outcome"], "clean");
    eventually(SOON, "it is no longer shown", || house.job("a")["running"] == json!([]));
    assert_eq!(house.status()["active_runs"], 0);
    // The record is one of the name, as after a restart; the figures are those of the job.
    assert_eq!(house.job("a")["last_run"]["id"], run);
    assert_eq!(figure(&house, CLEAN), None);
    assert_eq!(figure(&house, COMPARED).as_deref(), Some("0"));
    house.run_now("a");
    assert_eq!(figure(&house, CLEAN).as_deref(), Some("1"));
    let last = house.job("a")["last_run"].clone();
    house.crash();
    assert_eq!(house.job("a")["last_run"], last);
}

#[test]
fn a_run_whose_job_was_removed_ends_without_a_trace_but_its_record() {
    let house = House::with(&format!("[daemon]\nworkers = 1\n{}", articles_job("")));
    let mut job = idle("a");
    job["max_instances"] = 3.into();
    house.add(&job).expect(201);
    let held = house.hold();
    let runs: Vec<u64> = (0..3).map(|_| house.trigger("a")).collect();
    eventually(SOON, "two of them wait", || house.status()["queue_depth"] == 2);
    assert_eq!(house.client.delete("/v1/jobs/a").status, 204);
    let status = house.status();
    assert_eq!((&status["active_runs"], &status["queue_depth"]), (&3.into(), &2.into()));
    release(held);
    for run in &runs {
        assert_eq!(house.ended(*run)["outcome"], "clean");
    }
    wait_for("none is active", || (house.status()["active_runs"] == 0).then_some(()));
    assert_eq!(house.status()["queue_depth"], 0);
    assert!(metrics_of(&house, "a").is_empty());
    let problem = house.client.get("/v1/jobs/b").problem(404, "no-such-job");
    let detail = problem["detail"].as_str().unwrap();
    assert!(!detail.contains("mean a") && detail.ends_with("there is user-articles"), "{detail}");
    // Another one of the name begins from zero, and with what is on record.
    let added = house.add(&idle("a")).expect(201);
    assert_eq!(added["running"], Value::Array(Vec::new()));
    assert!(runs.contains(&added["last_run"]["id"].as_u64().unwrap()), "{added:#}");
    assert_eq!(figure(&house, COMPARED).as_deref(), Some("0"));
}
