#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
//! What jobs.toml may say, what each mistake in it is answered with, and that no answer shows a password.

mod common_config;

use std::time::Duration;

use chrono_tz::Tz;
use common_config::{VALID, accepted, parse, refused};
use recountd::config::{Ghosts, Job, Percent};
use recountd::schedule::{Cron, Interval, Trigger};

/// The job `j` with this trigger and this target, in a valid file.
fn job(trigger: &str, target: &str) -> Job {
    let rest = format!("query = 'SELECT 1, 2'\ntarget = {target}\n");
    Job::clone(&accepted(&format!("{VALID}[jobs.j]\n{trigger}\n{rest}")).jobs["j"])
}

#[test]
fn a_file_with_every_key_is_read_as_written() {
    let text = r#"
        mysql = { main.url = "mysql://u@127.0.0.1:3306/app", replica.url = "mysql://u@[::1]/app" }
        redis.cache.url = "redis://127.0.0.1:6379/0"
        defaults = { misfire_grace = "2h", retries = 0 }
        [daemon]
        timezone = "Asia/Shanghai"
        workers = 1_024
        state = "/var/lib/x.db"
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
        SELECT user_id, COUNT(*) FROM t GROUP BY user_id ; """
        target = { zset = "count:user:arts" }
        settle = "250ms"
        ghosts = "keep"
        guard = { max_changed = "0.5%", allow_empty = true }
        redis_share = "25%"
        "#;
    let config = accepted(text);
    assert_eq!((config.daemon.timezone, config.daemon.workers), (Tz::Asia__Shanghai, 1024));
    assert_eq!(config.daemon.state.unwrap().to_str(), Some("/var/lib/x.db"));
    assert_eq!(config.daemon.shutdown_timeout, Duration::from_secs(90));
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
    assert_eq!((work.settle, work.ghosts), (Duration::from_millis(250), Some(Ghosts::Keep)));
    let guard = (work.guard.max_changed.to_string(), work.guard.allow_empty);
    assert_eq!((guard, work.redis_share.to_string()), (("0.5%".into(), true), "25%".into()));
}

#[test]
fn what_is_left_out_has_the_default_of_the_documentation() {
    let config = accepted(VALID);
    assert_eq!((config.daemon.timezone, config.daemon.workers), (Tz::Asia__Tokyo, 10));
    assert_eq!(
        (config.daemon.state, config.daemon.shutdown_timeout),
        (None, Duration::from_secs(30))
    );
    let job = &config.jobs["good"];
    assert_eq!(
        format!("{:?} {:?}", job.description, job.limits),
        "\"\" Limits { misfire_grace: 60s, coalesce: true, max_instances: 1, timeout: 600s, \
         retries: 3, backoff: 1s, max_backoff: 60s, jitter: 0ns }"
    );
    let work = &job.work;
    assert_eq!((work.settle, work.ghosts), (Duration::from_secs(1), None));
    let guard = (work.guard.max_changed, work.guard.allow_empty, work.redis_share);
    assert_eq!(guard, (Percent::HALF, false, Percent::HALF));
    assert_eq!((&*work.mysql.name, &*work.redis.name), ("main", "main"));
}

#[test]
fn a_job_overrides_defaults_and_zone_of_the_file() {
    let own = "date = 2026-12-01T03:00:00\ntimezone = 'UTC'\nretries = 7\n";
    let file = "defaults = { retries = 1, timeout = '9s' }\ndaemon.timezone = 'Asia/Shanghai'\n";
    let rest = "query = 'q'\ntarget.zset = 'k'\n";
    let config = accepted(&format!("{file}{VALID}timeout = '5s'\n[jobs.own]\n{own}{rest}"));
    let of = |name: &str| {
        let job = &config.jobs[name];
        (job.limits.retries, job.limits.timeout.as_secs(), job.zone)
    };
    assert_eq!((of("good"), of("own")), ((1, 5, Tz::Asia__Shanghai), (7, 9, Tz::UTC)));
}

#[test]
fn a_date_is_exact_with_an_offset_and_local_to_the_job_without() {
    for (zone, date, want) in [
        ("Asia/Shanghai", "2026-12-01T03:00:00+01:00", "2026-12-01T02:00:00Z"),
        ("Asia/Shanghai", "2026-12-01T03:00:00Z", "2026-12-01T03:00:00Z"),
        ("Asia/Shanghai", "2026-12-01 03:00:00.25", "2026-11-30T19:00:00.25Z"),
        // What daylight saving skips is moved to the end of the gap; of two, the first is meant.
        ("Europe/Berlin", "2026-03-29T02:30:00", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),
    ] {
        let trigger = |lines: &str| {
            job(&format!("timezone = '{zone}'\n{lines} = {date}"), "{ zset = 'k' }").trigger
        };
        let want = want.parse().unwrap();
        assert_eq!(trigger("date"), Trigger::Date(want), "{date} in {zone}");
        let interval = Interval::new(Duration::from_secs(5400), Some(want));
        assert_eq!(trigger("interval = '1h30m'\nstart"), Trigger::Interval(interval), "{date}");
    }
}

#[test]
fn every_form_of_target_is_read() {
    for (text, target) in [
        ("{ zset = 'count:user:arts' }", "Zset { key: \"count:user:arts\" }"),
        ("{ hash = '计数' }", "Hash { key: \"计数\" }"),
        ("{ hash = 'u:{id}', field = 'n' }", "HashField { key: \"u:{id}\", field: \"n\" }"),
        ("{ string = 'user:{id}:n' }", "Text { key: \"user:{id}:n\" }"),
    ] {
        assert_eq!(format!("{:?}", job("interval = '1d'", text).work.families[0].target), target);
    }
}

#[test]
fn several_targets_are_read_in_the_order_of_the_file() {
    let text = "[jobs.j]\ninterval = '1d'\nquery = 'q'\ntargets = { z = { zset = 'k' }, a = { hash = 'k' } }";
    let config = accepted(&format!("{VALID}{text}"));
    let families = &config.jobs["j"].work.families;
    let shown: Vec<String> =
        families.iter().map(|f| format!("{} {}", f.name(), f.target)).collect();
    assert_eq!(shown, ["z zset k", "a hash k"]);
}

#[test]
fn placeholders_in_urls_are_filled_and_a_password_may_hold_any_character() {
    let password = "p%40ss%3Aw%2Frd%23%3F%25%24%20%7B%C3%A9%7D";
    for (url, want) in [
        ("redis://u:${PASSWORD}@h:2/0", format!("redis://u:{password}@h:2/0")),
        ("redis://:${credential:redis}@h/0", "redis://:to%2Fken@h/0".to_owned()),
        ("redis://:p%40@${REDIS_HOST}/1", "redis://:p%40@cache.example:6380/1".to_owned()),
        ("${REDIS_URL}", "redis://:hunter2@cache.example/3".to_owned()),
    ] {
        let config = accepted(&format!("{VALID}redis = 'main'\n[redis.other]\nurl = '{url}'\n"));
        let server = &config.redis["other"].url;
        assert_eq!(server.reveal(), want);
        let shown = format!("{server} {config:#?}");
        for secret in ["hunter2", "to%2Fken", "p%40"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn a_url_that_cannot_be_used_is_refused_without_its_password() {
    let lines = r#"
mysql = "main"
redis = "main"
[redis]
a.url = «"redis://:${NO_SUCH}@h"»
#! `${NO_SUCH}` in `url`: the environment variable NO_SUCH is not set #? set the environment variable NO_SUCH
b.url = «"redis://:${credential:none}@h"»
#! `${credential:none}` in `url`: there is no credential none
#? start it under systemd with LoadCredential=, or set CREDENTIALS_DIRECTORY
c.url = «"redis://${REDIS_HOST"»
#! `${` in `url` has no closing `}` #? write ${NAME} or ${credential:NAME}
d.url = «"redis://:${PASSWORD}@h:1/0"»
#! `url` cannot be used: redis has no port 1
#? write scheme://user:password@host:port/database, as in mysql://recountd:${MYSQL_PASSWORD}@127.0.0.1:3306/app or redis://127.0.0.1:6379/0; with TLS mysql://…?ssl-ca=/path/ca.pem and rediss://…?ssl-ca=/path/ca.pem
e = «{}»
#! [redis.e] has no `url` #? add url = "scheme://user:password@host:port/database"
"#;
    refused(lines);
    // Where a line cannot be shown without its password, the caret stands under what hides it.
    let text = VALID.replace("hunter2@127.0.0.1:6379/0\"", "hunter2@h\" x");
    let errors = parse(&text).unwrap_err();
    let line = "\n --> etc/jobs.toml:5:7\n  |\n5 | url = ***\n  |       ^";
    assert!(errors.to_string().contains(line), "{errors}");
}

#[test]
fn a_text_that_is_not_toml_is_refused_at_each_such_place() {
    let lines = r#"
description = "计数" «x»
#! not TOML: unexpected key or value, expected newline, `#`
[daemon«»
#! not TOML: unclosed table, expected `]`
"#;
    refused(lines);
}

#[test]
fn an_unknown_key_is_refused_in_every_table_with_the_nearest_one() {
    let lines = r#"
«time_out» = "1m"
#! unknown key `time_out` in job good #? did you mean `timeout`?
guard = { «allow-empty» = true }
#! unknown key `allow-empty` in `guard` #? did you mean `allow_empty`?
[daemon]
«pool» = 3
#! unknown key `pool` in [daemon] #? it takes timezone, workers, state, keep, keep_runs, shutdown_timeout
[defaults]
«retires» = 3
#! unknown key `retires` in [defaults] #? did you mean `retries`?
[«job».b]
#! unknown key `job` in the file #? did you mean `jobs`?
"#;
    refused(lines);
    for (target, unknown, near) in [
        ("{ zet = 'k' }", "unknown key `zet`", "did you mean `zset`?"),
        ("{ hash = 'user:{id}', feild = 'f' }", "unknown key `feild`", "did you mean `field`?"),
    ] {
        let text = format!("{VALID}[jobs.b]\ninterval = '1m'\nquery = 'q'\ntarget = {target}");
        let shown = parse(&text).unwrap_err().to_string();
        assert!(shown.contains(unknown) && shown.contains(near), "{shown}");
    }
}

#[test]
fn a_value_of_another_type_or_without_a_meaning_is_refused_with_what_the_key_takes() {
    let lines = r#"
retries = «"3"»
#! `retries` takes a whole number without quotes, not a string #? write `retries` as a whole number without quotes
timeout = «60»
#! `timeout` takes a duration in quotes, as in "10m", not an integer
#? write `timeout` as a duration in quotes, as in "10m"
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
mysql = «"mian"»
#! there is no `[mysql.mian]` #? did you mean "main"?
"#;
    refused(lines);
}

#[test]
fn a_job_without_exactly_one_trigger_that_fires_is_refused() {
    let lines = r#"
«cron» = "0 3 * * *"
#! job good has 2 triggers: cron, interval #? keep one, and give the other to a job of its own
[jobs]
a = «{ query = "q", target = { zset = "k" } }»
#! job a has no trigger, so it would never run
#? add one of cron = "0 3 * * *", interval = "10m", date = 2030-01-01T03:00:00Z
b = { cron = "0 «25» * * *", query = "q", target = { zset = "k" } }
#! cron: 25 is out of range for the hour #? use 0 to 23, `*`, a list, a range or a step
c = { cron = '0 3 «30 2» *', query = "q", target = { zset = "k" } }
#! cron: this never happens: no month given has such a day
#? use a day that the month has; 29 February comes in leap years
d = { interval = «"0s"», query = "q", target = { zset = "k" } }
#! `interval` must be from 10ms to 366d
e = { cron = "@daily", «start» = 2026-01-01T00:00:00Z, query = "q", target.zset = "k" }
#! `start` belongs to `interval` #? remove it, or use interval as the trigger
f = { date = «2026-12-01», query = "q", target = { zset = "k" } }
#! `date` needs both a date and a time #? write it without quotes, as in 2030-01-01T03:00:00+08:00
g = { date = «2016-12-31T23:59:60Z», query = "q", target = { zset = "k" } }
#! `date` is not a date-time that exists #? write it without quotes, as in 2030-01-01T03:00:00+08:00
"#;
    refused(lines);
}

#[test]
fn a_name_a_query_and_a_target_that_no_run_could_use_are_refused() {
    let lines = r#"
[jobs]
b = «{ interval = "1m", query = "q" }»
#! job b has no `target` #? add target = { zset = "count:user:arts" }
c = { interval = "1m", query = "q", target = «{ field = "f" }» }
#! `target` must name exactly one of zset, hash, string
#? write one of { zset = KEY }, { hash = KEY }, { hash = "user:{id}", field = "articles" }, { string = "user:{id}:articles" }
d = { interval = "1m", query = "q", target = «{ zset = "user:{id}" }» }
#! a zset or a hash without `field` has one key for all ids
#? a key of its own for each id holds {id}, as in "user:{id}:articles"
e = { interval = "1m", query = "q", target = «{ string = "{id}:{id}" }» }
#! the key must hold {id} once: it differs from id to id
#? a key of its own for each id holds {id}, as in "user:{id}:articles"
f = { interval = "1m", query = «" "», target = { hash = "h" } }
#! `query` is empty #? give `query` a value
g = { interval = "1m", query = "q", target = «{ hash = "h" }», targets = { n = { hash = "h" } } }
#! `target` and `targets` in one job
#? write `target` for the second column, or `targets` for several columns by name
h = { interval = "1m", query = "q", targets = { n = { hash = "h" }, m = «{ hash = "h" }» } }
#! another target of the job is hash h as well #? give each column counters of its own
«-h» = { interval = "1m", query = "q", target = { hash = "h" } }
#! `-h` cannot be the name of a job
#? use 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or a digit
"#;
    refused(lines);
    let job = |name: &str, query: &str| {
        format!("{VALID}[jobs.{name}]\ninterval = '1m'\ntarget.zset = 'k'\nquery = '{query}'")
    };
    accepted(&job(&"n".repeat(64), "q"));
    assert!(parse(&job(&"n".repeat(65), "q")).is_err());
    assert!(parse(&job("b", ";")).is_err(), "a semicolon alone is no query");
}

#[test]
fn a_job_that_names_no_server_is_refused_unless_there_is_just_one() {
    let job =
        "[jobs.a]\ninterval = '1m'\nquery = 'q'\ntarget.zset = 'k'\n[redis]\na.url = 'redis://a'\n";
    let two = "mysql = { a.url = 'mysql://a', b.url = 'mysql://b' }";
    for (mysql, message, help) in [
        ("", "and there is none", "add [mysql.main] with its url"),
        (two, "and there are 2", "add mysql = \"NAME\", one of a, b"),
    ] {
        let shown = parse(&format!("{mysql}\n{job}")).unwrap_err().to_string();
        let message = format!("error: job a does not say which mysql server it uses, {message}\n");
        assert!(shown.contains(&message) && shown.contains(help), "{shown}");
    }
}
