//! Adding, rescheduling and removing jobs at run time.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use super::house::{House, QUIET, articles, idle, release, wait_for};
use super::support::world::JOB;

/// For so long the daemon is killed again and again.
const KILLING: Duration = Duration::from_secs(20);
const KILLS: usize = 30;

fn in_seconds(seconds: i64) -> Value {
    json!({"date": (Utc::now() + TimeDelta::seconds(seconds)).to_rfc3339()})
}

#[test]
fn a_job_that_was_added_is_there_after_kill_9_and_runs() {
    let mut house = House::new(QUIET);
    let began = Instant::now();
    let mut added = Vec::new();
    while added.len() < KILLS && (began.elapsed() < KILLING || added.len() < 5) {
        let name = format!("job-{}", added.len());
        house.add(&articles(&name, &json!({"interval": "1h"}))).expect(201);
        house.crash();
        added.push(name);
        for name in &added {
            assert_eq!(house.job(name)["state"], "scheduled", "{name} after {} kills", added.len());
        }
    }
    println!("{} kills", added.len());
    for name in &added {
        assert_eq!(house.ended(house.trigger(name))["outcome"], "clean", "{name}");
    }
}

#[test]
fn an_interval_that_was_added_runs_until_it_is_removed() {
    let mut house = House::new(QUIET);
    house.world.shift(1.0);
    let answer = house.add(&articles("often", &json!({"interval": "300ms"})));
    let job = answer.expect(201);
    assert_eq!(answer.header("location"), Some("/v1/jobs/often"));
    assert_eq!((&job["name"], &job["origin"]), (&"often".into(), &"run-time".into()));
    assert_eq!(job["trigger"], json!({"interval": "300ms"}));
    house.run_with("often", "repaired");
    house.run_with("often", "clean");
    let gone = house.client.delete("/v1/jobs/often");
    assert_eq!((gone.status, gone.body.as_str()), (204, ""), "{gone:#?}");
    house.client.get("/v1/jobs/often").problem(404, "no-such-job");
    house.client.delete("/v1/jobs/often").problem(404, "no-such-job");
    assert!(!house.runs("often").is_empty(), "its runs stay on record");
    house.crash();
    house.client.get("/v1/jobs/often").problem(404, "no-such-job");
    house.add(&articles("often", &json!({"interval": "1h"}))).expect(201);
}

#[test]
fn a_date_runs_once_and_the_job_is_gone_and_its_run_stays() {
    let mut house = House::new(QUIET);
    house.add(&articles("order-42", &in_seconds(1))).expect(201);
    let run = house.run_with("order-42", "clean");
    wait_for("it is gone", || (house.client.get("/v1/jobs/order-42").status == 404).then_some(()));
    let path = format!("/v1/runs/{}", run["id"]);
    assert_eq!(house.client.get(&path).expect(200), run);
    assert_eq!(house.runs("order-42"), std::slice::from_ref(&run));
    house.crash();
    house.client.get("/v1/jobs/order-42").problem(404, "no-such-job");
    assert_eq!(house.runs("order-42"), [run], "it does not run again");
    // Its name is free.
    house.add(&articles("order-42", &in_seconds(3_600))).expect(201);
}

#[test]
fn a_date_that_passes_while_the_daemon_is_down_runs_at_the_start() {
    let mut house = House::new(QUIET);
    house.add(&articles("order-43", &in_seconds(2))).expect(201);
    let due = Utc::now() + TimeDelta::seconds(3);
    house.kill();
    wait_for("the date is past", || (Utc::now() > due).then_some(()));
    house.start();
    house.run_with("order-43", "clean");
    wait_for("it is gone", || (house.client.get("/v1/jobs/order-43").status == 404).then_some(()));
}

#[test]
fn a_date_that_is_long_past_is_refused() {
    let house = House::new(QUIET);
    let past = house.add(&articles("late", &in_seconds(-3_600)));
    let problem = past.problem(422, "invalid");
    assert_eq!(problem["errors"][0]["pointer"], "/date");
    assert!(problem["errors"][0]["detail"].as_str().unwrap().contains("1h"), "{problem:#}");
    assert!(problem["errors"][0]["help"].as_str().unwrap().contains("trigger"), "{problem:#}");
    house.client.get("/v1/jobs/late").problem(404, "no-such-job");
    // One that has just passed is within its grace, and runs.
    house.add(&articles("just-now", &in_seconds(-2))).expect(201);
    house.run_with("just-now", "clean");
}

