#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
//! What jobs.toml may say, what each mistake in it is answered with, and that no answer shows a password.

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use recountd::config::{
    self, Config, ConfigErrors, Ghosts, Job, Percent, ServerKind, Surroundings, Target,
};
use recountd::schedule::{Cron, Interval, Trigger};

/// Valid by itself; the tests append to it, first to the job and then tables of their own.
const VALID: &str = r#"
[mysql.main]
url = "mysql://recountd:hunter2@127.0.0.1:3306/toutiao"
[redis.main]
url = "redis://:hunter2@127.0.0.1:6379/0"
[jobs.good]
interval = "10m"
query = "SELECT user_id, COUNT(*) FROM t GROUP BY user_id"
target = { zset = "count:user:arts" }
"#;

/// The part of a job that is not its trigger.
const WORK: &str = "query = \"SELECT 1, 2\"\ntarget = { zset = \"k\" }\n";

const SECRET: &str = "hunter2";

/// A made-up world: three variables, one credential, a library that refuses port 1.
fn parse(text: &str) -> Result<Config, ConfigErrors> {
    let variable = |name: &str| match name {
        "MYSQL_PASSWORD" => Ok("p@ss:w/rd#?%$ {é}".to_owned()),
        "REDIS_HOST" => Ok("cache.example:6380".to_owned()),
        "REDIS_URL" => Ok("redis://:hunter2@cache.example/3".to_owned()),
        _ => Err(format!("the environment variable {name} is not set")),
    };
    let credential = |name: &str| match name {
        "redis" => Ok("to/ken".to_owned()),
        _ => Err("the environment variable CREDENTIALS_DIRECTORY is not set".to_owned()),
    };
    let check_url = |kind: ServerKind, url: &str| match url.contains(":1/") {
        true => Err(format!("{} has no port 1", kind.word())),
        false => Ok(()),
    };
    let surroundings = Surroundings {
        system_zone: Tz::Asia__Tokyo,
        variable: &variable,
        credential: &credential,
        check_url: &check_url,
    };
    config::parse("etc/jobs.toml", text, &surroundings)
}

