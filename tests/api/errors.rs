//! What is refused: status, kind, and what to do.

use serde_json::{Value, json};

use super::house::{House, QUIET, articles, idle};
use super::support::world::JOB;

/// A request that is refused: method, path, body, status, kind, and a word of the way out.
type Refused<'a> = (&'a str, &'a str, Option<&'a str>, u16, &'a str, &'a str);

#[test]
fn every_refusal_is_a_problem_that_tells_the_way_out() {
    let house = House::new(QUIET);
    house.add(&idle("a")).expect(201);
    let refused: [Refused<'_>; 30] = [
        ("GET", "/v1/jobs/user-artcles", None, 404, "no-such-job", "did you mean user-articles?"),
        (
            "GET",
            "/v1/jobs/user-artcles/runs",
            None,
            404,
            "no-such-job",
            "did you mean user-articles?",
        ),
        (
            "GET",
            "/v1/events?job=user-artcles",
            None,
            404,
            "no-such-job",
            "did you mean user-articles?",
        ),
        ("GET", "/v1/jobs/quite-another", None, 404, "no-such-job", "there is a, user-articles"),
        ("POST", "/v1/jobs/user-artcles/trigger", None, 404, "no-such-job", "user-articles?"),
        ("POST", "/v1/jobs/user-artcles/pause", None, 404, "no-such-job", "user-articles?"),
        ("POST", "/v1/jobs/user-artcles/resume", None, 404, "no-such-job", "user-articles?"),
        ("DELETE", "/v1/jobs/user-artcles", None, 404, "no-such-job", "user-articles?"),
        (
            "PATCH",
            "/v1/jobs/user-artcles",
            Some("{\"interval\":\"1h\"}"),
            404,
            "no-such-job",
            "user-articles?",
        ),
        ("GET", "/v1/runs/7", None, 404, "no-such-run", "GET /v1/runs"),
        ("GET", "/v1/runs/o7", None, 404, "no-such-run", "GET /v1/runs"),
        ("GET", "/v1/runs/seven", None, 404, "no-such-run", "GET /v1/runs"),
        ("GET", "/v1/runs/99999999999999999999", None, 404, "no-such-run", "GET /v1/runs"),
        ("GET", "/v1/job", None, 404, "no-such-path", "/v1/openapi.json"),
        ("POST", "/v1/jobs/a/start", None, 404, "no-such-path", "/v1/openapi.json"),
        ("GET", "/v1/runs?limit=0", None, 400, "bad-request", "1 to 1000"),
        ("GET", "/v1/runs?limit=1001", None, 400, "bad-request", "1 to 1000"),
        ("GET", "/v1/jobs/a/runs?limit=many", None, 400, "bad-request", "1 to 1000"),
        ("POST", "/v1/jobs", None, 400, "bad-request", "JSON object"),
        ("POST", "/v1/jobs", Some("{\"name\":"), 400, "bad-request", "not JSON"),
        ("POST", "/v1/jobs", Some("[]"), 400, "bad-request", "JSON object"),
        ("PATCH", "/v1/jobs/a", Some("\"1h\""), 400, "bad-request", "JSON object"),
        ("POST", "/v1/jobs/a/trigger", Some("{\"dryrun\":true}"), 400, "bad-request", "dry_run"),
        ("POST", "/v1/jobs/a/trigger", Some("{\"dry_run\":1}"), 400, "bad-request", "dry_run"),
        ("POST", "/v1/jobs/a/trigger", Some("[true]"), 400, "bad-request", "dry_run"),
        ("DELETE", "/v1/jobs", None, 405, "method", "GET, HEAD, POST"),
        ("PUT", "/v1/jobs/a", Some("{}"), 405, "method", "PATCH"),
        ("POST", "/v1/jobs", Some(r#"{"name":"b","name":"c"}"#), 400, "bad-request", "`name`"),
        ("POST", "/v1/events", None, 405, "method", "takes GET"),
        ("HEAD", "/v1/events", None, 405, "method", ""),
    ];
    for (method, path, body, status, kind, says) in refused {
        let answer = house.client.send(method, path, &[], body);
        if method == "HEAD" {
            assert_eq!((answer.status, answer.body.as_str()), (status, ""), "{path}");
        } else {
            let problem = answer.problem(status, kind);
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(says), "{method} {path}: {says} in {detail}");
        }
        assert_eq!(answer.header("allow").is_some(), status == 405, "{answer:#?}");
    }
    assert!(house.client.get("/v1/runs").expect(200)["runs"].as_array().unwrap().is_empty());
    assert_eq!(house.status()["jobs"]["total"], 2);
    let allow = house.client.send("PUT", "/v1/jobs/a", &[], None);
    assert_eq!(allow.header("allow"), Some("GET, HEAD, PATCH, DELETE"));
    for method in ["HEAD", "POST"] {
        let allow = house.client.send(method, "/v1/events", &[], None);
        assert_eq!(allow.header("allow"), Some("GET"), "a stream has no head alone");
    }
}

#[test]
fn a_body_that_is_not_called_json_is_refused() {
    let house = House::new(QUIET);
    let job = idle("a").to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
        let kind = [("Content-Type", kind)];
        let refused = house.client.send("POST", "/v1/jobs", &kind, Some(&job));
        let problem = refused.problem(415, "not-json");
        assert!(problem["detail"].as_str().unwrap().contains("application/json"), "{problem:#}");
    }
    let path = format!("/v1/jobs/{JOB}/trigger");
    let kind = [("Content-Type", "text/plain")];
    house.client.send("POST", &path, &kind, Some("{}")).problem(415, "not-json");
    assert_eq!(house.status()["jobs"]["total"], 1);
    let kind = [("Content-Type", "Application/JSON; charset=utf-8")];
    house.client.send("POST", "/v1/jobs", &kind, Some(&job)).expect(201);
}

