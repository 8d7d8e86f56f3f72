//! The bodies of the fuzz targets on some thousand inputs: mutations of what people write, and arbitrary bytes.
//!
//! The seed is fixed, so that a change is not blamed for what it did not do; `RECOUNTD_SEED=N` looks elsewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::panic::catch_unwind;

use fastrand::Rng;
use serde_json::Value;

/// What mutations put in: the ends of ranges, and what has a meaning somewhere.
const TOKENS: [&str; 32] = [
    "0",
    "-1",
    "59",
    "60",
    "7",
    "31",
    "*",
    "*/",
    ",",
    "-",
    "/",
    "@",
    "${",
    "}",
    "\"",
    "\"\"\"",
    "[",
    "]",
    "{",
    "=",
    "#",
    "\n",
    "\0",
    "ß",
    "日",
    "1e309",
    "-0",
    "9007199254740993",
    "18446744073709551616",
    "9223372036854775807",
    "ms",
    "%2F",
];

/// Calls a body with `count` inputs, and names the one that it panics on.
fn run(name: &str, body: fn(&[u8]), corpus: &[&str], count: usize) {
    run_on(name, body, corpus, count, |corpus, rng| match rng.u8(..8) {
        0 => (0..rng.usize(..40)).map(|_| rng.u8(..)).collect(),
        _ => mutated(corpus, rng),
    });
}

/// The same with inputs that `input` makes of the corpus.
fn run_on(
    name: &str,
    body: fn(&[u8]),
    corpus: &[&str],
    count: usize,
    input: fn(&[&str], &mut Rng) -> Vec<u8>,
) {
    let seed = std::env::var("RECOUNTD_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut rng = Rng::with_seed(seed);
    let check = |input: &[u8]| {
        if catch_unwind(|| body(input)).is_err() {
            panic!("{name} with seed {seed}: {:?}\n{input:?}", String::from_utf8_lossy(input));
        }
    };
    corpus.iter().for_each(|text| check(text.as_bytes()));
    for _ in 0..count {
        check(&input(corpus, &mut rng));
    }
}

/// One of the corpus, changed in a few places.
fn mutated(corpus: &[&str], rng: &mut Rng) -> Vec<u8> {
    let any = |rng: &mut Rng| corpus[rng.usize(..corpus.len())].as_bytes();
    let mut input = any(rng).to_vec();
    for _ in 0..rng.usize(1..=4) {
        let (from, to) = (rng.usize(..=input.len()), rng.usize(..=input.len()));
        let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 12));
        let new: Vec<u8> = match rng.u8(..6) {
            0 => Vec::new(),
            1 => vec![rng.u8(..)],
            2 => vec![rng.u8(b' '..=b'~')],
            3 => input[from..to].repeat(rng.usize(2..5)),
            4 => {
                let other = any(rng);
                let begin = rng.usize(..=other.len());
                other[begin..other.len().min(begin + 12)].to_vec()
            }
            _ => TOKENS[rng.usize(..TOKENS.len())].as_bytes().to_vec(),
        };
        // Half of the time in place of something, else in between.
        let to = if rng.bool() { to } else { from };
        input.splice(from..to, new);
    }
    input
}

/// One of the corpus, which is JSON, with values changed for others.
fn mutated_json(corpus: &[&str], rng: &mut Rng) -> Vec<u8> {
    let any = |rng: &mut Rng| -> Value {
        serde_json::from_str(corpus[rng.usize(..corpus.len())]).unwrap()
    };
    let mut input = any(rng);
    for _ in 0..rng.usize(1..=3) {
        let other = any(rng);
        let map = input.as_object_mut().unwrap();
        let (mine, others): (Vec<String>, Vec<&String>) =
            (map.keys().cloned().collect(), other.as_object().unwrap().keys().collect());
        let own = mine.get(rng.usize(..=mine.len())).cloned().unwrap_or_default();
        let taken = others.get(rng.usize(..=others.len())).map(|key| key.as_str());
        match rng.u8(..5) {
            0 => drop(map.remove(&own)),
            1 => {
                let value = mutated_value(map.get(&own).cloned(), rng);
                map.insert(own, value);
            }
            2 => drop(map.insert(own, taken.map_or(Value::Null, |key| other[key].clone()))),
            3 => drop(map.insert(TOKENS[rng.usize(..TOKENS.len())].to_owned(), Value::from(own))),
            _ => drop(taken.map(|key| map.insert(key.to_owned(), other[key].clone()))),
        }
    }
    input.to_string().into_bytes()
}

/// Another value, or the same with a token in it.
fn mutated_value(value: Option<Value>, rng: &mut Rng) -> Value {
    let token = TOKENS[rng.usize(..TOKENS.len())];
    match (value, rng.u8(..4)) {
        (Some(Value::String(text)), 0..3) => {
            let cuts: Vec<usize> =
                text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let (before, after) = text.split_at(cuts[rng.usize(..cuts.len())]);
            Value::from(format!("{before}{token}{after}"))
        }
        (Some(Value::Object(map)), 0..3) => {
            let inner = |(key, value): (String, Value)| (key, mutated_value(Some(value), rng));
            Value::Object(map.into_iter().map(inner).collect())
        }
        (_, 0) => Value::from(rng.i64(..)),
        (_, 1) => Value::from(f64::from_bits(rng.u64(..))),
        (value, 2) => Value::from(vec![value.unwrap_or_default(), Value::Null]),
        _ => serde_json::from_str(token).unwrap_or(Value::from(token)),
    }
}

