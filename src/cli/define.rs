//! The definition of a job as options give it, for `add` and `reschedule`.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use chrono::{DateTime, FixedOffset, SecondsFormat, TimeDelta};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::clock;
use crate::config::duration;

/// Why options define no job.
#[derive(Debug, Error)]
pub(super) enum DefinitionError {
    /// What a file or standard input should have held cannot be read.
    #[error("{name}: {error}; {what} was to be read from it")]
    Unreadable { name: String, what: &'static str, error: io::Error },
    /// The file of `--from-file` is no object.
    #[error("{name} is not one JSON object with the fields of a [jobs.NAME] table{at}")]
    NotAnObject { name: String, at: String },
    /// A part of a dotted key is no table.
    #[error("--set {key}: `{part}` is a value already, not a table of values")]
    NotATable { key: String, part: String },
    /// Standard input can be read once.
    #[error("--query - and --from-file - both read standard input; name a file for one of them")]
    TwoInputs,
    /// `--in` is beyond what a date can be.
    #[error("--in {}: there is no such date", duration::format(*.0))]
    TooFar(Duration),
}

/// When a job runs. At most one of the four is given.
#[derive(Debug, clap::Args)]
pub(super) struct Timing {
    /// As in crontab(5), such as "0 3 * * *"
    #[arg(long, value_name = "EXPR")]
    cron: Option<String>,
    /// Every so often, such as 10m
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    interval: Option<Duration>,
    /// Count the interval from this time on (RFC 3339) [default: the Unix epoch]
    #[arg(long, value_name = "TIME", conflicts_with_all = ["cron", "date", "in"])]
    start: Option<DateTime<FixedOffset>>,
    /// Once, at this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    date: Option<DateTime<FixedOffset>>,
    /// Once, so long from now, such as 30m
    #[arg(long = "in", id = "in", value_name = "DUR", value_parser = parse_duration)]
    after: Option<Duration>,
    /// The zone of the job's times, such as Asia/Shanghai [default: the daemon's]
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
}

impl Timing {
    /// Puts what is given into the definition, in the place of another trigger.
    pub(super) fn put(&self, into: &mut Map<String, Value>) -> Result<(), DefinitionError> {
        let trigger = match (&self.cron, self.interval, self.date, self.after) {
            (Some(cron), ..) => Some(("cron", json!(cron))),
            (_, Some(every), ..) => Some(("interval", json!(duration::format(every)))),
            (_, _, Some(date), _) => Some(("date", json!(text(date)))),
            (_, _, _, Some(after)) => Some(("date", json!(text(from_now(after)?)))),
            _ => None,
        };
        if let Some((key, value)) = trigger {
            for other in ["cron", "interval", "start", "date"] {
                into.remove(other);
            }
            into.insert(key.to_owned(), value);
        }
        if let Some(start) = self.start {
            into.insert("start".to_owned(), json!(text(start)));
        }
        if let Some(zone) = &self.timezone {
            into.insert("timezone".to_owned(), json!(zone));
        }
        Ok(())
    }
}

fn text(at: DateTime<FixedOffset>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, false)
}

fn from_now(after: Duration) -> Result<DateTime<FixedOffset>, DefinitionError> {
    let now = clock::wall().fixed_offset();
    let at = TimeDelta::from_std(after).ok().and_then(|after| now.checked_add_signed(after));
    // A year of more digits is no RFC 3339.
    let in_reach = at.filter(|at| chrono::Datelike::year(at) <= 9_999);
    in_reach.ok_or(DefinitionError::TooFar(after))
}

fn parse_duration(text: &str) -> Result<Duration, duration::DurationError> {
    duration::parse(text)
}

/// `KIND=KEY` and `key=value`.
pub(super) fn parse_pair(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err("it has the form key=value"),
    }
}

/// Where a text comes from: what is given itself, `@FILE`, or `-` for standard input.
pub(super) fn text_of(given: &str, what: &'static str) -> Result<String, DefinitionError> {
    match given.strip_prefix('@') {
        Some(path) => read(path, what),
        None if given == "-" => read("-", what),
        None => Ok(given.to_owned()),
    }
}

/// The fields that a file holds; `-` is standard input.
pub(super) fn object_of(path: &str) -> Result<Map<String, Value>, DefinitionError> {
    let name = || if path == "-" { "standard input".to_owned() } else { path.to_owned() };
    let not_an_object = |at| DefinitionError::NotAnObject { name: name(), at };
    match serde_json::from_str(&read(path, "the job")?) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(not_an_object(String::new())),
        Err(error) => Err(not_an_object(format!(": {error}"))),
    }
}

fn read(path: &str, what: &'static str) -> Result<String, DefinitionError> {
    let (name, text) = if path == "-" {
        let mut text = String::new();
        ("standard input".to_owned(), io::stdin().read_to_string(&mut text).map(|_| text))
    } else {
        (path.to_owned(), fs::read_to_string(PathBuf::from(path)))
    };
    text.map_err(|error| DefinitionError::Unreadable { name, what, error })
}

/// Sets `retries=5` or `guard.max_changed=50%`: the value as JSON where it is JSON, else as text.
pub(super) fn set(
    into: &mut Map<String, Value>,
    key: &str,
    value: &str,
) -> Result<(), DefinitionError> {
    let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
    let (tables, last) = key.rsplit_once('.').unwrap_or(("", key));
    let mut table = into;
    for part in tables.split('.').filter(|part| !part.is_empty()) {
        let inner = table.entry(part).or_insert_with(|| json!({}));
        table = inner.as_object_mut().ok_or_else(|| DefinitionError::NotATable {
            key: key.to_owned(),
            part: part.to_owned(),
        })?;
    }
    table.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_json_where_it_is_and_dots_make_tables() {
        let mut fields = Map::new();
        for (key, value) in [
            ("retries", "5"),
            ("settle", "1s"),
            ("coalesce", "false"),
            ("guard.max_changed", "50%"),
            ("guard.allow_empty", "true"),
            ("target.field", "articles"),
        ] {
            set(&mut fields, key, value).unwrap();
        }
        assert_eq!(
            Value::Object(fields.clone()),
            json!({
                "retries": 5, "settle": "1s", "coalesce": false,
                "guard": {"max_changed": "50%", "allow_empty": true}, "target": {"field": "articles"},
            })
        );
        assert!(matches!(
            set(&mut fields, "settle.x", "1"),
            Err(DefinitionError::NotATable { part, .. }) if part == "settle"
        ));
    }

    #[test]
    fn a_trigger_takes_the_place_of_another() {
        let mut fields = Map::new();
        fields.insert("interval".to_owned(), json!("5m"));
        fields.insert("start".to_owned(), json!("2026-01-01T00:00:00Z"));
        let timing = Timing {
            cron: Some("@daily".to_owned()),
            interval: None,
            start: None,
            date: None,
            after: None,
            timezone: Some("UTC".to_owned()),
        };
        timing.put(&mut fields).unwrap();
        assert_eq!(Value::Object(fields), json!({"cron": "@daily", "timezone": "UTC"}));
        assert!(from_now(Duration::MAX).is_err());
        assert!(from_now(Duration::from_secs(60)).unwrap() > clock::wall());
    }
}
