//! The bodies of the fuzz targets on some thousand inputs: mutations of what people write, and arbitrary bytes.
//!
//! The seed is fixed, so that a change is not blamed for what it did not do; `RECOUNTD_SEED=N` looks elsewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::panic::catch_unwind;

use fastrand::Rng;

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
    let seed = std::env::var("RECOUNTD_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut rng = Rng::with_seed(seed);
    let check = |input: &[u8]| {
        if catch_unwind(|| body(input)).is_err() {
            panic!("{name} with seed {seed}: {:?}\n{input:?}", String::from_utf8_lossy(input));
        }
    };
    corpus.iter().for_each(|text| check(text.as_bytes()));
    for _ in 0..count {
        let input = match rng.u8(..8) {
            0 => (0..rng.usize(..40)).map(|_| rng.u8(..)).collect(),
            _ => mutated(corpus, &mut rng),
        };
        check(&input);
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
