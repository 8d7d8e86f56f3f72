#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
//! A job as JSON: what is added at run time means the same as in jobs.toml, comes out as it went in, and each mistake
//! in it has its place and its way out.

mod common_config;

use std::time::Duration;

use chrono_tz::Tz;
use common_config::any_job::jobs;
use common_config::{VALID, accepted};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};
use recountd::config::{Config, Family, Fault, Job, Limits, Origin, Target, definition};
use recountd::schedule::{Interval, Trigger};
use serde_json::{Map, Value, json};

/// What every definition here has, unless it says otherwise.
fn base() -> Map<String, Value> {
    let base = json!({"interval": "10m", "query": "SELECT 1, 1", "target": {"zset": "k"}});
    base.as_object().unwrap().clone()
}

/// The base with these keys put over it. The key `without` names one that is taken out.
fn with(changes: &Value) -> Map<String, Value> {
    let mut map = base();
    for (key, value) in changes.as_object().unwrap() {
        match key.as_str() {
            "without" => drop(map.remove(value.as_str().unwrap())),
            _ => drop(map.insert(key.clone(), value.clone())),
        }
    }
    map
}

#[track_caller]
fn added(changes: &Value) -> Job {
    let map = with(changes);
    accepted(VALID).added("j", &map).unwrap_or_else(|faults| panic!("{map:?}\n{faults:#?}"))
}

/// What is wrong with it, as `POINTER: DETAIL -> HELP`.
#[track_caller]
fn faults_of(name: &str, map: &Map<String, Value>) -> Vec<String> {
    let faults = accepted(VALID).added(name, map).expect_err(&format!("{map:?}"));
    let show = |Fault { pointer, detail, help }: &Fault| match help {
        Some(help) => format!("{pointer}: {detail} -> {help}"),
        None => format!("{pointer}: {detail}"),
    };
    faults.iter().map(show).collect()
}

#[track_caller]
fn refused(changes: &Value, faults: &[&str]) {
    assert_eq!(faults_of("j", &with(changes)), faults, "{changes}");
}

/// Through the text of a request and back, as the API does it.
#[track_caller]
fn comes_back(config: &Config, job: &Job) {
    let text = Value::Object(definition(job)).to_string();
    let read: Map<String, Value> = serde_json::from_str(&text).unwrap();
    let again = config.added(&job.name, &read).unwrap_or_else(|f| panic!("{text}\n{f:#?}"));
    // The keys of a JSON object have no order.
    let ordered = |job: &Job| {
        let mut job = Job { origin: Origin::RunTime, ..job.clone() };
        job.work.families.sort_by_key(Family::name);
        job
    };
    assert_eq!(ordered(&again), ordered(job), "{text}");
    assert_eq!(again.origin, Origin::RunTime);
    assert_eq!(definition(&again), read, "it is shown as it was given");
}

#[test]
fn what_is_left_out_comes_from_the_file_as_for_its_own_jobs() {
    let head = "defaults = { retries = 7, timeout = '9s' }\ndaemon.timezone = 'Asia/Shanghai'\n";
    let job = "[jobs.j]\ninterval = '10m'\nquery = 'SELECT 1, 1'\ntarget = { zset = 'k' }\n";
    let config = accepted(&format!("{head}{VALID}{job}"));
    let added = config.added("j", &base()).unwrap();
    assert_eq!(added.origin, Origin::RunTime);
    assert_eq!((added.zone, added.limits.retries), (Tz::Asia__Shanghai, 7));
    assert_eq!(Job { origin: Origin::File, ..added }, *config.jobs["j"]);
}

