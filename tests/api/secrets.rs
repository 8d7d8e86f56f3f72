//! No answer contains a password or the token.

use mysql::prelude::Queryable;
use serde_json::json;

use super::house::{House, QUIET, SOON, idle};
use super::old_routes::TOKEN;
use super::support::http::Client;
use super::support::world::{JOB, World, articles_job};
use super::support::{Mariadb, Redis, eventually, servers_toml};

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

/// Where nobody listens, with a path that only those know who may say that a job is well.
const PING: &str = "http://127.0.0.1:9/only-for-us-1602";

#[test]
fn no_answer_shows_where_to_ping() {
    let house = House::with(&articles_job(&format!("ping = {{ success = \"{PING}\" }}")));
    let secret = PING.rsplit('/').next().unwrap();
    let mut added = idle("a");
    added["mysql"] = "main".into();
    added["ping"] = json!({"failure": PING, "success": PING});
    let mut bad = added.clone();
    (bad["name"], bad["cron"]) = ("b".into(), "never".into());
    let mut worse = added.clone();
    (worse["name"], worse["ping"]) = ("c".into(), json!({"failure": format!("gopher{PING}")}));
    let mut told = vec![house.add(&added), house.add(&bad), house.add(&worse)];
    assert_eq!(told.iter().map(|answer| answer.status).collect::<Vec<_>>(), [201, 422, 422]);
    house.ended(house.trigger(JOB));
    let looks = ["/v1/jobs", "/v1/jobs/a", "/v1/jobs/user-articles", "/v1/runs", "/metrics"];
    told.extend(looks.map(|path| house.client.get(path)));
    told.push(house.client.patch("/v1/jobs/a", &json!({"interval": "1h"})));
    // What is shown of it is not taken for it.
    let mut copy = house.job("a")["definition"].clone();
    copy["name"] = "copy".into();
    let refused = house.add(&copy);
    let problem = refused.problem(422, "invalid");
    let pointer = problem["errors"][0]["pointer"].as_str().unwrap();
    assert!(pointer.starts_with("/ping"), "{problem:#}");
    told.push(refused);
    // Broken, it is shown by another way.
    let servers = servers_toml(house.world.database.url(), &house.world.redis.url());
    let renamed = articles_job("mysql = \"other\"").replace(JOB, "other");
    house
        .world
        .recountd
        .write_jobs(&format!("{}{renamed}", servers.replace("mysql.main", "mysql.other")));
    house.sighup();
    let broken = house.client.get("/v1/jobs/a");
    assert_eq!(broken.expect(200)["state"], "broken");
    told.extend([broken, house.client.get("/v1/jobs"), house.client.post("/v1/jobs/a/trigger")]);
    for answer in &told {
        assert!(!format!("{answer:?}").contains(secret), "{answer:#?}");
    }
    let log = house.daemon.stderr.lines().join("\n");
    assert!(!log.contains(secret), "{log}");
}

#[test]
fn a_key_in_a_header_is_not_in_a_problem() {
    let house = House::new(QUIET);
    let answer = house.client.post_once("/v1/jobs/none/trigger", "key-that-is-mine", None);
    assert!(!format!("{answer:?}").contains("key-that-is-mine"));
}
