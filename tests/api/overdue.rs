//! Overdue: a slot that is not dealt with is late by more than the job's period.

use super::house::{House, SOON, articles, release, wait_for};
use super::support::eventually;
use super::support::world::JOB;
use serde_json::json;

#[test]
fn a_job_whose_run_hangs_for_longer_than_its_period_is_overdue_until_it_ends() {
    let house = House::new("interval = \"500ms\"");
    // A period of an hour is not over so soon, however long its run hangs.
    house.add(&articles("hourly", &json!({"interval": "1h"}))).expect(201);
    house.run_with(JOB, "clean");
    assert_eq!(house.job(JOB)["overdue"], false);
    let held = house.hold();
    house.trigger("hourly");
    eventually(SOON, "it is overdue", || house.job(JOB)["overdue"] == true);
    let job = house.job(JOB);
    assert_eq!(job["state"], "running");
    assert_eq!(house.job("hourly")["overdue"], false);
    assert_eq!(house.status()["jobs"]["overdue"], 1);
    let run = job["running"][0]["id"].as_u64().unwrap();
    house.client.post(&format!("/v1/jobs/{JOB}/pause")).expect(200);
    assert_eq!(house.job(JOB)["overdue"], true, "a pause does not end what hangs");
    release(held);
    house.ended(run);
    wait_for("it is not overdue", || (house.job(JOB)["overdue"] == false).then_some(()));
    house.client.post(&format!("/v1/jobs/{JOB}/resume")).expect(200);
    house.run_with(JOB, "clean");
    eventually(SOON, "it is not overdue", || house.job(JOB)["overdue"] == false);
}

#[test]
fn a_triggered_run_has_no_slot_to_be_late_for() {
    let house = House::new("interval = \"500ms\"");
    house.client.post(&format!("/v1/jobs/{JOB}/pause")).expect(200);
    eventually(SOON, "it is paused", || house.job(JOB)["state"] == "paused");
    let (held, run) = house.hold_a_run();
    let begun = house.job(JOB)["running"][0]["started_at"].clone();
    let begun = chrono::DateTime::parse_from_rfc3339(begun.as_str().unwrap()).unwrap();
    eventually(SOON, "a period and a half has passed", || {
        chrono::Utc::now() > begun + chrono::TimeDelta::milliseconds(750)
    });
    assert_eq!(house.job(JOB)["overdue"], false);
    release(held);
    house.ended(run);
}