#[test]
fn no_jobs_toml_is_too_strange() {
    let servers = "[mysql.m]\nurl = \"mysql://me:${PASSWORD}@db/app\"\n\
                   [redis.r]\nurl = \"redis://localhost/0\"\n";
    let job = "[jobs.j]\nquery = \"SELECT 1, 2\"\ntarget = { zset = \"z\" }\n";
    let jobs = [
        "cron = \"*/5 0-6,22 1,15 * MON-FRI\"\ntimezone = \"Europe/Berlin\"\n",
        "interval = \"1h30m\"\nstart = 2026-11-21T03:00:00+08:00\njitter = \"5s\"\n",
        "date = 2026-12-01T03:00:00\nsettle = \"500ms\"\nredis_share = \"20%\"\n",
        "interval = \"1h\"\nping = { success = \"https://h/uuid\", failure = \"http://${HOST}/f\" }\n",
        "cron = \"@daily\"\nghosts = \"keep\"\nguard = { max_changed = \"5%\", allow_empty = true }\n",
    ]
    .map(|trigger| format!("{servers}{job}{trigger}"));
    let mut corpus: Vec<&str> = jobs.iter().map(String::as_str).collect();
    corpus.extend([include_str!("../jobs.toml"), servers, job, "a = [[[[", "'''", ""]);
    run("jobs_toml", bodies::jobs_toml, &corpus, 4_000);
}

#[test]
fn no_definition_is_too_strange() {
    let corpus = [
        r#"{"name": "j", "cron": "*/5 0-6,22 1,15 * MON-FRI", "query": "SELECT 1, 2", "target": {"zset": "z"}}"#,
        r#"{"interval": "1h30m", "start": "2026-11-21T03:00:00+08:00", "jitter": "5s", "query": "q", "target": {"hash": "h"}}"#,
        r#"{"date": "2026-12-01T03:00:00", "timezone": "Africa/Monrovia", "query": "q;", "target": {"string": "u:{id}"}}"#,
        r#"{"date": "9998-12-31t23:59:59.999-12:00", "query": "q", "target": {"hash": "u:{id}", "field": "f"}}"#,
        r#"{"cron": "@daily", "query": "q", "ghosts": "keep", "guard": {"max_changed": "5%", "allow_empty": true}, "targets": {"a": {"zset": "z"}, "\u0000\"]=": {"hash": "h"}}}"#,
        r#"{"interval": "10ms", "query": null, "target": {"zset": null}, "guard": [[[{"a": [null]}]]], "retries": 1e5}"#,
        r#"{"a.b": 1, "~/": -0.0, "": 18446744073709551615, "\u007f": "\n", "mysql": "main", "redis": "redis://x"}"#,
        "{}",
    ];
    run("definition", bodies::definition, &corpus, 5_000);
    run_on("definition", bodies::definition, &corpus, 10_000, mutated_json);
}

#[test]
fn no_crontab_line_is_too_strange() {
    // The first two bytes are the zone.
    let corpus = [
        "ab0 3 * * *",
        "\u{1}\u{2}*/15 * * * *",
        "xy30 2 29 2 *",
        "Zz0 0 1,15 * MON-FRI",
        "\0\x001-59/2 0-23/3 */2 JAN-DEC 0-7",
        "qq*/10 30 2 * * SUN",
        "ee@hourly",
        "ff@annually",
        "  0 0 31 4,6 7",
        "gg59 59 23 31 12 *",
    ];
    run("cron", bodies::cron, &corpus, 10_000);
}

#[test]
fn no_duration_is_too_strange() {
    let corpus =
        ["500ms", "10s", "5m", "2h", "1d", "1h30m", "1d2h3m4s5ms", "18446744073709551615ms"];
    run("duration", bodies::duration, &corpus, 50_000);
}

#[test]
fn no_url_is_too_strange() {
    let corpus = [
        "mysql://me:topsecret@127.0.0.1:3306/app?ssl-ca=/a/ca.pem&ssl-mode=VERIFY_IDENTITY",
        "mysql://me@[::1]/app?ssl-cert=/a.pem&ssl-key=/a.key&compress=fast",
        "redis://:topsecret@localhost:6379/0?protocol=resp3",
        "rediss://localhost:6380/15?ssl-ca=%2Fa%2Fca.pem#insecure",
        "redis+unix:///run/redis.sock?db=1&pass=topsecret",
        "://",
    ];
    run("url", bodies::url, &corpus, 20_000);
}

#[test]
fn no_row_is_too_strange() {
    let corpus = [
        "7",
        "07",
        "+7",
        "-7",
        "0",
        "",
        "18446744073709551615",
        "18446744073709551616",
        "3.50",
        "1e3",
        "-0",
        "9007199254740992",
        "-9007199254740993.0",
        "NaN",
        "Ann",
        "naïve",
        "a b\0c",
    ];
    run("row", bodies::row, &corpus, 50_000);
}
