//! No answer contains a password or the token.

use mysql::prelude::Queryable;
use serde_json::json;

use super::house::{House, QUIET, SOON, idle};
use super::old_routes::TOKEN;
use super::support::http::Client;
use super::support::world::{JOB, World, articles_job};
use super::support::{Mariadb, Redis, eventually};

const MYSQL_PASSWORD: &str = "mysql-secret-4711";
const REDIS_PASSWORD: &str = "redis-secret-0815";

/// A world whose servers want passwords, and whose daemon knows them, and the token, from its environment.
fn world() -> World {
    let mariadb = Mariadb::shared();
    let redis = Redis::start_with(&["--requirepass", REDIS_PASSWORD]);
    let mut world = World::on(mariadb, redis, 20, 400, "");
    let user = format!("app_{}", world.database.name());
    let name = world.database.name();
    for statement in [
        format!("CREATE USER {user}@'127.0.0.1' IDENTIFIED BY '{MYSQL_PASSWORD}'"),
        format!("GRANT SELECT ON {name}.* TO {user}@'127.0.0.1'"),
    ] {
        world.mysql().query_drop(statement).unwrap();
    }
    let mysql = format!("mysql://{user}:${{MYSQL_PASSWORD}}@127.0.0.1:{}/{name}", mariadb.port());
    let redis = format!("redis://:${{REDIS_PASSWORD}}@127.0.0.1:{}/0", world.redis.port());
    let wrong = format!("mysql://{user}:${{REDIS_PASSWORD}}@127.0.0.1:{}/{name}", mariadb.port());
    let wrong_job = articles_job("mysql = \"wrong\"\nretries = 0").replace(JOB, "wrong");
    world.recountd = world
        .recountd
        .env("MYSQL_PASSWORD", MYSQL_PASSWORD)
        .env("REDIS_PASSWORD", REDIS_PASSWORD)
        .env("RECOUNTD_TOKEN", TOKEN);
    let socket = world.recountd.folder().join("recountd.sock");
    world.recountd.write_jobs(&format!(
        "[mysql.main]\nurl = \"{mysql}\"\n[mysql.wrong]\nurl = \"{wrong}\"\n[redis.main]\nurl = \"{redis}\"\n\
         [admin]\nlisten = [\"unix:{}\", \"127.0.0.1:0\"]\ntoken = \"${{RECOUNTD_TOKEN}}\"\n{}{wrong_job}",
        socket.display(),
        articles_job("mysql = \"main\"\nredis = \"main\"").replace(
            "[jobs.user-articles]\n",
            "[jobs.user-articles]\ndescription = \"articles\"\n"
        )
    ));
    world
}

#[test]
fn no_answer_shows_a_password_or_the_token() {
    let house = House::of(world());
    house.world.shift(1.0);
    let line = house.daemon.wait_for_line("listening on 127.0.0.1:", SOON);
    let address = line.rsplit(' ').next().unwrap().parse().unwrap();
    let tcp = Client::tcp(address, TOKEN);
    let mut events = tcp.events("/v1/events");
    let mut told: Vec<String> = Vec::new();
    let run = house.trigger(JOB);
    assert_eq!(house.ended(run)["outcome"], "repaired", "the passwords are right");
    let failed = house.ended(house.trigger("wrong"));
    assert_eq!(failed["outcome"], "failed");
    assert!(failed["reason"].as_str().unwrap().contains("denied"), "{failed:#}");
    let mut other = idle("a");
    (other["mysql"], other["redis"]) = ("main".into(), "main".into());
    let mut bad = other.clone();
    bad["mysql"] = "wrnog".into();
    let dry = json!({"dry_run": true}).to_string();
    let requests: Vec<(&str, String, Option<String>)> = vec![
        ("POST", "/v1/jobs".into(), Some(bad.to_string())),
        ("POST", "/v1/jobs".into(), Some(other.to_string())),
        ("PATCH", "/v1/jobs/a".into(), Some(json!({"interval": "1h"}).to_string())),
        ("POST", "/v1/jobs/a/pause".into(), None),
        ("POST", "/v1/jobs/a/resume".into(), None),
        ("POST", "/v1/jobs/a/trigger".into(), Some(dry)),
        ("GET", "/".into(), None),
        ("GET", "/healthz".into(), None),
        ("GET", "/readyz".into(), None),
        ("GET", "/metrics".into(), None),
        ("GET", "/v1/openapi.json".into(), None),
        ("GET", "/v1/status".into(), None),
        ("GET", "/v1/jobs".into(), None),
        ("GET", format!("/v1/jobs/{JOB}"), None),
        ("GET", "/v1/jobs/wrong".into(), None),
        ("GET", "/v1/jobs/a".into(), None),
        ("GET", "/v1/jobs/wrong/runs".into(), None),
        ("GET", "/v1/runs".into(), None),
        ("GET", format!("/v1/runs/{run}"), None),
        ("GET", "/v1/runs/4711".into(), None),
        ("GET", "/admin/scheduled-jobs".into(), None),
        ("POST", "/admin/jobs/wrong/trigger".into(), None),
        ("DELETE", format!("/v1/jobs/{JOB}"), None),
        ("DELETE", "/v1/jobs/a".into(), None),
    ];
    for client in [&house.client, &tcp] {
        for (method, path, body) in &requests {
            told.push(format!("{:?}", client.send(method, path, &[], body.as_deref())));
        }
    }
    told.push(format!("{:?}", Client::tcp(address, MYSQL_PASSWORD).get("/v1/jobs")));
    // A reload that fails is told with its reason.
    let jobs = std::fs::read_to_string(house.world.recountd.jobs_path()).unwrap();
    let jobs = jobs.replace("description = \"articles\"", "retires = 3\nmysql = \"gone\"");
    house.world.recountd.write_jobs(&jobs);
    house.daemon.signal("HUP");
    eventually(SOON, "the reload is refused", || house.status()["reload_error"].is_string());
    told.push(house.client.get("/v1/status").body);
    loop {
        let event = events.next(SOON).expect("there are events");
        told.push(format!("{event:?}"));
        if event.kind == "reloaded" {
            break;
        }
    }
    told.extend(house.daemon.stderr.lines());
    assert!(told.len() > 50);
    for secret in [MYSQL_PASSWORD, REDIS_PASSWORD, TOKEN] {
        for text in &told {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[test]
fn a_key_in_a_header_is_not_in_a_problem() {
    let house = House::new(QUIET);
    let answer = house.client.post_once("/v1/jobs/none/trigger", "key-that-is-mine", None);
    assert!(!format!("{answer:?}").contains("key-that-is-mine"));
}
