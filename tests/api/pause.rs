//! Pausing: no slot runs, one record tells so, and it holds until somebody resumes.

use serde_json::Value;

use super::house::{House, wait_for};
use super::support::world::{JOB, articles_job};

const OFTEN: &str = "interval = \"200ms\"";

fn pause(house: &House) -> Value {
    house.client.post(&format!("/v1/jobs/{JOB}/pause")).expect(200)
}

fn resume(house: &House) -> Value {
    house.client.post(&format!("/v1/jobs/{JOB}/resume")).expect(200)
}

/// For how many slots the newest record of a pause stands, beyond `more`.
fn passed(house: &House, more: u64) -> (Value, u64) {
    wait_for(&format!("more than {more} slots have passed"), || {
        let runs = house.runs(JOB);
        let record = runs.iter().find(|run| run["outcome"] == "paused")?.clone();
        let reason = record["reason"].as_str().unwrap();
        // "paused since … (for 12 slots)"; one slot is not counted.
        let slots = reason.split("(for ").nth(1).and_then(|rest| rest.split(' ').next());
        let slots = slots.map_or(1, |count| count.parse().unwrap());
        (slots > more).then_some((record, slots))
    })
}

/// The runs of slots, without the records of pauses.
fn slots(house: &House) -> Vec<Value> {
    let runs = house.runs(JOB).into_iter();
    runs.filter(|run| run["cause"] == "slot" && run["outcome"] != "paused").collect()
}

#[test]
fn no_slot_of_a_paused_job_runs_and_one_record_grows() {
    let house = House::new(OFTEN);
    house.run_with(JOB, "clean");
    let paused = pause(&house);
    let since = paused["paused_since"].clone();
    assert!(since.is_string() && paused["next_run"].is_string(), "{paused:#}");
    wait_for("it has no run left", || (house.job(JOB)["state"] == "paused").then_some(()));
    let before = slots(&house);
    let (first, _) = passed(&house, 2);
    let (second, count) = passed(&house, 6);
    assert_eq!(first["id"], second["id"], "it is one record");
    assert!(count > 6 && second["reason"].as_str().unwrap().starts_with("paused since"));
    assert_eq!(slots(&house), before, "nothing ran meanwhile");
    let again = pause(&house);
    assert_eq!(again["paused_since"], since, "to pause again changes nothing");
    assert_eq!(again["overdue"], false);

    let resumed = resume(&house);
    assert!(resumed["paused_since"].is_null() && resumed["state"] != "paused", "{resumed:#}");
    wait_for("slots run again", || (slots(&house).len() > before.len()).then_some(()));
    assert!(resume(&house)["paused_since"].is_null(), "to resume again changes nothing");
}

#[test]
fn a_pause_survives_a_reload_and_kill_9() {
    let mut house = House::new(OFTEN);
    house.run_with(JOB, "clean");
    let since = pause(&house)["paused_since"].clone();
    let before = passed(&house, 0).0;
    // The same job, and the job with another definition and trigger.
    for jobs in [articles_job(OFTEN), articles_job("interval = \"250ms\"\nretries = 1")] {
        house.reload(&jobs);
        assert_eq!(house.job(JOB)["paused_since"], since);
    }
    let ran = slots(&house);
    let known = passed(&house, 3).0;
    assert_eq!(known["id"], before["id"]);
    house.crash();
    assert_eq!(house.job(JOB)["paused_since"], since);
    assert_eq!(house.job(JOB)["state"], "paused");
    wait_for("slots pass after the restart", || {
        let paused = house.runs(JOB).into_iter().filter(|run| run["outcome"] == "paused");
        (paused.count() > 1).then_some(())
    });
    assert_eq!(slots(&house), ran, "nothing ran");
    resume(&house);
    wait_for("slots run again", || (slots(&house).len() > ran.len()).then_some(()));
    house.crash();
    assert!(house.job(JOB)["paused_since"].is_null(), "that it was resumed is remembered, too");
}

#[test]
fn a_paused_job_can_be_triggered_and_stays_paused() {
    let house = House::new("");
    house.world.shift(1.0);
    pause(&house);
    let run = house.trigger(JOB);
    assert_eq!(house.ended(run)["outcome"], "repaired");
    wait_for("it is paused again", || (house.job(JOB)["state"] == "paused").then_some(()));
    assert!(house.world.wrong().is_empty());
}

#[test]
fn what_runs_when_its_job_is_paused_goes_on() {
    let house = House::new("");
    let (held, run) = house.hold_a_run();
    let job = pause(&house);
    assert_eq!((&job["state"], &job["running"][0]["id"]), (&"running".into(), &run.into()));
    assert!(job["paused_since"].is_string());
    super::house::release(held);
    assert_eq!(house.ended(run)["outcome"], "clean");
}

#[test]
fn what_was_answered_is_known_after_kill_9_in_that_moment() {
    let mut house = House::new("");
    for round in 0..15 {
        let is_paused = round % 2 == 0;
        if is_paused {
            pause(&house)
        } else {
            resume(&house)
        };
        house.crash();
        assert_eq!(house.job(JOB)["paused_since"].is_string(), is_paused, "round {round}");
        let run = house.trigger(JOB);
        house.crash();
        let known = house.run(run);
        assert_eq!((&known["job"], &known["cause"]), (&JOB.into(), &"trigger".into()));
        assert!(house.trigger(JOB) > run, "no number is given twice");
    }
}