#[test]
fn every_job_of_a_file_comes_back_as_it_is() {
    let jobs = r#"
[mysql."a ] = \"b"]
url = "mysql://u@127.0.0.1/app"
[jobs]
a = { mysql = "main", cron = " 0  3 * * mon-fri ", query = " q ; ", target = { hash = "计数" } }
"a.b" = { mysql = "main", cron = "@daily", timezone = "Europe/Berlin", query = "q", target = { hash = "u:{id}", field = "n" } }
c = { mysql = "main", interval = "1h30m", start = 1899-12-31T23:59:59, timezone = "Asia/Shanghai", query = "q", target = { string = "u:{id}" } }
d = { mysql = "main", date = 2026-10-25T02:30:00, timezone = "Europe/Berlin", query = "q", targets = { z = { zset = "k" }, "a.\"b" = { hash = "k" } } }
e = { mysql = 'a ] = "b', date = 1972-01-01T00:00:00.001Z, timezone = "Africa/Monrovia", query = "q", targets = { "" = { zset = "k" } } }
f = { mysql = "main", interval = "10ms", ghosts = "keep", guard = { max_changed = "0.0000001%", allow_empty = true }, redis_share = "1%", query = "q", target = { zset = "k" } }
g = { mysql = "main", interval = "366d", start = 1970-01-01T00:00:00Z, coalesce = false, max_instances = 1000, retries = 0, backoff = "0s", max_backoff = "366d", jitter = "1ms", misfire_grace = "100ms", timeout = "1ms", settle = "1h", query = "q", target = { zset = "k" } }
"#;
    let valid = VALID.replace("interval", "mysql = 'main'\ninterval");
    for text in [VALID, include_str!("../jobs.toml"), &format!("{valid}{jobs}")] {
        let config = accepted(text);
        assert!(!config.jobs.is_empty());
        config.jobs.values().for_each(|job| comes_back(&config, job));
    }
}

