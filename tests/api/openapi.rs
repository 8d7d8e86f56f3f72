//! The document that describes the API, held against the routes and against what is really answered.

use std::collections::BTreeSet;

use boon::{Compiler, Draft, Schemas};
use serde_json::{Value, json};

use super::house::{House, SOON, articles, idle, release};
use super::support::http::Response;
use super::support::servers_toml;
use super::support::world::{JOB, articles_job};

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// A path with every place as `{}`: the document may call a place what it likes.
fn form(path: &str) -> String {
    let segments = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
    segments.collect::<Vec<_>>().join("/")
}

fn document() -> Value {
    serde_json::from_str(include_str!("../../src/api/openapi.json")).expect("it is JSON")
}

#[test]
fn every_route_is_described_and_everything_described_is_a_route() {
    let document = document();
    assert_eq!(document["openapi"].as_str().map(|version| &version[..4]), Some("3.1."));
    let routes: BTreeSet<(String, String)> = recountd::api::ROUTES
        .iter()
        .map(|route| (format!("{:?}", route.method).to_lowercase(), form(route.path)))
        .collect();
    let paths = document["paths"].as_object().expect("paths");
    let described: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            let methods = methods.filter(|key| METHODS.contains(&key.as_str()));
            methods.map(|method| (method.clone(), form(path)))
        })
        .collect();
    let missing: Vec<_> = routes.difference(&described).collect();
    let too_many: Vec<_> = described.difference(&routes).collect();
    assert!(
        missing.is_empty() && too_many.is_empty(),
        "not described: {missing:?}; no route: {too_many:?}"
    );
}

#[test]
fn every_place_of_a_path_is_described() {
    let document = document();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let places = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let places: BTreeSet<&str> = places.collect();
        for (method, operation) in item.as_object().unwrap() {
            if !METHODS.contains(&method.as_str()) {
                continue;
            }
            let lists = [&item["parameters"], &operation["parameters"]];
            let all = lists.into_iter().filter_map(Value::as_array).flatten();
            let described: BTreeSet<&str> = all
                .map(|parameter| resolve(&document, parameter))
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            assert_eq!(described, places, "{method} {path}");
        }
    }
}

fn resolve<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    match value["$ref"].as_str() {
        Some(to) => document.pointer(to.trim_start_matches('#')).expect("it refers to something"),
        None => value,
    }
}

/// Holds answers against the document.
struct Judge {
    document: Value,
    checked: BTreeSet<(String, String, u16)>,
}

