//! Looking: the list, one job, the daemon, with exactly the members that the contract names.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::house::{House, QUIET, articles, idle, members, release};
use super::support::eventually;
use super::support::world::{JOB, articles_job};

const MEMBERS: [&str; 15] = [
    "description",
    "kind",
    "last_clean",
    "last_run",
    "name",
    "next_run",
    "origin",
    "overdue",
    "paused_since",
    "reason",
    "running",
    "state",
    "timezone",
    "trigger",
    "trigger_in_words",
];

#[track_caller]
fn instant(value: &Value) -> DateTime<chrono::FixedOffset> {
    DateTime::parse_from_rfc3339(value.as_str().expect("a text")).expect("RFC 3339")
}

#[test]
fn the_list_has_every_job_by_name_with_the_members_of_the_contract() {
    let settings = "description = \"articles per user\"\ntimezone = \"Asia/Shanghai\"";
    let house = House::new(settings);
    house.add(&articles("apples", &json!({"interval": "1h", "timezone": "America/New_York"})));
    let list = house.client.get("/v1/jobs").expect(200);
    assert_eq!(members(&list), ["jobs", "now", "version"]);
    assert_eq!(list["version"], env!("CARGO_PKG_VERSION"));
    let age = Utc::now() - instant(&list["now"]).to_utc();
    assert!(age.num_seconds().abs() < 30, "{list:#}");
    let jobs = list["jobs"].as_array().unwrap();
    assert_eq!(jobs.iter().map(|job| &job["name"]).collect::<Vec<_>>(), ["apples", JOB]);
    for job in jobs {
        assert_eq!(members(job), MEMBERS);
        assert_eq!((&job["state"], &job["kind"]), (&"scheduled".into(), &"reconcile".into()));
        assert_eq!((&job["overdue"], &job["running"]), (&false.into(), &json!([])));
        for nothing in ["reason", "paused_since", "last_run", "last_clean"] {
            assert!(job[nothing].is_null(), "{nothing} of {job:#}");
        }
    }
    assert_eq!((&jobs[0]["origin"], &jobs[1]["origin"]), (&"run-time".into(), &"jobs.toml".into()));
    assert_eq!(jobs[0]["trigger"], json!({"interval": "1h"}));
    assert_eq!(jobs[1]["trigger"], json!({"cron": "0 3 * * *"}));
    assert_eq!(jobs[1]["description"], "articles per user");
    assert!(jobs[1]["trigger_in_words"].as_str().unwrap().contains("03:00"));
    assert_eq!(jobs[1]["timezone"], "Asia/Shanghai");
}

#[test]
fn times_are_in_the_zone_of_the_job() {
    let house = House::new("timezone = \"Asia/Shanghai\"");
    house.run_now(JOB);
    let job = house.job(JOB);
    assert!(job["next_run"].as_str().unwrap().ends_with("T03:00:00+08:00"), "{job:#}");
    house.client.post(&format!("/v1/jobs/{JOB}/pause")).expect(200);
    let job = house.job(JOB);
    for time in [
        &job["paused_since"],
        &job["last_clean"],
        &job["last_run"]["slot"],
        &job["last_run"]["started_at"],
        &job["last_run"]["finished_at"],
        &house.runs(JOB)[0]["finished_at"],
    ] {
        assert!(time.as_str().unwrap().ends_with("+08:00"), "{time} in {job:#}");
    }
}

#[test]
fn a_job_shows_what_runs_and_what_ran() {
    let house = House::new(QUIET);
    house.world.shift(1.0);
    let (held, run) = house.hold_a_run();
    let job = house.job(JOB);
    assert_eq!(job["state"], "running");
    let running = &job["running"][0];
    let names = ["attempt", "cause", "dry_run", "id", "slot", "started_at"];
    assert_eq!(members(running), names);
    assert_eq!(
        (&running["id"], &running["cause"], &running["dry_run"], &running["attempt"]),
        (&run.into(), &"trigger".into(), &false.into(), &1.into())
    );
    instant(&running["started_at"]);
    release(held);
    let ended = house.ended(run);
    eventually(super::house::SOON, "the job shows its end", || {
        house.job(JOB)["last_run"]["id"] == run
    });
    let job = house.job(JOB);
    assert_eq!((&job["state"], &job["running"]), (&"scheduled".into(), &json!([])));
    // The samples are most of what there is to tell, and the list tells of many jobs.
    let mut brief = ended.clone();
    brief["report"]["samples"] = json!([]);
    assert_ne!(brief, ended, "the log has them");
    assert_eq!(job["last_run"], brief, "the job and the log tell the same of it");
    assert_eq!(job["last_clean"], ended["finished_at"]);
}

#[test]
fn what_is_known_of_a_job_is_known_after_a_restart() {
    let mut house = House::new(QUIET);
    house.run_now(JOB);
    let before = house.job(JOB);
    house.crash();
    let after = house.job(JOB);
    assert_eq!(
        (&after["last_run"], &after["last_clean"]),
        (&before["last_run"], &before["last_clean"])
    );
}

#[test]
fn the_first_answer_after_a_start_is_that_of_a_whole_daemon() {
    let jobs = (0..500).map(|n| articles_job("").replace(JOB, &format!("job-{n}")));
    let mut house = House::with(&jobs.collect::<String>());
    house.add(&idle("added")).expect(201);
    for _ in 0..3 {
        house.kill();
        house.daemon = house.world.recountd.spawn_run();
        let list = super::house::wait_for("an answer", || {
            house.client.try_send("GET", "/v1/jobs", &[], None).ok()
        });
        assert_eq!(list.expect(200)["jobs"].as_array().unwrap().len(), 501);
    }
}