#[test]
fn a_name_is_given_once() {
    let house = House::new(QUIET);
    house.add(&articles("a", &json!({"interval": "1h"}))).expect(201);
    let first = house.job("a");
    let problem = house.add(&idle("a")).problem(409, "job-exists");
    assert!(problem["detail"].as_str().unwrap().contains("another name"), "{problem:#}");
    house.add(&idle(JOB)).problem(409, "job-exists");
    assert_eq!(house.job("a")["definition"], first["definition"], "nothing was changed");
}

#[test]
fn a_trigger_is_changed_also_over_a_restart() {
    let mut house = House::new(QUIET);
    house
        .add(&articles("a", &json!({"cron": "0 3 * * *", "timezone": "Asia/Shanghai"})))
        .expect(201);
    let patched = house.client.patch("/v1/jobs/a", &json!({"interval": "300ms"})).expect(200);
    assert_eq!(patched["trigger"], json!({"interval": "300ms"}));
    assert_eq!(patched["timezone"], "Asia/Shanghai", "what is not named stays");
    house.run_with("a", "clean");
    let change = json!({"cron": "30 4 * * *", "timezone": "America/New_York"});
    let patched = house.client.patch("/v1/jobs/a", &change).expect(200);
    assert!(patched["next_run"].as_str().unwrap().contains("T04:30:00-0"), "{patched:#}");
    house.crash();
    let job = house.job("a");
    assert_eq!(job["trigger"], json!({"cron": "30 4 * * *"}));
    assert_eq!(job["next_run"], patched["next_run"]);
    assert_eq!((&job["state"], &job["timezone"]), (&"scheduled".into(), &patched["timezone"]));
    let change = json!({"interval": "1h", "start": "2026-01-01T00:00:30+00:00"});
    let patched = house.client.patch("/v1/jobs/a", &change).expect(200);
    assert!(patched["next_run"].as_str().unwrap().contains(":00:30"), "{patched:#}");
    house.client.patch("/v1/jobs/a", &in_seconds(1)).expect(200);
    wait_for("it has run and is gone", || {
        (house.client.get("/v1/jobs/a").status == 404).then_some(())
    });
}

#[test]
fn a_change_that_is_not_one_of_the_trigger_is_refused_and_nothing_is_changed() {
    let mut house = House::new(QUIET);
    house.add(&idle("a")).expect(201);
    let before = house.job("a");
    for (change, pointer) in [
        (json!({"query": "SELECT 1, 1"}), "/query"),
        (json!({"cron": "0 25 * * *"}), "/cron"),
        (json!({"cron": null}), "/cron"),
        (json!({"interval": "1h", "cron": "0 3 * * *"}), ""),
        (json!({"timezone": "Mars/Olympus"}), "/timezone"),
        (json!({}), ""),
        (in_seconds(-3_600), "/date"),
    ] {
        let problem = house.client.patch("/v1/jobs/a", &change).problem(422, "invalid");
        let pointers: Vec<&str> = problem["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["pointer"].as_str().unwrap())
            .collect();
        let is_there = pointers.iter().any(|at| at.starts_with(pointer));
        assert!(is_there, "{pointer} in {problem:#} for {change}");
    }
    assert_eq!(house.job("a"), before);
    house.crash();
    assert_eq!(house.job("a")["definition"], before["definition"]);
}

#[test]
fn what_waits_is_dropped_with_a_removed_job_and_what_runs_goes_on() {
    let house =
        House::with(&format!("[daemon]\nworkers = 1\n{}", super::support::world::articles_job("")));
    let mut job = idle("a");
    job["max_instances"] = 2.into();
    house.add(&job).expect(201);
    let held = house.hold();
    let (first, second) = (house.trigger("a"), house.trigger("a"));
    assert_eq!(house.client.delete("/v1/jobs/a").status, 204);
    release(held);
    assert_eq!(house.ended(first)["outcome"], "clean");
    // With the pool it is out of the agenda's hands; it runs, or is recorded as removed.
    let outcome = house.ended(second)["outcome"].clone();
    assert!(outcome == "clean" || outcome == "removed", "{outcome}");
}
