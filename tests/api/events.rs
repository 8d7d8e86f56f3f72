//! What happens, live.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::house::{House, QUIET, SOON, articles, idle, members, release};
use super::support::eventually;
use super::support::http::{Event, Events};
use super::support::world::{JOB, articles_job};

fn listen(house: &House, path: &str) -> Events {
    let mut events = house.client.events(path);
    let hello = events.next(SOON).expect("it says hello");
    assert_eq!(hello.kind, "hello");
    assert_eq!(members(&hello.data), ["now", "version"]);
    assert_eq!(hello.data["version"], env!("CARGO_PKG_VERSION"));
    events
}

/// The events up to the end of this run, that included.
fn until_ended(events: &mut Events, run: u64) -> Vec<Event> {
    let mut seen: Vec<Event> = Vec::new();
    loop {
        let event =
            events.next(SOON).unwrap_or_else(|| panic!("run {run} does not end: {seen:#?}"));
        let ended =
            event.kind == "run" && event.data["id"] == run && event.data["finished_at"].is_string();
        seen.push(event);
        if ended {
            return seen;
        }
    }
}

#[test]
fn a_run_is_told_from_its_beginning_to_its_end() {
    let house = House::new(QUIET);
    house.world.shift(1.0);
    let mut events = listen(&house, "/v1/events");
    let run = house.trigger(JOB);
    let seen = until_ended(&mut events, run);
    let runs: Vec<&Value> =
        seen.iter().filter(|event| event.kind == "run").map(|event| &event.data).collect();
    assert!(runs.iter().all(|data| data["id"] == run && data["job"] == JOB), "{seen:#?}");
    assert_eq!(runs.first().unwrap()["outcome"], "running");
    let ended = *runs.last().unwrap();
    assert_eq!((&ended["outcome"], &ended["repairs"]), (&"repaired".into(), &5.into()));
    assert_eq!(ended, &house.ended(run), "as the log tells it");
    let at_work = seen.iter().filter(|event| event.kind == "job");
    let states: Vec<&Value> = at_work.map(|event| &event.data["state"]).collect();
    assert_eq!(states, ["running"]);
    let job = events.until("the job after its run", |event| event.kind == "job");
    assert_eq!(
        (&job.data["state"], &job.data["last_run"]["id"]),
        (&"scheduled".into(), &run.into())
    );
    assert_eq!(job.data, without_definition(house.job(JOB)), "as the list tells it");
    let ids: Vec<u64> = seen.iter().chain([&job]).map(|event| event.id.unwrap()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
}

fn without_definition(mut job: Value) -> Value {
    job.as_object_mut().unwrap().remove("definition");
    job
}

#[test]
fn every_change_of_a_job_is_told() {
    let house = House::new(QUIET);
    let mut events = listen(&house, "/v1/events");
    let mut job = |what: &str, holds: &dyn Fn(&Value) -> bool| {
        events.until(what, |event| event.kind == "job" && holds(&event.data));
    };
    house.add(&idle("a")).expect(201);
    job("added", &|job| job["name"] == "a" && job["state"] == "scheduled");
    house.client.post("/v1/jobs/a/pause").expect(200);
    job("paused", &|job| job["name"] == "a" && job["state"] == "paused");
    house.client.post("/v1/jobs/a/resume").expect(200);
    job("resumed", &|job| job["name"] == "a" && job["paused_since"].is_null());
    house.client.patch("/v1/jobs/a", &json!({"interval": "1h"})).expect(200);
    job("rescheduled", &|job| job["trigger"] == json!({"interval": "1h"}));
    house.client.patch("/v1/jobs/a", &json!({"interval": "300ms"})).expect(200);
    job("run", &|job| job["last_run"]["outcome"] == "clean");
    let next = house.job("a")["next_run"].clone();
    job("the next slot", &|job| job["name"] == "a" && job["next_run"].as_str() > next.as_str());
    assert_eq!(house.client.delete("/v1/jobs/a").status, 204);
    let gone = events.until("gone", |event| event.kind == "gone");
    assert_eq!(gone.data, json!({"name": "a"}));
    house.sighup();
    let reloaded = events.until("reloaded", |event| event.kind == "reloaded");
    assert_eq!(reloaded.data, json!({}));
}

#[test]
fn a_date_that_has_run_is_told_as_gone() {
    let house = House::new(QUIET);
    let mut events = listen(&house, "/v1/events");
    let date = chrono::Utc::now().to_rfc3339();
    house.add(&articles("order-42", &json!({"date": date}))).expect(201);
    let ended = events.until("the run", |event| event.data["outcome"] == "clean");
    assert_eq!((ended.kind.as_str(), &ended.data["job"]), ("run", &"order-42".into()));
    let gone = events.until("gone", |event| event.kind == "gone");
    assert_eq!(gone.data, json!({"name": "order-42"}));
}

#[test]
fn who_asks_for_one_job_hears_of_no_other() {
    let house = House::new(QUIET);
    house.add(&idle("a")).expect(201);
    let mut events = listen(&house, &format!("/v1/events?job={JOB}"));
    house.ended(house.trigger("a"));
    house.client.post("/v1/jobs/a/pause").expect(200);
    let run = house.trigger(JOB);
    let mut seen = until_ended(&mut events, run);
    house.sighup();
    while !seen.iter().any(|event| event.kind == "reloaded") {
        seen.push(events.next(SOON).expect("a reload is for all"));
    }
    for event in seen.iter().filter(|event| event.kind != "reloaded") {
        let name = if event.kind == "run" { &event.data["job"] } else { &event.data["name"] };
        assert_eq!(name, JOB, "{event:#?}");
    }
}

#[test]
fn a_job_that_breaks_and_one_that_comes_back_are_told() {
    let mut house = House::new(QUIET);
    let second = format!(
        "[mysql.second]\nurl = \"{}\"\n{}",
        house.world.database.url(),
        articles_job("mysql = \"main\"")
    );
    house.reload(&second);
    let mut job = idle("a");
    job["mysql"] = "second".into();
    house.add(&job).expect(201);
    let mut events = listen(&house, "/v1/events");
    house.reload(&articles_job(""));
    let broken = events.until("broken", |e| e.kind == "job" && e.data["name"] == "a");
    assert_eq!(broken.data["state"], "broken");
    assert_eq!(broken.data, without_definition(house.job("a")));
    house.reload(&second);
    events.until("back", |e| {
        e.kind == "job" && e.data["state"] == "scheduled" && e.data["name"] == "a"
    });
    house.kill();
    assert!(events.next(SOON).is_none_or(|event| event.kind != "hello"));
}

#[test]
fn the_streams_end_with_the_daemon() {
    let mut house = House::new(QUIET);
    let streams: Vec<Events> = (0..3).map(|_| listen(&house, "/v1/events")).collect();
    let (held, _) = house.hold_a_run();
    house.daemon.signal("TERM");
    eventually(SOON, "it stops", || house.status()["stopping"] == true);
    listen(&house, "/v1/events");
    release(held);
    assert_eq!(house.daemon.wait_exit(SOON).code(), Some(0), "no listener holds it up");
    for mut stream in streams {
        while stream.next(Duration::from_secs(5)).is_some() {}
    }
}

#[test]
fn a_stream_that_was_left_gives_its_place_back_though_nothing_happens() {
    /// A listener's places for streams.
    const PLACES: usize = 32;
    let house = House::new(QUIET);
    let path = format!("/v1/events?job={JOB}");
    let streams: Vec<Events> = (0..PLACES).map(|_| listen(&house, &path)).collect();
    house.client.get(&path).problem(503, "busy");
    drop(streams);
    let left = Instant::now();
    eventually(SOON, "there is a place", || house.client.try_events(&path).is_ok());
    // The next heartbeat, which would have noticed, is 15 s after the hello.
    assert!(left.elapsed() < Duration::from_secs(10), "{:?}", left.elapsed());
}