#[test]
fn the_status_tells_how_the_daemon_is() {
    let house = House::new(QUIET);
    house.add(&idle("a"));
    house.client.post("/v1/jobs/a/pause").expect(200);
    let status = house.status();
    let names = [
        "active_runs",
        "clock_steps",
        "file",
        "jobs",
        "loaded_at",
        "now",
        "pid",
        "queue_depth",
        "reload_error",
        "started_at",
        "state",
        "stopping",
        "timezone",
        "version",
        "workers",
    ];
    assert_eq!(members(&status), names);
    assert_eq!(status["pid"], house.daemon.pid());
    assert_eq!(status["workers"], 10);
    assert_eq!(status["file"], house.world.recountd.jobs_path().to_str().unwrap());
    assert_eq!(status["state"], house.world.state().to_str().unwrap());
    assert_eq!((&status["stopping"], &status["reload_error"]), (&false.into(), &Value::Null));
    let counts = json!({
        "total": 2, "scheduled": 1, "running": 0, "paused": 1, "done": 0, "broken": 0, "overdue": 0,
    });
    assert_eq!(status["jobs"], counts);
    let (held, run) = house.hold_a_run();
    let status = house.status();
    assert_eq!((&status["active_runs"], &status["queue_depth"]), (&1.into(), &0.into()));
    assert_eq!(status["jobs"]["running"], 1);
    release(held);
    house.ended(run);
    house.reload_in_vain(&articles_job("retires = 3"));
    let status = house.status();
    assert!(status["reload_error"].as_str().unwrap().contains("retires"), "{status:#}");
    house.reload(&articles_job("retries = 2"));
    assert!(house.status()["reload_error"].is_null());
}

#[test]
fn what_waits_for_a_worker_waits_in_the_queue() {
    let house =
        House::with(&format!("[daemon]\nworkers = 1\n{}", articles_job("max_instances = 3")));
    let (held, first) = house.hold_a_run();
    let others = [house.trigger(JOB), house.trigger(JOB)];
    let status = house.status();
    assert_eq!(
        (&status["active_runs"], &status["queue_depth"]),
        (&3.into(), &2.into()),
        "{status:#}"
    );
    release(held);
    for run in [first, others[0], others[1]] {
        assert_eq!(house.ended(run)["outcome"], "clean");
    }
}

/// Jobs that between them use every key of a `[jobs.NAME]` table.
fn definitions() -> Vec<Value> {
    let second = "SELECT user_id, COUNT(*) AS arts, COUNT(*) AS again FROM news_article_basic \
                  WHERE status = 2 GROUP BY user_id";
    let mut rich =
        articles("a1", &json!({"interval": "1m30s", "start": "2026-01-02T03:04:05+08:00"}));
    rich["description"] = "with \"quotes\", \\ and \u{7f}ünïcode".into();
    rich["timezone"] = "Asia/Shanghai".into();
    for (key, value) in [
        ("ghosts", json!("remove")),
        ("guard", json!({"max_changed": "12%", "allow_empty": true})),
        ("redis_share", json!("10%")),
        ("misfire_grace", json!("2m")),
        ("coalesce", json!(false)),
        ("max_instances", json!(3)),
        ("timeout", json!("7m")),
        ("retries", json!(4)),
        ("backoff", json!("3s")),
        ("max_backoff", json!("30s")),
        ("jitter", json!("5s")),
        ("mysql", json!("main")),
        ("redis", json!("main")),
    ] {
        rich[key] = value;
    }
    let mut date = articles("b1", &json!({"date": "2036-01-02T03:04:05.5+08:00"}));
    date["target"] = json!({"hash": "h:{id}", "field": "n"});
    date["ghosts"] = "keep".into();
    let mut text = articles("c1", &json!({"cron": "*/5 9-17 * * mon-fri"}));
    text["target"] = json!({"string": "count:{id}"});
    let mut several = articles("d1", &json!({"interval": "1d"}));
    several.as_object_mut().unwrap().remove("target");
    several["query"] = second.into();
    several["targets"] = json!({"arts": {"zset": "z"}, "again": {"hash": "h"}});
    vec![rich, date, text, several]
}

#[test]
fn a_definition_that_was_got_can_be_posted_and_makes_an_equal_job() {
    let house = House::new(QUIET);
    for job in definitions() {
        assert_eq!(members(&house.add(&job).expect(201)), MEMBERS);
    }
    for name in ["a1", "b1", "c1", "d1", JOB] {
        let shown = house.job(name);
        let mut names = MEMBERS.to_vec();
        names.insert(0, "definition");
        assert_eq!(members(&shown), names);
        let mut definition = shown["definition"].clone();
        let copy = format!("copy-of-{name}");
        definition["name"] = copy.as_str().into();
        house.add(&definition).expect(201);
        let again = house.job(&copy);
        assert_eq!(again["definition"], shown["definition"], "{name}");
        assert_eq!(again["next_run"], shown["next_run"]);
        assert_eq!(again["timezone"], shown["timezone"]);
    }
    for job in definitions() {
        let shown = house.job(job["name"].as_str().unwrap());
        for (key, value) in job.as_object().unwrap() {
            let is_instant = ["date", "start"].contains(&key.as_str());
            if is_instant {
                assert_eq!(instant(&shown["definition"][key]), instant(value));
            } else if key != "name" {
                assert_eq!(&shown["definition"][key], value, "{key} of {shown:#}");
            }
        }
    }
}

#[test]
fn head_is_answered_where_get_is_without_a_body() {
    let house = House::new(QUIET);
    for path in ["/", "/healthz", "/v1/jobs", "/v1/runs", "/v1/status", "/v1/openapi.json"] {
        let get = house.client.get(path);
        let head = house.client.send("HEAD", path, &[], None);
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        assert!(!get.body.is_empty(), "{path}");
    }
}