#[track_caller]
fn accepted(text: &str) -> Config {
    parse(text).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

/// The job `j` that consists of these lines, in a valid file.
#[track_caller]
fn job(lines: &str) -> Job {
    Job::clone(&accepted(&format!("{VALID}[jobs.j]\n{lines}")).jobs["j"])
}

/// Parses a text in which every mistake stands between « and », with a comment on the next line: `#!` and its message,
/// `#?` and the way out where the message does not say it. All have to be reported, in this order, each with file,
/// line and column, the offending line, and a caret under the whole mistake.
#[track_caller]
fn refused(marked: &str) {
    let marked =
        &if marked.starts_with('«') { marked.to_owned() } else { format!("{VALID}{marked}") };
    let text = marked.replace(['«', '»'], "");
    let errors = parse(&text).expect_err(&text);
    let (mut want, mut count, mut before, mut rest) = (String::new(), 0, String::new(), &**marked);
    while let Some((skipped, after)) = rest.split_once('«') {
        let (mistake, after) = after.split_once('»').expect("a closing mark");
        before.push_str(skipped);
        let indent = before.rsplit('\n').next().unwrap().chars().count();
        let number = before.matches('\n').count() + 1;
        let line = text.lines().nth(number - 1).unwrap_or_default();
        let gutter = " ".repeat(number.to_string().len());
        let carets = "^".repeat(mistake.lines().next().unwrap_or_default().len().max(1));
        let comment = after.lines().skip(1).map(str::trim).take_while(|l| l.starts_with('#'));
        let comment = comment.collect::<Vec<_>>().join(" ");
        let message = comment.strip_prefix("#! ").expect("a message after each mistake");
        let (message, help) = message.split_once(" #? ").unwrap_or((message, ""));
        want += &format!("error: {message}\n");
        want += &format!("{gutter}--> etc/jobs.toml:{number}:{}\n", indent + 1);
        want += &format!("{gutter} |\n{number} | {line}\n");
        want += &format!("{gutter} | {}{carets}\n", " ".repeat(indent));
        if !help.is_empty() {
            want += &format!("{gutter} |\n{gutter} = help: {help}\n");
        }
        want += "\n";
        before.push_str(mistake);
        rest = after;
        count += 1;
    }
    let s = if count == 1 { "" } else { "s" };
    want += &format!("etc/jobs.toml: {count} problem{s}; nothing was changed");
    let shown = errors.to_string();
    assert_eq!(shown.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"), want, "\n{shown}");
    assert_eq!((errors.count(), errors.problems().count()), (count, count));
}

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[test]
fn a_file_with_every_key_is_read_as_written() {
    let config = accepted(
        r#"
        mysql = { main.url = "mysql://u@127.0.0.1:3306/app", replica.url = "mysql://u@[::1]/app" }
        redis.cache.url = "redis://127.0.0.1:6379/0"
        defaults = { misfire_grace = "2h", retries = 0 }
        [daemon]
        timezone = "Asia/Shanghai"
        workers = 1_024
        state = "/var/lib/recountd/recountd.db"
        shutdown_timeout = "1m30s"
        [jobs.user-articles]
        kind = "reconcile"
        description = "articles per user"
        cron = "0 3 * * *"
        timezone = "Europe/Berlin"
        coalesce = false
        max_instances = 2
        timeout = "1d"
        retries = 100
        backoff = "500ms"
        max_backoff = "5m"
        jitter = "10s"
        mysql = "replica"
        redis = "cache"
        query = """
        SELECT user_id, COUNT(*) FROM t GROUP BY user_id ;
        """
        target = { zset = "count:user:arts" }
        settle = "250ms"
        ghosts = "keep"
        guard = { max_changed = "0.5%", allow_empty = true }
        redis_share = "25%"
        "#,
    );
    assert_eq!((config.daemon.timezone, config.daemon.workers), (Tz::Asia__Shanghai, 1024));
    assert_eq!(config.daemon.state.unwrap().to_str(), Some("/var/lib/recountd/recountd.db"));
    assert_eq!(config.daemon.shutdown_timeout, seconds(90));
    let job = &config.jobs["user-articles"];
    assert_eq!((&*job.name, &*job.description), ("user-articles", "articles per user"));
    assert_eq!(job.zone, Tz::Europe__Berlin);
    assert_eq!(job.trigger, Trigger::Cron(Cron::parse("0 3 * * *", Tz::Europe__Berlin).unwrap()));
    assert_eq!(
        format!("{:?}", job.limits),
        "Limits { misfire_grace: 7200s, coalesce: false, max_instances: 2, timeout: 86400s, \
         retries: 100, backoff: 500ms, max_backoff: 300s, jitter: 10s }"
    );
    let work = &job.work;
    assert_eq!((&*work.mysql.name, &*work.redis.name), ("replica", "cache"));
    // A statement that stands inside of another one cannot end with a semicolon.
    assert_eq!(work.query, "SELECT user_id, COUNT(*) FROM t GROUP BY user_id");
    assert_eq!((work.settle, work.ghosts), (Duration::from_millis(250), Ghosts::Keep));
    assert_eq!(work.guard.max_changed, Percent::parse("0.5%").unwrap());
    assert!(work.guard.allow_empty);
    assert_eq!(work.redis_share.to_string(), "25%");
}

#[test]
fn what_is_left_out_has_the_default_of_the_documentation() {
    let config = accepted(VALID);
    assert_eq!((config.daemon.timezone, config.daemon.workers), (Tz::Asia__Tokyo, 10));
    assert_eq!((config.daemon.state, config.daemon.shutdown_timeout), (None, seconds(30)));
    let job = &config.jobs["good"];
    assert_eq!(
        format!("{:?} {:?}", job.description, job.limits),
        "\"\" Limits { misfire_grace: 60s, coalesce: true, max_instances: 1, timeout: 600s, \
         retries: 3, backoff: 1s, max_backoff: 60s, jitter: 0ns }"
    );
    assert_eq!((job.work.settle, job.work.ghosts), (seconds(1), Ghosts::Remove));
    assert_eq!((job.work.guard.max_changed, job.work.guard.allow_empty), (Percent::HALF, false));
    assert_eq!(job.work.redis_share, Percent::HALF);
    assert_eq!((&*job.work.mysql.name, &*job.work.redis.name), ("main", "main"));
}

#[test]
fn a_job_overrides_defaults_and_zone_of_the_file() {
    let config = accepted(&format!(
        "{VALID}timeout = \"5s\"\n[jobs.own]\ndate = 2026-12-01T03:00:00\ntimezone = \"UTC\"\n\
         retries = 7\n{WORK}[defaults]\nretries = 1\ntimeout = \"9s\"\n\
         [daemon]\ntimezone = \"Asia/Shanghai\"\n"
    ));
    let limits = |name: &str| (config.jobs[name].limits.retries, config.jobs[name].limits.timeout);
    assert_eq!(limits("good"), (1, seconds(5)));
    assert_eq!(limits("own"), (7, seconds(9)));
    assert_eq!(config.jobs["good"].zone, Tz::Asia__Shanghai);
    assert_eq!(config.jobs["own"].zone, Tz::UTC);
    assert_eq!(config.jobs["own"].trigger, Trigger::Date(at("2026-12-01T03:00:00Z")));
}

#[test]
fn a_date_is_exact_with_an_offset_and_local_to_the_job_without() {
    for (zone, date, want) in [
        ("Asia/Shanghai", "2026-12-01T03:00:00+01:00", "2026-12-01T02:00:00Z"),
        ("Asia/Shanghai", "2026-12-01T03:00:00Z", "2026-12-01T03:00:00Z"),
        ("Asia/Shanghai", "2026-12-01T03:00:00", "2026-11-30T19:00:00Z"),
        ("Asia/Shanghai", "2026-12-01 03:00:00.25", "2026-11-30T19:00:00.25Z"),
        // What daylight saving skips is moved to the end of the gap; of two, the first is meant.
        ("Europe/Berlin", "2026-03-29T02:30:00", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),
    ] {
        let once = job(&format!("timezone = \"{zone}\"\ndate = {date}\n{WORK}"));
        assert_eq!(once.trigger, Trigger::Date(at(want)), "{date} in {zone}");
        let often =
            job(&format!("timezone = \"{zone}\"\ninterval = \"1h30m\"\nstart = {date}\n{WORK}"));
        let interval = Interval::new(seconds(5400), Some(at(want)));
        assert_eq!(often.trigger, Trigger::Interval(interval), "{date} in {zone}");
    }
}

#[test]
fn every_form_of_target_is_read() {
    let key = |key: &str| key.to_owned();
    for (text, target) in [
        ("{ zset = \"count:user:arts\" }", Target::Zset { key: key("count:user:arts") }),
        ("{ hash = \"计数\" }", Target::Hash { key: key("计数") }),
        (
            "{ hash = \"user:{id}\", field = \"articles\" }",
            Target::HashField { key: key("user:{id}"), field: key("articles") },
        ),
        ("{ string = \"user:{id}:articles\" }", Target::Text { key: key("user:{id}:articles") }),
    ] {
        let lines = format!("interval = \"1d\"\nquery = \"SELECT 1, 2\"\ntarget = {text}\n");
        assert_eq!(job(&lines).work.target, target);
    }
}

#[test]
fn placeholders_in_urls_are_filled_and_a_password_may_hold_any_character() {
    let password = "p%40ss%3Aw%2Frd%23%3F%25%24%20%7B%C3%A9%7D";
    for (kind, url, want) in [
        ("mysql", "mysql://u:${MYSQL_PASSWORD}@h:2/db", format!("mysql://u:{password}@h:2/db")),
        ("redis", "redis://:${credential:redis}@h/0", "redis://:to%2Fken@h/0".to_owned()),
        ("redis", "redis://${REDIS_HOST}/1", "redis://cache.example:6380/1".to_owned()),
        ("redis", "redis://:x@${REDIS_HOST}/1", "redis://:x@cache.example:6380/1".to_owned()),
        ("redis", "${REDIS_URL}", "redis://:hunter2@cache.example/3".to_owned()),
        ("redis", "redis://:p%40s@h/0", "redis://:p%40s@h/0".to_owned()),
    ] {
        let uses = format!("[{kind}.other]\nurl = \"{url}\"\n");
        let config = accepted(&format!("{VALID}mysql = \"main\"\nredis = \"main\"\n{uses}"));
        let servers = if kind == "mysql" { &config.mysql } else { &config.redis };
        let server = &servers["other"].url;
        assert_eq!(server.reveal(), want);
        for shown in [server.to_string(), format!("{config:#?}")] {
            assert!(!shown.contains(SECRET) && !shown.contains(password), "{shown}");
            assert!(!shown.contains("to%2Fken"), "{shown}");
        }
    }
}

#[test]
fn an_unknown_key_is_refused_in_every_table_with_the_nearest_one() {
    refused(
        r#"
        «time_out» = "1m"
        #! unknown key `time_out` in job good #? did you mean `timeout`?
        guard = { «allow-empty» = true }
        #! unknown key `allow-empty` in `guard` #? did you mean `allow_empty`?
        [daemon]
        «pool» = 3
        #! unknown key `pool` in [daemon] #? it takes timezone, workers, state, shutdown_timeout
        [defaults]
        «retires» = 3
        #! unknown key `retires` in [defaults] #? did you mean `retries`?
        [redis.main.«tls»]
        #! unknown key `tls` in [redis.main] #? it takes url
        [«job».b]
        #! unknown key `job` in the file #? did you mean `jobs`?
        "#,
    );
}

#[test]
fn an_unknown_key_of_a_target_is_refused_as_one() {
    for (target, unknown, near) in [
        ("{ zet = 'k' }", "unknown key `zet`", "did you mean `zset`?"),
        ("{ zset = 'k', member = 'm' }", "unknown key `member`", "it takes "),
        ("{ hash = 'user:{id}', feild = 'f' }", "unknown key `feild`", "did you mean `field`?"),
    ] {
        let text = format!("{VALID}[jobs.b]\ninterval = '1m'\nquery = 'q'\ntarget = {target}");
        let shown = parse(&text).unwrap_err().to_string();
        assert!(shown.contains(unknown) && shown.contains(near), "{shown}");
    }
}

#[test]
fn a_value_of_another_type_is_refused_with_an_example() {
    refused(
        r#"
        retries = «"3"»
        #! `retries` takes a whole number without quotes, not a string
        #? write `retries` as a whole number without quotes
        timeout = «60»
        #! `timeout` takes a duration in quotes, as in "10m", not an integer
        #? write `timeout` as a duration in quotes, as in "10m"
        coalesce = «1.0»
        #! `coalesce` takes true or false, not a float #? write `coalesce` as true or false
        redis_share = «50»
        #! `redis_share` takes a percentage in quotes, as in "50%", not an integer
        #? write `redis_share` as a percentage in quotes, as in "50%"
        mysql = «[]»
        #! `mysql` takes the name of a server in quotes, as in "main", not an array
        #? write `mysql` as the name of a server in quotes, as in "main"
        guard = «true»
        #! `guard` takes a table, as in { max_changed = "50%", allow_empty = false }, not a boolean
        #? write `guard` as a table, as in { max_changed = "50%", allow_empty = false }
        start = «"2030-01-01"»
        #! `start` takes a date-time without quotes, as in 2030-01-01T03:00:00+08:00, not a string
        #? write `start` as a date-time without quotes, as in 2030-01-01T03:00:00+08:00
        "#,
    );
}

#[test]
fn a_value_that_makes_no_sense_is_refused_with_its_range_or_its_choices() {
    refused(
        r#"
        max_instances = «-1»
        #! `max_instances` must be from 1 to 1000
        settle = «"2h"»
        #! `settle` must be from 1ms to 1h
        redis_share = «"0%"»
        #! `redis_share` must be from 1% to 100%
        jitter = «"5min"»
        #! `jitter`: `min` is not a unit of time
        #? write a whole number and a unit, as in 500ms, 10s, 5m, 2h, 1d or 1h30m
        ghosts = «"kepe"»
        #! `ghosts` cannot be `kepe` #? did you mean `keep`?
        kind = «"http"»
        #! `kind` cannot be `http` #? it is one of reconcile
        guard.max_changed = «"150%"»
        #! `max_changed`: `150%` is not a percentage from 0% to 100% #? write it as in "50%"
        timezone = «"asia/shanghai"»
        #! there is no time zone `asia/shanghai` #? did you mean `Asia/Shanghai`?
        [daemon]
        timezone = «"Beijing time"»
        #! there is no time zone `Beijing time` #? write an IANA name, as in "Asia/Shanghai" or "UTC"
        workers = «0»
        #! `workers` must be from 1 to 1024
        state = «" "»
        #! `state` is empty #? give `state` a value
        "#,
    );
}

#[test]
fn a_job_without_exactly_one_trigger_that_fires_is_refused() {
    refused(
        r#"
        «cron» = "0 3 * * *"
        #! job good has 2 triggers: cron, interval #? keep one, and give the other to a job of its own
        start = «2016-12-31T23:59:60Z»
        #! `start` is not a date-time that exists #? write it without quotes, as in 2030-01-01T03:00:00+08:00
        «[jobs.none]»
        #! job none has no trigger, so it would never run
        #? add one of cron = "0 3 * * *", interval = "10m", date = 2030-01-01T03:00:00Z
        query = "SELECT 1, 2"
        target = { zset = "k" }
        [jobs]
        b = { cron = "0 «25» * * *", query = "q", target = { zset = "k" } }
        #! cron: 25 is out of range for the hour #? use 0 to 23, `*`, a list, a range or a step
        c = { cron = '0 3 «30 2» *', query = "q", target = { zset = "k" } }
        #! cron: this never happens: no month given has such a day
        #? use a day that the month has; 29 February comes in leap years
        d = { cron = «"\u0030 25 * * *"», query = "q", target = { zset = "k" } }
        #! cron: 25 is out of range for the hour #? use 0 to 23, `*`, a list, a range or a step
        e = { interval = «"0s"», query = "q", target = { zset = "k" } }
        #! `interval` must be from 10ms to 366d
        f = { cron = "@daily", «start» = 2026-01-01T00:00:00Z, query = "q", target.zset = "k" }
        #! `start` belongs to `interval` #? remove it, or use interval as the trigger
        g = { date = «2026-12-01», query = "q", target = { zset = "k" } }
        #! `date` needs both a date and a time #? write it without quotes, as in 2030-01-01T03:00:00+08:00
        "#,
    );
}

#[test]
fn a_query_and_a_target_that_no_run_could_use_are_refused() {
    refused(
        r#"
        [jobs]
        b = «{ interval = "1m", query = "q" }»
        #! job b has no `target` #? add target = { zset = "count:user:arts" }
        c = { interval = "1m", query = "q", target = «{ field = "f" }» }
        #! `target` must name exactly one of zset, hash, string
        #? write one of { zset = KEY }, { hash = KEY }, { hash = "user:{id}", field = "articles" }, { string = "user:{id}:articles" }
        d = { interval = "1m", query = "q", target = «{ zset = "user:{id}" }» }
        #! a zset or a hash without `field` has one key for all ids
        #? a key of its own for each id holds {id}, as in "user:{id}:articles"
        e = { interval = "1m", query = "q", target = «{ string = "user" }» }
        #! the key must hold {id}: it differs from id to id
        #? a key of its own for each id holds {id}, as in "user:{id}:articles"
        f = { interval = "1m", query = "q", target = «{ zset = "z", field = "f" }» }
        #! `field` belongs to `hash` #? a key of its own for each id holds {id}, as in "user:{id}:articles"
        g = { interval = "1m", query = «" "», target = { hash = "h" } }
        #! `query` is empty #? give `query` a value
        h = { interval = "1m", query = «";"», target = { hash = "h" } }
        #! `query` is empty #? give `query` a value
        i = «{ interval = "1m", target = { hash = "h" } }»
        #! job i has no `query` #? add query = "SELECT user_id, COUNT(*) FROM ... GROUP BY user_id"
        "#,
    );
}

#[test]
fn a_job_that_names_no_server_of_the_file_is_refused() {
    refused(
        r#"
        mysql = «"mian"»
        #! there is no `[mysql.mian]` #? did you mean "main"?
        redis = «"sessions"»
        #! there is no `[redis.sessions]` #? add [redis.sessions] with its url
        "#,
    );
    refused(
        r#"«[jobs.b]»
        #! job b does not say which mysql server it uses, and there is none #? add [mysql.main] with its url
        interval = "1m"
        query = "q"
        redis = "a"
        target = { zset = "k" }
        [jobs]
        c = «{ interval = "1m", mysql = "x", query = "q", target.zset = "k" }»
        #! job c does not say which redis server it uses, and there are 2 #? add redis = "NAME", one of a, b
        [redis]
        a.url = "redis://a"
        b.url = "redis://b"
        "#,
    );
}
