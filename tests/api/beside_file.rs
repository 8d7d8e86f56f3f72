//! Jobs that were added at run time beside those of jobs.toml: who may change which, and what a reload does.

use serde_json::{Value, json};

use super::house::{House, QUIET, articles, idle, wait_for};
use super::support::servers_toml;
use super::support::world::{JOB, articles_job};

#[test]
fn a_job_of_the_file_is_changed_in_the_file() {
    let house = House::new(QUIET);
    let path = format!("/v1/jobs/{JOB}");
    let refused =
        [house.client.patch(&path, &json!({"interval": "1h"})), house.client.delete(&path)];
    for refused in refused {
        let problem = refused.problem(409, "from-jobs-toml");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("jobs.toml") && detail.contains("edit"), "{detail}");
        assert!(detail.contains("reload") && detail.contains(JOB), "{detail}");
    }
    assert_eq!(house.job(JOB)["trigger"], json!({"cron": "0 3 * * *"}));
}

/// The servers of the world, and the same MySQL once more under another name.
fn with_second_mysql(house: &House) -> String {
    format!(
        "[mysql.second]\nurl = \"{}\"\n{}",
        house.world.database.url(),
        articles_job("mysql = \"main\"")
    )
}

fn on_second(name: &str) -> Value {
    let mut job = articles(name, &json!({"interval": "1h", "description": "on the second"}));
    job["mysql"] = "second".into();
    job
}

#[test]
fn a_job_whose_server_a_reload_removes_is_broken_until_it_is_back() {
    let mut house = House::new(QUIET);
    house.reload(&with_second_mysql(&house));
    house.add(&on_second("a")).expect(201);
    assert_eq!(house.ended(house.trigger("a"))["outcome"], "clean");
    house.reload(&articles_job(""));
    let broken = |house: &House| {
        let job = house.job("a");
        assert_eq!((&job["state"], &job["origin"]), (&"broken".into(), &"run-time".into()));
        assert!(job["reason"].as_str().unwrap().contains("second"), "{job:#}");
        assert_eq!(
            (&job["next_run"], &job["description"]),
            (&Value::Null, &"on the second".into())
        );
        assert_eq!(job["definition"]["mysql"], "second");
        assert_eq!(job["trigger"], json!({"interval": "1h"}));
        assert_eq!(house.status()["jobs"]["broken"], 1);
        let list = house.client.get("/v1/jobs").expect(200);
        let listed = list["jobs"].as_array().unwrap().iter().find(|job| job["name"] == "a");
        assert!(listed.unwrap().get("definition").is_none(), "{list:#}");
    };
    broken(&house);
    // There is one, it only cannot run.
    for what in ["trigger", "pause", "resume"] {
        let problem = house.client.post(&format!("/v1/jobs/a/{what}")).problem(409, "broken");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("second") && !detail.contains("did you mean a?"), "{detail}");
    }
    house.crash();
    broken(&house);
    house.add(&on_second("a")).problem(409, "job-exists");
    house.reload(&with_second_mysql(&house));
    let job = house.job("a");
    assert_eq!((&job["state"], &job["reason"]), (&"scheduled".into(), &Value::Null));
    assert_eq!(house.ended(house.trigger("a"))["outcome"], "clean");
}

#[test]
fn a_broken_job_can_be_removed() {
    let mut house = House::new(QUIET);
    house.reload(&with_second_mysql(&house));
    house.add(&on_second("a")).expect(201);
    house.reload(&articles_job(""));
    assert_eq!(house.job("a")["state"], "broken");
    assert_eq!(house.client.delete("/v1/jobs/a").status, 204);
    house.client.get("/v1/jobs/a").problem(404, "no-such-job");
    house.reload(&with_second_mysql(&house));
    house.client.get("/v1/jobs/a").problem(404, "no-such-job");
    house.crash();
    house.client.get("/v1/jobs/a").problem(404, "no-such-job");
    assert_eq!(house.status()["jobs"]["broken"], 0);
}

#[test]
fn the_file_wins_over_an_added_job_and_gives_it_back() {
    let mut house = House::new(QUIET);
    house.add(&articles("second", &json!({"interval": "1h"}))).expect(201);
    let file = format!(
        "{}{}",
        articles_job(""),
        articles_job("description = \"of the file\"").replace(JOB, "second")
    );
    house.reload(&file);
    let of_file = |house: &House| {
        let job = house.job("second");
        assert_eq!(
            (&job["origin"], &job["description"]),
            (&"jobs.toml".into(), &"of the file".into())
        );
        assert_eq!(job["trigger"], json!({"cron": "0 3 * * *"}));
        assert_eq!(house.status()["jobs"]["total"], 2, "there is one of the name");
        house.client.delete("/v1/jobs/second").problem(409, "from-jobs-toml");
    };
    of_file(&house);
    house.crash();
    of_file(&house);
    house.reload(&articles_job(""));
    let job = house.job("second");
    assert_eq!((&job["origin"], &job["trigger"]), (&"run-time".into(), &json!({"interval": "1h"})));
    assert_eq!(house.client.delete("/v1/jobs/second").status, 204);
}

#[test]
fn an_added_job_survives_a_reload_and_goes_on() {
    let house = House::new(QUIET);
    house.add(&articles("often", &json!({"interval": "300ms"}))).expect(201);
    house.run_with("often", "clean");
    house.reload(&articles_job("retries = 1"));
    let before = house.runs("often").len();
    wait_for("it goes on", || (house.runs("often").len() > before + 1).then_some(()));
    let slots: Vec<Value> = house.runs("often").iter().map(|run| run["slot"].clone()).collect();
    let mut once = slots.clone();
    once.dedup();
    assert_eq!(slots, once, "no slot ran twice");
}

#[test]
fn the_defaults_of_the_file_are_those_of_added_jobs() {
    let house = House::new(QUIET);
    house.add(&idle("a")).expect(201);
    let head = servers_toml(house.world.database.url(), &house.world.redis.url());
    let defaults = format!("[defaults]\nretries = 7\n{}", articles_job(""));
    house.world.recountd.write_jobs(&format!("{head}{defaults}"));
    house.sighup();
    assert_eq!(house.job("a")["definition"]["retries"], 7);
}

#[test]
fn an_added_job_whose_definition_is_damaged_is_broken_and_can_be_removed() {
    let mut house = House::new(QUIET);
    house.add(&idle("a")).expect(201);
    house.add(&idle("b")).expect(201);
    house.kill();
    let state = rusqlite::Connection::open(house.world.state()).unwrap();
    let damage = "UPDATE added SET definition = substr(definition, 1, 20) WHERE name = 'a'";
    assert_eq!(state.execute(damage, []).unwrap(), 1);
    house.start();
    assert_eq!(house.job("b")["state"], "scheduled", "the others are not touched");
    let job = house.job("a");
    assert_eq!((&job["state"], &job["origin"]), (&"broken".into(), &"run-time".into()));
    let reason = job["reason"].as_str().unwrap();
    assert!(reason.contains("damaged") && reason.contains("remove"), "{reason}");
    house.add(&idle("a")).problem(409, "job-exists");
    house.client.post("/v1/jobs/a/trigger").problem(409, "broken");
    house.client.patch("/v1/jobs/a", &json!({"interval": "1h"})).problem(422, "invalid");
    assert_eq!(house.client.delete("/v1/jobs/a").status, 204);
    house.client.get("/v1/jobs/a").problem(404, "no-such-job");
    house.add(&idle("a")).expect(201);
    house.crash();
    assert_eq!(house.job("a")["state"], "scheduled");
}