impl Judge {
    /// Validates a value against what stands at a JSON pointer of the document.
    #[track_caller]
    fn validate(&self, pointer: &str, value: &Value) {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.set_default_draft(Draft::V2020_12);
        compiler.enable_format_assertions();
        compiler.add_resource("file:///openapi.json", self.document.clone()).unwrap();
        let place = format!("file:///openapi.json#{pointer}");
        let schema =
            compiler.compile(&place, &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
        if let Err(error) = schemas.validate(value, schema) {
            panic!("{error:#}\nis what is wrong with {value:#}");
        }
    }

    /// The path of the document that this path is one of, and the operation's pointer.
    #[track_caller]
    fn operation(&self, method: &str, path: &str) -> (String, String) {
        let bare = path.split('?').next().unwrap();
        let fits = |form: &str| {
            let (form, path): (Vec<_>, Vec<_>) =
                (form.split('/').collect(), bare.split('/').collect());
            let same = |(form, path): (&&str, &&str)| form.starts_with('{') || form == path;
            form.len() == path.len() && form.iter().zip(&path).all(same)
        };
        let paths = self.document["paths"].as_object().unwrap();
        // A path without places comes before one that has them.
        let exact = paths.keys().find(|form| form.as_str() == bare);
        let found = exact.or_else(|| paths.keys().find(|form| fits(form)));
        let found = found.unwrap_or_else(|| panic!("{path} is not described")).clone();
        let escaped = found.replace('~', "~0").replace('/', "~1");
        (found, format!("/paths/{escaped}/{}", method.to_lowercase()))
    }

    /// That an answer is one that the document describes.
    #[track_caller]
    fn judge(&mut self, method: &str, path: &str, answer: &Response) {
        let (form, operation) = self.operation(method, path);
        let status = answer.status.to_string();
        let responses = self.document.pointer(&operation).expect("the method is described");
        let responses = &responses["responses"];
        let key = if responses.get(&status).is_some() { status.as_str() } else { "default" };
        assert!(
            key == status || answer.status >= 400,
            "{method} {path}: {status} is not described"
        );
        let mut pointer = format!("{operation}/responses/{key}");
        if let Some(to) = responses[key]["$ref"].as_str() {
            pointer = to.trim_start_matches('#').to_owned();
        }
        let response = self.document.pointer(&pointer).expect("a response");
        let kind = answer.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().to_owned();
        match response["content"].as_object() {
            None => assert_eq!((kind.as_str(), answer.body.as_str()), ("", ""), "{method} {path}"),
            Some(content) => {
                assert!(content.contains_key(&kind), "{method} {path}: {status} is {kind}");
                if kind.ends_with("json") {
                    let escaped = kind.replace('/', "~1");
                    self.validate(&format!("{pointer}/content/{escaped}/schema"), &answer.json());
                }
            }
        }
        self.checked.insert((method.to_lowercase(), form, answer.status));
    }

    /// Sends a request and judges its answer; a body that is accepted has to be one that is described.
    #[track_caller]
    fn ask(&mut self, house: &House, method: &str, path: &str, body: Option<&Value>) -> Response {
        let text = body.map(Value::to_string);
        let answer = house.client.send(method, path, &[], text.as_deref());
        self.judge(method, path, &answer);
        if let Some(body) = body
            && answer.status < 400
        {
            let (_, operation) = self.operation(method, path);
            self.validate(
                &format!("{operation}/requestBody/content/application~1json/schema"),
                body,
            );
        }
        answer
    }
}

#[test]
fn what_is_answered_is_what_is_described() {
    let mut house = House::new("description = \"articles per user\"");
    let document = house.client.get("/v1/openapi.json").expect(200);
    assert_eq!(document, self::document());
    let mut judge = Judge { document, checked: BTreeSet::new() };
    house.world.shift(1.0);
    let mut events = house.client.events("/v1/events");
    let trigger = format!("/v1/jobs/{JOB}/trigger");

    // Jobs of every state and kind, with runs of every outcome that can be had cheaply.
    let mut rich =
        articles("rich", &json!({"interval": "90s", "start": "2026-01-02T03:04:05+08:00"}));
    rich["guard"] = json!({"max_changed": "12%", "allow_empty": true});
    (rich["ghosts"], rich["redis_share"]) = ("remove".into(), "10%".into());
    rich["ping"] = json!({"success": "http://127.0.0.1:9/a", "failure": "http://127.0.0.1:9/b"});
    judge.ask(&house, "POST", "/v1/jobs", Some(&rich)).expect(201);
    let mut failing = articles("failing", &json!({"interval": "300ms"}));
    (failing["query"], failing["retries"]) = ("SELECT 1, 1 FROM nothing".into(), 0.into());
    judge.ask(&house, "POST", "/v1/jobs", Some(&failing)).expect(201);
    let mut several = idle("several");
    several.as_object_mut().unwrap().remove("target");
    several["query"] =
        "SELECT user_id, COUNT(*) AS arts, COUNT(*) AS again FROM news_article_basic \
                        GROUP BY user_id"
            .into();
    several["targets"] = json!({"arts": {"zset": "z"}, "again": {"hash": "h"}});
    judge.ask(&house, "POST", "/v1/jobs", Some(&several)).expect(201);
    let date = json!({"date": "2036-01-02T03:04:05Z", "timezone": "Asia/Shanghai"});
    judge.ask(&house, "POST", "/v1/jobs", Some(&articles("dated", &date))).expect(201);
    house.run_with("failing", "failed");
    judge.ask(&house, "POST", "/v1/jobs/failing/pause", None).expect(200);
    house.run_with("failing", "paused");
    judge.ask(&house, "POST", "/v1/jobs/failing/resume", None).expect(200);
    judge.ask(&house, "PATCH", "/v1/jobs/failing", Some(&json!({"cron": "0 3 * * *"}))).expect(200);
    let dry = judge.ask(&house, "POST", &trigger, Some(&json!({"dry_run": true}))).expect(202);
    house.ended(dry["run"].as_u64().unwrap());
    let run = judge.ask(&house, "POST", &trigger, None).expect(202)["run"].as_u64().unwrap();
    house.ended(run);
    for job in ["several", "rich"] {
        house.ended(house.trigger(job));
    }
    house.world.call(&["once", JOB], 0);
    let held = house.hold();
    judge.ask(&house, "POST", &format!("/admin/jobs/{JOB}/trigger"), None).expect(200);
    judge.ask(&house, "POST", &format!("/admin/jobs/{JOB}/trigger"), None).expect(409);
    judge.ask(&house, "POST", "/admin/jobs/none/trigger", None).expect(404);
    let looks = [
        "/",
        "/healthz",
        "/readyz",
        "/metrics",
        "/v1/openapi.json",
        "/v1/status",
        "/v1/jobs",
        "/v1/jobs/rich",
        "/v1/jobs/several",
        "/v1/jobs/dated",
        "/v1/jobs/user-articles",
        "/v1/jobs/user-articles/runs",
        "/v1/runs?limit=1000",
        "/v1/runs/1",
        "/v1/runs/o1",
        "/admin/scheduled-jobs",
    ];
    for path in looks {
        assert_eq!(judge.ask(&house, "GET", path, None).status, 200, "{path}");
    }
    // And what is refused.
    let job = idle("rich");
    let mut bad = idle("bad");
    (bad["cron"], bad["retries"], bad["jiter"]) = ("0 25 * * *".into(), json!([]), "1s".into());
    for (method, path, body, status) in [
        ("GET", "/v1/jobs/none", None, 404),
        ("GET", "/v1/jobs/none/runs", None, 404),
        ("GET", "/v1/runs/4711", None, 404),
        ("GET", "/v1/runs?limit=0", None, 400),
        ("GET", "/v1/events?job=none", None, 404),
        ("POST", "/v1/jobs", Some(&job), 409),
        ("POST", "/v1/jobs", Some(&bad), 422),
        ("POST", "/v1/jobs", None, 400),
        ("POST", trigger.as_str(), None, 409),
        ("PATCH", "/v1/jobs/user-articles", Some(&json!({"interval": "1h"})), 409),
        ("PATCH", "/v1/jobs/rich", Some(&json!({"interval": "soon"})), 422),
        ("DELETE", "/v1/jobs/user-articles", None, 409),
        ("DELETE", "/v1/jobs/none", None, 404),
        ("POST", "/v1/jobs/none/pause", None, 404),
        ("POST", "/v1/jobs/none/resume", None, 404),
    ] {
        judge.ask(&house, method, path, body).expect(status);
    }
    for (key, value) in [
        ("query", json!("")),
        ("cron", Value::Null),
        ("target", json!({"zset": "k", "hash": "h"})),
        ("guard", json!({"max_changed": "12 apples"})),
        ("settle", json!("soon")),
        ("mysql", json!("elsewhere")),
        ("date", json!("2026-01-01T00:00:00Z")),
    ] {
        let mut bad = idle("bad");
        if key == "date" {
            bad.as_object_mut().unwrap().remove("cron");
        }
        bad[key] = value;
        judge.ask(&house, "POST", "/v1/jobs", Some(&bad)).expect(422);
    }
    let text = [("Content-Type", "text/plain")];
    let refused = house.client.send("POST", "/v1/jobs", &text, Some("{}"));
    judge.judge("POST", "/v1/jobs", &refused);
    refused.problem(415, "not-json");
    judge.ask(&house, "DELETE", "/v1/jobs/rich", None);
    release(held);
    house.reload_in_vain(&articles_job("retires = 1"));
    judge.ask(&house, "GET", "/v1/status", None).expect(200);

    // A job whose server is gone.
    let mut lost = idle("lost");
    lost["mysql"] = "main".into();
    lost["ping"] = json!({"failure": "http://127.0.0.1:9/b"});
    judge.ask(&house, "POST", "/v1/jobs", Some(&lost)).expect(201);
    let servers = servers_toml(house.world.database.url(), &house.world.redis.url());
    let renamed = servers.replace("mysql.main", "mysql.other");
    house.world.recountd.write_jobs(&format!("{renamed}{}", articles_job("mysql = \"other\"")));
    house.sighup();
    assert_eq!(house.job("lost")["state"], "broken");
    for path in ["/v1/jobs/lost", "/v1/jobs", "/admin/scheduled-jobs"] {
        judge.ask(&house, "GET", path, None).expect(200);
    }
    judge.ask(&house, "POST", "/v1/jobs/lost/trigger", None).problem(409, "broken");

    // Each event is what it says it is.
    let mut kinds = BTreeSet::new();
    while kinds.len() < 5 {
        let event = events.next(SOON).unwrap_or_else(|| panic!("only {kinds:?}"));
        assert!(event.id.is_some(), "{event:#?}");
        match event.kind.as_str() {
            "job" => judge.validate("/components/schemas/Job", &event.data),
            "run" => judge.validate("/components/schemas/Run", &event.data),
            "hello" | "gone" | "reloaded" => {}
            other => panic!("an event that is not described: {other}"),
        }
        kinds.insert(event.kind);
    }

    house.client.post(&format!("/v1/jobs/{JOB}/pause")).expect(200);
    let (held, _) = house.hold_a_run();
    house.daemon.signal("TERM");
    super::support::eventually(SOON, "it stops", || house.status()["stopping"] == true);
    for (method, path) in [("GET", "/readyz"), ("POST", "/v1/jobs/several/trigger")] {
        judge.ask(&house, method, path, None);
    }
    release(held);
    house.daemon.wait_exit(SOON);

    let seen: BTreeSet<(String, String)> =
        judge.checked.iter().map(|(method, path, _)| (method.clone(), form(path))).collect();
    for route in &recountd::api::ROUTES {
        let one = (format!("{:?}", route.method).to_lowercase(), form(route.path));
        assert!(seen.contains(&one), "{one:?} was not looked at");
    }
}
