//! Many at once: the daemon answers all, loses no slot and counts none twice.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};

use super::house::{House, SOON, articles};
use super::support::eventually;
use super::support::http::Client;
use super::support::world::{JOB, articles_job};

const OFTEN: &str = "interval = \"200ms\"";
const CLIENTS: usize = 20;

/// One request of a mix that a busy client sends; none of them may fail for a reason of ours.
fn ask(client: &Client, name: &str, nth: usize) {
    let job = articles(name, &json!({"interval": "1h"}));
    let answer = match nth % 10 {
        0 => client.post_json("/v1/jobs", &job),
        1 => client.get("/v1/jobs"),
        2 => client.post(&format!("/v1/jobs/{name}/pause")),
        3 => client.get(&format!("/v1/jobs/{name}")),
        4 => client.post(&format!("/v1/jobs/{name}/trigger")),
        5 => client.get("/v1/runs?limit=100"),
        6 => client.patch(&format!("/v1/jobs/{name}"), &json!({"interval": "2h"})),
        7 => client.get("/v1/status"),
        8 => client.post(&format!("/v1/jobs/{name}/resume")),
        _ => client.delete(&format!("/v1/jobs/{name}")),
    };
    let expected = [201, 200, 200, 200, 202, 200, 200, 200, 200, 204][nth % 10];
    // A listener has 64 places, and as many may wait before it.
    assert_eq!(answer.status, expected, "{nth}: {answer:#?}");
}

/// The slots of the world's job that have a record, the oldest first.
fn slots(house: &House) -> Vec<i64> {
    let mut slots: Vec<i64> = Vec::new();
    for run in house.runs(JOB) {
        if run["cause"] != "slot" {
            continue;
        }
        let slot = DateTime::parse_from_rfc3339(run["slot"].as_str().unwrap()).unwrap();
        slots.extend(
            (0..stands_for(&run))
                .map(|n| (slot - TimeDelta::milliseconds(200 * n)).timestamp_millis()),
        );
    }
    slots.sort_unstable();
    slots
}

/// Every slot of the job from its first to its last record has exactly one that tells of it.
#[track_caller]
fn assert_every_slot_has_a_record(house: &House) {
    let slots = slots(house);
    assert!(slots.len() > 10, "{slots:?}");
    for pair in slots.windows(2) {
        assert_eq!(pair[1] - pair[0], 200, "between {} and {}", pair[0], pair[1]);
    }
}

/// How many slots a record stands for, as its reason tells.
fn stands_for(run: &Value) -> i64 {
    let reason = run["reason"].as_str().unwrap_or_default();
    let count = reason
        .split("for ")
        .filter_map(|rest| rest.strip_suffix(')').or(Some(rest)))
        .find_map(|rest| rest.strip_suffix(" slots")?.parse().ok());
    count.unwrap_or(1)
}

#[test]
fn two_hundred_requests_at_once_during_runs_cost_no_slot() {
    let house = House::new(OFTEN);
    house.run_with(JOB, "clean");
    let mut events = house.client.events("/v1/events");
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let client = house.client.clone();
            let name = format!("job-{number}");
            scope.spawn(move || (0..10).for_each(|nth| ask(&client, &name, nth)));
        }
    });
    assert_eq!(house.status()["jobs"]["total"], 1, "all have gone again");
    for number in 0..CLIENTS {
        let gone = events.until("a job is gone", |event| event.kind == "gone");
        assert!(gone.data["name"].as_str().unwrap().starts_with("job-"), "{number}: {gone:#?}");
    }
    let before = slots(&house).len();
    eventually(SOON, "the schedule goes on", || slots(&house).len() > before + 10);
    eventually(SOON, "no run is left", || {
        let all = house.client.get("/v1/runs?limit=1000").expect(200);
        let runs = all["runs"].as_array().unwrap().clone();
        let of_others = runs.iter().filter(|run| run["job"] != JOB);
        of_others.clone().count() == CLIENTS
            && of_others.clone().all(|run| run["outcome"] == "clean")
    });
    assert_every_slot_has_a_record(&house);
    house.client.get("/readyz").expect(200);
}

#[test]
fn reloads_while_requests_come_in_lose_nothing() {
    let house = House::new(OFTEN);
    house.run_with(JOB, "clean");
    let (over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for number in 0..4 {
            let (client, over, asked) = (house.client.clone(), &over, &asked);
            let name = format!("job-{number}");
            scope.spawn(move || {
                let mut nth = 0;
                // The last round is a whole one, too.
                while !over.load(Ordering::Relaxed) || nth % 10 != 0 {
                    ask(&client, &name, nth);
                    asked.fetch_add(1, Ordering::Relaxed);
                    nth += 1;
                }
            });
        }
        for nth in 0..8 {
            // Every other one is refused, and the last good one stays.
            let retries =
                if nth % 2 == 0 { format!("retries = {nth}") } else { "retires = 1".into() };
            house.world.write_jobs(&articles_job(&format!("{OFTEN}\n{retries}")));
            house.sighup();
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(asked.load(Ordering::Relaxed) >= 40, "{asked:?}");
    assert_eq!(house.job(JOB)["definition"]["retries"], 6);
    assert_eq!(house.status()["jobs"]["total"], 1);
    let before = slots(&house).len();
    eventually(SOON, "the schedule goes on", || slots(&house).len() > before + 10);
    assert_every_slot_has_a_record(&house);
}
