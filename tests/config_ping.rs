#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
//! What `ping` in jobs.toml may say, what each mistake in it is answered with, and that no answer shows its secret.

use chrono_tz::Tz;
use recountd::config::{self, Config, ConfigErrors, Ping, PingUrl, Surroundings};

/// A job `j` with its last table still open.
const VALID: &str = r#"
mysql.main.url = "mysql://127.0.0.1/app"
redis.main.url = "redis://127.0.0.1/0"
[jobs.j]
interval = "10m"
query = "SELECT 1, 2"
target = { zset = "k" }
"#;

fn parse(lines: &str) -> Result<Config, ConfigErrors> {
    let variable = |name: &str| match name {
        "HOST" => Ok("hc.example:8000".to_owned()),
        "URL" => Ok("https://hc.example/topsecret".to_owned()),
        "WRONG" => Ok("hc.example/topsecret".to_owned()),
        "PASSWORD" => Ok("top/secret".to_owned()),
        _ => Err(format!("the environment variable {name} is not set")),
    };
    let credential = |name: &str| match name {
        "hc" => Ok("topsecret".to_owned()),
        _ => Err(format!("there is no credential {name}")),
    };
    let surroundings = Surroundings {
        system_zone: Tz::UTC,
        variable: &variable,
        credential: &credential,
        check_url: &|_, _| Ok(()),
    };
    config::parse("jobs.toml", &format!("{VALID}{lines}"), &surroundings)
}

#[track_caller]
fn ping(lines: &str) -> Ping {
    let config = parse(lines).unwrap_or_else(|errors| panic!("{lines}\n{errors}"));
    config.jobs["j"].ping.clone()
}

#[test]
fn a_job_may_name_one_url_or_two_in_a_table_of_any_form() {
    let url = |text: &str| Some(PingUrl::parse(text).unwrap());
    let (good, bad) = (url("https://hc-ping.com/a"), url("https://hc-ping.com/a/fail"));
    let (success, failure) =
        ("success = 'https://hc-ping.com/a'", "failure = 'https://hc-ping.com/a/fail'");
    let both = Ping { success: good.clone(), failure: bad.clone() };
    for (lines, want) in [
        (format!("ping = {{ {success}, {failure} }}"), both.clone()),
        (format!("[jobs.j.ping]\n{failure}\n{success}"), both),
        (format!("ping.{success}"), Ping { success: good, failure: None }),
        (format!("ping = {{ {failure} }}"), Ping { success: None, failure: bad }),
        (String::new(), Ping::default()),
    ] {
        assert_eq!(ping(&lines), want, "{lines}");
    }
}

#[test]
fn placeholders_are_filled_in_as_in_the_urls_of_servers() {
    for (url, want) in [
        ("https://hc-ping.com/${credential:hc}/fail", "https://hc-ping.com/topsecret/fail"),
        ("http://${HOST}/x", "http://hc.example:8000/x"),
        ("${URL}", "https://hc.example/topsecret"),
        ("https://me:${PASSWORD}@h/x", "https://me:top%2Fsecret@h/x"),
    ] {
        let ping = ping(&format!("ping.success = '{url}'"));
        assert_eq!(ping.success.as_ref().map(PingUrl::reveal), Some(want));
        assert!(!format!("{ping:?}").contains("secret"), "{ping:?}");
    }
}

#[test]
fn a_ping_that_could_not_be_sent_is_refused_with_the_way_out_and_without_its_secret() {
    let help = "= help: write it as in \"https://hc-ping.com/UUID\"";
    for (lines, shown) in [
        (
            r#"ping = { success = "ftp://h/topsecret" }"#,
            vec![
                "error: `success` cannot be pinged: it is neither http nor https",
                r#"8 | ping = { success = "***" }"#,
                help,
            ],
        ),
        (
            "[jobs.j.ping]\nfailure = 'hc-ping.com/topsecret'",
            vec!["`failure` cannot be pinged: relative URL", "failure = '***'", help],
        ),
        (
            r#"ping.success = "https://me:12/topsecret@h/x""#,
            vec!["it has an `@` behind the host", r#""https://***""#],
        ),
        (
            r#"ping.success = "https://h:topsecret/x""#,
            vec!["`success` cannot be pinged: invalid port number"],
        ),
        (r#"ping.success = "${WRONG}""#, vec!["`success` cannot be pinged", "\"${WRONG}\""]),
        (
            r#"ping.failure = "https://hc-ping.com/topsecret/${NONE}""#,
            vec![
                "`${NONE}` in `failure`: the environment variable NONE is not set",
                r#"ping.failure = "https://hc-ping.com/***""#,
            ],
        ),
        (
            r#"ping.success = "https://hc-ping.com/topsecret/${NONE""#,
            vec!["`${` in `success` has no closing `}`"],
        ),
        (
            r#"ping = "https://hc-ping.com/topsecret""#,
            vec!["`ping` takes a table", r#"ping = "https://hc-ping.com/***""#],
        ),
        (r#"ping = {}"#, vec!["`ping` is empty"]),
        (r#"ping.success = 5"#, vec!["`success` takes a URL in quotes, not an integer", "= 5"]),
        (
            r#"ping = { sucess = "https://hc-ping.com/topsecret" }"#,
            vec![
                "unknown key `sucess` in `ping`",
                "did you mean `success`?",
                r#"{ sucess = "https://hc-ping.com/***" }"#,
            ],
        ),
        (
            r#"success = "https://hc-ping.com/topsecret""#,
            vec!["unknown key `success` in job j", "https://hc-ping.com/***"],
        ),
        (r#"ping = { success = https://hc-ping.com/topsecret }"#, vec!["not TOML", "ping = "]),
        (r#"ping.success = "https://hc-ping.com/topsecret"#, vec!["not TOML", "ping.success"]),
    ] {
        let errors = parse(lines).expect_err(lines).to_string();
        for part in shown {
            assert!(errors.contains(part), "{part} in\n{errors}");
        }
        assert!(!errors.contains("topsecret"), "{errors}");
    }
}

#[test]
fn the_caret_stands_under_the_whole_of_a_masked_url() {
    let lines = r#"ping = { success = "https://h/topsecret", failure = "ftp://h/topsecret" }"#;
    let shown = parse(lines).unwrap_err().to_string();
    let want = r#"
8 | ping = { success = "https://h/***", failure = "***" }
  |                                               ^^^^^
"#;
    assert!(shown.contains(want), "{shown}");
}

#[test]
fn a_job_whose_ping_has_changed_is_another_job() {
    let job = |path: &str| {
        let config = parse(&format!("ping.success = 'https://h/{path}'")).unwrap();
        config.jobs["j"].clone()
    };
    assert_eq!(job("a"), job("a"));
    assert_ne!(job("a"), job("b"));
}