/// A job with one member changed, or taken away where that is null.
fn but(key: &str, value: Value) -> Value {
    let mut job = idle("a");
    job[key] = value;
    job
}

#[test]
fn a_job_that_is_not_valid_is_refused_with_the_place_of_every_fault() {
    let house = House::new(QUIET);
    let mut nameless = idle("a");
    nameless.as_object_mut().unwrap().remove("name");
    for (job, pointer, says) in [
        (nameless, "/name", "name"),
        (but("name", json!(7)), "/name", "text"),
        (idle("a b"), "/name", "a b"),
        (idle(&"n".repeat(200)), "/name", ""),
        (idle(""), "/name", ""),
        (but("cron", json!("0 25 * * *")), "/cron", "25"),
        (but("cron", json!(["0 3 * * *"])), "/cron", ""),
        (but("crom", json!("0 3 * * *")), "/crom", "crom"),
        (but("cron", Value::Null), "/cron", "null"),
        (but("retries", json!(-1)), "/retries", ""),
        (but("settle", json!("soon")), "/settle", "soon"),
        (but("mysql", json!("elsewhere")), "/mysql", "elsewhere"),
        (but("redis", json!("elsewhere")), "/redis", "elsewhere"),
        (but("timezone", json!("Mars/Olympus")), "/timezone", "Mars"),
        (but("target", json!({"zset": "k", "hash": "h"})), "/target", ""),
        (but("guard", json!({"max_changed": "12 apples"})), "/guard", ""),
        (but("query", json!("")), "/query", ""),
        (but("interval", json!("1h")), "/", ""),
        (articles("a", &json!({})), "", "cron"),
        (articles("a", &json!({"date": "tomorrow"})), "/date", ""),
        (articles("a", &json!({"date": "2026-13-01T00:00:00Z"})), "/date", ""),
        (articles("a", &json!({"interval": "1h", "start": 7})), "/start", ""),
        (but("a/b~c", json!(1)), "/a~1b~0c", "a/b~c"),
    ] {
        let problem = house.add(&job).problem(422, "invalid");
        let errors = problem["errors"].as_array().expect("errors");
        let found =
            errors.iter().find(|error| error["pointer"].as_str().unwrap().starts_with(pointer));
        let found = found.unwrap_or_else(|| panic!("no {pointer:?} in {problem:#} for {job}"));
        assert_eq!(super::house::members(found), ["detail", "help", "pointer"]);
        let (detail, help) = (found["detail"].as_str().unwrap(), found["help"].as_str());
        let all = format!("{detail} {}", help.unwrap_or_default());
        assert!(!detail.is_empty() && all.contains(says), "{says:?} in {problem:#}");
    }
    let mut many = but("cron", json!("0 25 * * *"));
    many["retries"] = json!("three");
    many["jiter"] = json!("1s");
    let problem = house.add(&many).problem(422, "invalid");
    let mut pointers: Vec<&str> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/cron", "/jiter", "/retries"], "all of them at once");
    assert_eq!(house.status()["jobs"]["total"], 1, "nothing was added");
}