#[test]
fn any_job_comes_back_as_it_is() {
    let other = "[mysql.'b ] = \"']\nurl = 'mysql://b'\n[redis.\"ü\\u0000\"]\nurl = 'redis://b'\n";
    let named = VALID.replace("interval", "mysql = 'main'\nredis = 'main'\ninterval");
    let config = accepted(&format!("{named}{other}"));
    let seed: u64 = match std::env::var("RECOUNTD_SEED") {
        Ok(text) => text.parse().expect("RECOUNTD_SEED is a whole number"),
        Err(_) => fastrand::u64(..),
    };
    println!("to repeat this: RECOUNTD_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let settings =
        ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() };
    let tell = |job: Job| {
        comes_back(&config, &job);
        Ok(())
    };
    match TestRunner::new_with_rng(settings, rng).run(&jobs(&config), tell) {
        Ok(()) => {}
        Err(TestError::Fail(why, job)) => panic!("{why}\nthe smallest such job: {job:?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

#[test]
fn a_date_is_a_text_that_is_exact_with_an_offset_and_local_to_the_job_without() {
    for (zone, date, want) in [
        ("Asia/Shanghai", "2026-12-01T03:00:00+01:00", "2026-12-01T02:00:00Z"),
        ("Asia/Shanghai", "2026-12-01T03:00:00Z", "2026-12-01T03:00:00Z"),
        ("Asia/Shanghai", "2026-12-01t03:00:00z", "2026-12-01T03:00:00Z"),
        ("Asia/Shanghai", "2026-12-01 03:00:00.2509", "2026-11-30T19:00:00.25Z"),
        ("Europe/Berlin", "2026-03-29T02:30:00", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),
    ] {
        let want = want.parse().unwrap();
        let once = json!({"without": "interval", "date": date, "timezone": zone});
        assert_eq!(added(&once).trigger, Trigger::Date(want), "{date} in {zone}");
        let often = json!({"start": date, "timezone": zone});
        let interval = Interval::new(Duration::from_secs(600), Some(want));
        assert_eq!(added(&often).trigger, Trigger::Interval(interval), "{date} in {zone}");
    }
}

#[test]
fn what_is_no_date_is_refused_with_how_json_has_it() {
    const HELP: &str = "write it as in \"2030-01-01T03:00:00+08:00\"";
    for (date, detail) in [
        (json!(""), "is not a date-time"),
        (json!("tomorrow"), "is not a date-time"),
        (json!("2026-13-01T00:00:00Z"), "is not a date-time"),
        (json!("2026-12-01T03:00:00+25:00"), "is not a date-time"),
        (json!("2026-12-01T03:00:00Z "), "is not a date-time"),
        (json!("2026-12-01T03:00:00Z\ncron = '* * * * *'"), "is not a date-time"),
        (json!("2026-12-01T03:00:00Z # x"), "is not a date-time"),
        (json!("Tue, 01 Dec 2026 03:00:00 GMT"), "is not a date-time"),
        (json!("2026-12-01"), "needs both a date and a time"),
        (json!("03:00:00"), "needs both a date and a time"),
        (json!("2016-12-31T23:59:60Z"), "is not a date-time that exists"),
        (json!("9999-12-31T23:59:59-12:00"), "is not a date-time that exists"),
        (json!("0000-01-01T00:00:00+12:00"), "is not a date-time that exists"),
        (json!(1_900_000_000), "takes a date-time, not an integer"),
        (json!(1.5), "takes a date-time, not a float"),
        (json!(true), "takes a date-time, not a boolean"),
        (json!(["2026-12-01T03:00:00Z"]), "takes a date-time, not an array"),
        (json!({"a": "b"}), "takes a date-time, not a table"),
    ] {
        let fault = format!("/date: `date` {detail} -> {HELP}");
        refused(&json!({"without": "interval", "date": date}), &[&fault]);
        refused(
            &json!({"start": date}),
            &[&fault.replace("date:", "start:").replace("`date`", "`start`")],
        );
    }
    let other = json!({"without": "interval", "cron": "@daily", "start": "2026-12-01T03:00:00Z"});
    refused(
        &other,
        &["/start: `start` belongs to `interval` -> remove it, or use interval as the trigger"],
    );
}

#[test]
fn every_wrong_field_is_named_with_the_way_out() {
    const UNIT: &str = "write a whole number and a unit, as in 500ms, 10s, 5m, 2h, 1d or 1h30m";
    let whole = "takes a whole number without quotes";
    for (changes, fault) in [
        (json!({"description": 7}), "/description: `description` takes a text in quotes, not an integer -> write `description` as a text in quotes".to_owned()),
        (json!({"timezone": "asia/shanghai"}), "/timezone: there is no time zone `asia/shanghai` -> did you mean `Asia/Shanghai`?".to_owned()),
        (json!({"interval": "10 m"}), format!("/interval: `interval`: ` m` is not a unit of time -> {UNIT}")),
        (json!({"interval": "9ms"}), "/interval: `interval` must be from 10ms to 366d".to_owned()),
        (json!({"interval": "99999999999999999999d"}), format!("/interval: `interval`: the duration is too long -> {UNIT}")),
        (json!({"without": "interval", "cron": "0 25 * * *"}), "/cron: cron: 25 is out of range for the hour -> use 0 to 23, `*`, a list, a range or a step".to_owned()),
        (json!({"cron": "@daily"}), "/interval: job j has 2 triggers: cron, interval -> keep one, and give the other to a job of its own".to_owned()),
        (json!({"without": "interval"}), ": job j has no trigger, so it would never run -> add one of cron = \"0 3 * * *\", interval = \"10m\", date = 2030-01-01T03:00:00Z".to_owned()),
        (json!({"without": "query"}), ": job j has no `query` -> add query = \"SELECT user_id, COUNT(*) FROM ... GROUP BY user_id\"".to_owned()),
        (json!({"without": "target"}), ": job j has no `target` -> add target = { zset = \"count:user:arts\" }".to_owned()),
        (json!({"query": " \n;"}), "/query: `query` is empty -> give `query` a value".to_owned()),
        (json!({"mysql": "mian"}), "/mysql: there is no `[mysql.mian]` -> did you mean \"main\"?".to_owned()),
        (json!({"redis": "redis://:hunter3@h"}), "/redis: `redis` takes the name of a server, not its url -> write the url into [redis.main], and redis = \"main\" here".to_owned()),
        (json!({"kind": "http"}), "/kind: `kind` cannot be `http` -> it is one of reconcile".to_owned()),
        (json!({"ghosts": "kepe"}), "/ghosts: `ghosts` cannot be `kepe` -> did you mean `keep`?".to_owned()),
        (json!({"settle": "2h"}), "/settle: `settle` must be from 1ms to 1h".to_owned()),
        (json!({"redis_share": "0%"}), "/redis_share: `redis_share` must be from 1% to 100%".to_owned()),
        (json!({"coalesce": "yes"}), "/coalesce: `coalesce` takes true or false, not a string -> write `coalesce` as true or false".to_owned()),
        (json!({"retries": "3"}), format!("/retries: `retries` {whole}, not a string -> write `retries` as a whole number without quotes")),
        (json!({"retries": 3.0}), format!("/retries: `retries` {whole}, not a float -> write `retries` as a whole number without quotes")),
        (json!({"retries": 1e300}), format!("/retries: `retries` {whole}, not a float -> write `retries` as a whole number without quotes")),
        (json!({"retries": -0.0}), format!("/retries: `retries` {whole}, not a float -> write `retries` as a whole number without quotes")),
        (json!({"retries": -1}), "/retries: `retries` must be from 0 to 100".to_owned()),
        (json!({"retries": u64::MAX}), "/retries: `retries` must be from 0 to 100".to_owned()),
        (json!({"max_instances": i64::MIN}), "/max_instances: `max_instances` must be from 1 to 1000".to_owned()),
        (json!({"max_instances": 4_294_967_297_u64}), "/max_instances: `max_instances` must be from 1 to 1000".to_owned()),
        (json!({"guard": {"max_changed": "150%"}}), "/guard: `max_changed`: `150%` is not a percentage from 0% to 100% -> write it as in \"50%\"".to_owned()),
        (json!({"guard": {"alow_empty": true}}), "/guard: unknown key `alow_empty` in `guard` -> did you mean `allow_empty`?".to_owned()),
        (json!({"target": {"zet": "k"}}), "/target: unknown key `zet` in `target` -> did you mean `zset`?".to_owned()),
        (json!({"target": {"zset": {"a": {"b": []}}}}), "/target: `zset` takes a key in quotes, not a table -> write `zset` as a key in quotes".to_owned()),
        (json!({"without": "target", "targets": {}}), "/targets: `targets` is empty -> give `targets` a value".to_owned()),
        (json!({"without": "target", "targets": {"a": {"zset": "k"}, "b": {"zset": "k"}}}), "/targets: another target of the job is zset k as well -> give each column counters of its own".to_owned()),
        (json!({"retires": 1}), "/retires: unknown key `retires` in job j -> did you mean `retries`?".to_owned()),
    ] {
        refused(&changes, &[&fault]);
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once_in_the_order_of_the_keys() {
    let changes = json!({"backoff": 1, "jitter": "x", "zz": 0, "timeout": null, "mysql": "m"});
    let faults = faults_of("-", &with(&changes));
    let pointers: Vec<&str> = faults.iter().map(|f| f.split(':').next().unwrap()).collect();
    assert_eq!(pointers, ["/timeout", "/name", "/backoff", "/jitter", "/mysql", "/zz"]);
}

#[test]
fn null_is_no_value_wherever_it_stands() {
    for (changes, pointer, key) in [
        (json!({"description": null}), "/description", "description"),
        (json!({"x/y~z": null}), "/x~1y~0z", "x/y~z"),
        (json!({"guard": {"max_changed": null}}), "/guard/max_changed", "max_changed"),
        (
            json!({"without": "target", "targets": {"a/b": {"zset": "k", "field": null}}}),
            "/targets/a~1b/field",
            "field",
        ),
    ] {
        refused(&changes, &[&format!("{pointer}: `{key}` is null -> leave it out")]);
    }
    // A name that happens to be that word is one.
    let target = added(&json!({"target": {"zset": "null"}})).work.families[0].target.clone();
    assert_eq!(target, Target::Zset { key: "null".to_owned() });
    let faults = faults_of("j", &with(&json!({"target": {"zset": null}})));
    assert_eq!(faults[0], "/target/zset: `zset` is null -> leave it out");
    let faults = faults_of("j", &with(&json!({"target": [1, null]})));
    assert_eq!(faults[0], "/target/1: `target` is null -> leave it out");
}

#[test]
fn no_text_breaks_out_of_its_place() {
    for text in [
        "\"",
        "\"\"\"",
        "'",
        "\\",
        "\\\"",
        "x\"\nretries = 9\ny = \"",
        "x\"\r\n[other]\n",
        "]",
        "] = [",
        "a = b",
        "# no comment",
        "\u{7f}",
        "\0",
        "\u{1}\u{1f}\u{85}\u{2028}\u{feff}",
        "日本 🦀 e\u{301}",
        "\\u0000 \\n ${HOME} ${PASSWORD} ${credential:redis}",
        "}, retries = 9, x = {",
    ] {
        let job = added(&json!({"description": text, "target": {"zset": format!("k{text}")}}));
        assert_eq!(job.description, text);
        assert_eq!(job.work.families[0].target, Target::Zset { key: format!("k{text}") });
        assert_eq!(job.limits.retries, Limits::default().retries, "{text}");
        let several = added(&json!({"without": "target", "targets": {text: {"hash": "k"}}}));
        assert_eq!(several.work.families[0].column.as_deref(), Some(text));
        // As a key it is unknown, and as a name it is none; either way it is one, and named.
        let unknown = faults_of("j", &with(&json!({text: 1})));
        let pointer = format!("/{}", text.replace('~', "~0").replace('/', "~1"));
        assert_eq!(unknown.len(), 1, "{unknown:?}");
        assert!(unknown[0].starts_with(&format!("{pointer}: unknown key `{text}`")), "{unknown:?}");
        let help = "use 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or a digit";
        let name = format!("/name: `{text}` cannot be the name of a job -> {help}");
        assert_eq!(faults_of(text, &base()), [name]);
    }
}

#[test]
fn a_key_with_dots_is_one_key() {
    let faults = faults_of("j", &with(&json!({"guard.allow_empty": true, "a.b": {"c.d": 1}})));
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].starts_with("/a.b: unknown key `a.b` in job j"), "{faults:?}");
    assert!(faults[1].starts_with("/guard.allow_empty: unknown key"), "{faults:?}");
    let faults = faults_of("j", &with(&json!({"name": "j"})));
    assert!(faults[0].starts_with("/name: unknown key `name` in job j"), "{faults:?}");
    assert_eq!(&*accepted(VALID).added("a.b", &base()).unwrap().name, "a.b");
}

#[test]
fn a_name_that_is_not_allowed_is_refused() {
    for name in ["", " ", "-a", ".a", "_a", "a b", "a/b", "ä", "a\n", &"n".repeat(65)] {
        let faults = faults_of(name, &base());
        assert!(faults.len() == 1 && faults[0].starts_with("/name: "), "{faults:?}");
    }
    let config = accepted(VALID);
    for name in ["a", "0", "A.b_c-d", &"n".repeat(64)] {
        assert_eq!(&*config.added(name, &base()).unwrap().name, name);
    }
}

#[test]
fn nothing_is_filled_in_for_a_placeholder() {
    let query = "SELECT '${PASSWORD}', '${credential:redis}', '${'";
    let job = added(&json!({"query": query, "target": {"hash": "${PASSWORD}"}}));
    assert_eq!(job.work.query, query);
    assert_eq!(job.work.families[0].target, Target::Hash { key: "${PASSWORD}".to_owned() });
    let faults = faults_of("${PASSWORD}", &with(&json!({"mysql": "${PASSWORD}"})));
    assert!(
        faults.len() == 2
            && faults.iter().all(|f| f.contains("`${PASSWORD}`") || f.contains("${PASSWORD}]"))
    );
}

#[test]
fn what_is_nested_a_hundred_times_is_refused_and_no_stack_ends() {
    for around in [|v: Value| json!([v]), |v: Value| json!({"a": v})] {
        let deep = (0..120).fold(json!(1), |value, _| around(value));
        let faults = faults_of("j", &with(&json!({"guard": deep})));
        assert!(faults.iter().all(|fault| fault.starts_with("/guard: ")), "{faults:?}");
    }
}
