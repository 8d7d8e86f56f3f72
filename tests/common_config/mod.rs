//! What the tests of jobs.toml share: a valid file, a made-up world around it, and a reader of marked mistakes.

// Every test binary compiles its own copy of this module and uses only a part of it.
#![allow(dead_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod any_job;

use chrono_tz::Tz;
use recountd::config::{self, Config, ConfigErrors, ServerKind, Surroundings};

/// Valid by itself; the tests append to it, first to the job and then tables of their own.
pub const VALID: &str = r#"
[mysql.main]
url = "mysql://recountd:hunter2@127.0.0.1:3306/toutiao"
[redis.main]
url = "redis://:hunter2@127.0.0.1:6379/0"
[jobs.good]
interval = "10m"
query = "SELECT user_id, COUNT(*) FROM t GROUP BY user_id"
target = { zset = "count:user:arts" }
"#;

/// A made-up world: a few variables, one credential, a library that refuses port 1.
pub fn parse(text: &str) -> Result<Config, ConfigErrors> {
    let variable = |name: &str| match name {
        "PASSWORD" => Ok("p@ss:w/rd#?%$ {é}".to_owned()),
        "REDIS_HOST" => Ok("cache.example:6380".to_owned()),
        "TOKEN" => Ok("correct horse battery".to_owned()),
        "TOKEN_OF_15" => Ok(" 0123456789abcde\n".to_owned()),
        "TOKEN_OF_16" => Ok(" 0123456789abcdef\n".to_owned()),
        "REDIS_URL" => Ok("redis://:hunter2@cache.example/3".to_owned()),
        _ => Err(format!("the environment variable {name} is not set")),
    };
    let credential = |name: &str| match name {
        "redis" => Ok("to/ken".to_owned()),
        "recountd-token" => Ok("tr0ub4dor&3 staple".to_owned()),
        _ => Err(format!("there is no credential {name}")),
    };
    let check_url = |kind: ServerKind, url: &str| {
        if url.contains(":1/") { Err(format!("{} has no port 1", kind.word())) } else { Ok(()) }
    };
    let (system_zone, variable, credential, check_url) =
        (Tz::Asia__Tokyo, &variable, &credential, &check_url);
    let surroundings = Surroundings { system_zone, variable, credential, check_url };
    config::parse("etc/jobs.toml", text, &surroundings)
}

/// What a text that is valid says.
#[track_caller]
pub fn accepted(text: &str) -> Config {
    parse(text).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

/// Adds lines to the valid text in which each mistake stands between « and » and is followed by a comment: `#!` with
/// its message, `#?` with the way out where the message does not say it. All of them have to be reported, in this
/// order, each with file, line and column, the offending line, and a caret under the whole mistake.
#[track_caller]
pub fn refused(marked: &str) {
    let marked = format!("{VALID}{marked}");
    let text = marked.replace(['«', '»'], "");
    let errors = parse(&text).expect_err(&text);
    let (mut want, mut count, mut before, mut rest) = (String::new(), 0, String::new(), &*marked);
    while let Some((skipped, after)) = rest.split_once('«') {
        let (mistake, after) = after.split_once('»').expect("a closing mark");
        before.push_str(skipped);
        let indent = before.rsplit('\n').next().unwrap().chars().count();
        let number = before.matches('\n').count() + 1;
        let line = text.lines().nth(number - 1).unwrap_or_default();
        let gutter = " ".repeat(number.to_string().len());
        // A caret stands by columns on the screen, of which a Chinese character takes two.
        let screen = before.rsplit('\n').next().unwrap().chars().map(|c| 1 + usize::from(c > '⺀'));
        let carets = "^".repeat(mistake.lines().next().unwrap_or_default().len().max(1));
        let comment = after.lines().skip(1).map(str::trim).take_while(|l| l.starts_with('#'));
        let comment = comment.collect::<Vec<_>>().join(" ");
        let message = comment.strip_prefix("#! ").expect("a message after each mistake");
        let (message, help) = message.split_once(" #? ").unwrap_or((message, ""));
        want += &format!("error: {message}\n");
        want += &format!("{gutter}--> etc/jobs.toml:{number}:{}\n", indent + 1);
        want += &format!("{gutter} |\n{number} | {line}\n");
        want += &format!("{gutter} | {}{carets}\n", " ".repeat(screen.sum()));
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