#[test]
fn a_placeholder_in_an_added_job_is_no_way_to_our_environment() {
    let house = House::new(QUIET);
    for job in
        [but("query", json!("SELECT 1, '${HOME}'")), but("target", json!({"zset": "${PATH}"}))]
    {
        let answer = house.add(&job);
        if answer.status == 201 {
            let told = house.job("a")["definition"].to_string();
            assert!(told.contains("${HOME}") || told.contains("${PATH}"), "{told}");
            assert_eq!(house.client.delete("/v1/jobs/a").status, 204);
        } else {
            let problem = answer.problem(422, "invalid");
            assert!(problem.to_string().contains("placeholder"), "{problem:#}");
        }
    }
}

#[test]
fn a_key_that_comes_twice_is_refused_wherever_it_stands_and_nothing_is_done() {
    let house = House::new(QUIET);
    house.add(&idle("a")).expect(201);
    let job = idle("b").to_string();
    let inside = job.replace("{\"zset\":", "{\"zset\":\"k\",\"zset\":");
    assert_ne!(inside, job);
    for (method, path, body) in [
        ("POST", "/v1/jobs", inside),
        ("PATCH", "/v1/jobs/a", r#"{"interval":"1h","interval":"2h"}"#.to_owned()),
        ("POST", "/v1/jobs/a/trigger", r#"{"dry_run":true,"dry_run":false}"#.to_owned()),
    ] {
        let problem = house.client.send(method, path, &[], Some(&body)).problem(400, "bad-request");
        assert!(problem["detail"].as_str().unwrap().contains("twice"), "{problem:#}");
    }
    assert_eq!(house.status()["jobs"]["total"], 2);
    assert!(house.runs("a").is_empty());
}

#[test]
fn a_hostile_body_gets_a_short_answer_and_one_that_is_too_large_is_not_read() {
    let house = House::new(QUIET);
    let keys: Vec<String> = (0..5_000).map(|n| format!("\"k{n:04}\":1")).collect();
    for body in [
        format!("{{\"name\":\"a\",{}}}", keys.join(",")),
        but("timezone", json!("x".repeat(60_000))).to_string(),
        but("name", json!("x".repeat(60_000))).to_string(),
        but("mysql", json!(vec![Value::Null; 10_000])).to_string(),
    ] {
        let answer = house.client.send("POST", "/v1/jobs", &[], Some(&body));
        let problem = answer.problem(422, "invalid");
        assert!(answer.body.len() < 64 * 1024, "{} bytes", answer.body.len());
        assert!(problem["errors"].as_array().unwrap().len() <= 21);
    }
    let large = but("description", json!("x".repeat(64 * 1024)));
    house.add(&large).problem(413, "too-large");
}
