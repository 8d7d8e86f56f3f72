//! A job as JSON: what the API takes and gives, with the same keys as a `[jobs.NAME]` table.

use std::fmt::{self, Write};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use toml::value::Datetime;

use super::job::Job;
use super::target::{Ghosts, Target};
use super::{Config, Problem, Surroundings, duration, read};
use crate::schedule::Trigger;

/// The most things that are told of one definition.
pub const MOST_FAULTS: usize = 20;

/// The longest text of a fault, in characters.
const LONGEST_TEXT: usize = 600;

/// The longest name of a job, in characters.
const LONGEST_NAME: usize = 64;

/// One thing wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where, as a JSON pointer into the definition; empty for the whole of it.
    pub pointer: String,
    /// What is wrong.
    pub detail: String,
    /// What to write instead; null where `detail` says it.
    pub help: Option<String>,
}

impl Fault {
    /// The same without what nobody reads: a text that was given may be as long as a whole request, and a fault repeats
    /// it.
    fn in_short(self) -> Self {
        let pointer = if self.pointer.len() > LONGEST_TEXT { String::new() } else { self.pointer };
        Self { pointer, detail: in_short(self.detail), help: self.help.map(in_short) }
    }
}

fn in_short(text: String) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{} …", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.help {
            Some(help) => write!(f, "{}; {help}", self.detail),
            None => f.write_str(&self.detail),
        }
    }
}

impl Config {
    /// Reads a job that is added at run time, against the servers and defaults of this file.
    ///
    /// It takes the keys of a `[jobs.NAME]` table; `date` and `start` are RFC 3339 texts. Nothing is
    /// filled in for `${NAME}`: whoever may add jobs need not be one who may read our environment.
    ///
    /// # Errors
    /// Everything that is wrong with it at once; of more than [`MOST_FAULTS`] things the first of them,
    /// and one that says how many there are beside.
    pub fn added(&self, name: &str, definition: &Map<String, Value>) -> Result<Job, Vec<Fault>> {
        let closed = |_: &str| Err("only jobs.toml has placeholders".to_owned());
        let surroundings = Surroundings {
            system_zone: self.daemon.timezone,
            variable: &closed,
            credential: &closed,
            check_url: &|_, _| Ok(()),
        };
        // One character too many is as wrong as a thousand, and each problem repeats the name.
        let name: String = name.chars().take(LONGEST_NAME + 1).collect();
        let mut nulls = Nulls::default();
        let text = to_toml(&name, definition, &mut nulls);
        let keys: Vec<&str> = definition.iter().filter(|(_, v)| !v.is_null()).map(key).collect();
        let problems = match read::read_one(&text, self, &surroundings) {
            Ok(job) if nulls.count == 0 => return Ok(job),
            Ok(_) => Vec::new(),
            Err(problems) => problems,
        };
        let fault = |(span, problem): &(std::ops::Range<usize>, Problem)| {
            let line = text.get(..span.start).unwrap_or_default().matches('\n').count();
            let found = line.checked_sub(1).and_then(|line| keys.get(line));
            let pointer = match (found, problem) {
                (_, Problem::JobName(_)) => "/name".to_owned(),
                (Some(key), _) => pointer("", key),
                (None, _) => String::new(),
            };
            let fault = match found {
                Some(key) if is_instant(key) => no_instant(pointer, key, problem),
                _ => Fault { pointer, detail: problem.to_string(), help: problem.help() },
            };
            fault.in_short()
        };
        // Each is put into words only if it is shown.
        let room = MOST_FAULTS - nulls.faults.len();
        let hidden = nulls.count - nulls.faults.len()
            + problems.iter().skip(room).map(|(_, problem)| problem.count()).sum::<usize>();
        let mut faults = nulls.faults;
        faults.extend(problems.iter().take(room).map(fault));
        if hidden > 0 {
            let detail = format!("{hidden} more things are wrong with it");
            faults.push(Fault { pointer: String::new(), detail, help: None });
        }
        Err(faults)
    }
}

/// What is null, as far as it is shown.
#[derive(Default)]
struct Nulls {
    faults: Vec<Fault>,
    count: usize,
}

/// A place in a definition. It becomes a JSON pointer only if there is something to say of it.
enum Place<'a> {
    Root,
    Key(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl Place<'_> {
    fn pointer(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Key(parent, key) => pointer(&parent.pointer(), key),
            Self::Item(parent, number) => format!("{}/{number}", parent.pointer()),
        }
    }
}

fn key<'a>((key, _): (&'a String, &Value)) -> &'a str {
    key
}

fn pointer(parent: &str, key: &str) -> String {
    format!("{parent}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The keys whose values are instants: TOML has a type for them, JSON has not.
fn is_instant(key: &str) -> bool {
    ["date", "start"].contains(&key)
}

/// What is wrong with an instant, and how JSON has it.
fn no_instant(pointer: String, key: &str, problem: &Problem) -> Fault {
    let detail = match problem {
        Problem::WrongType { found: "a string", .. } => format!("`{key}` is not a date-time"),
        Problem::WrongType { found, .. } => format!("`{key}` takes a date-time, not {found}"),
        problem => problem.to_string(),
    };
    let help = match problem {
        Problem::WrongType { .. } | Problem::NotADateTime(_) | Problem::NoSuchDateTime(_) => {
            Some("write it as in \"2030-01-01T03:00:00+08:00\"".to_owned())
        }
        problem => problem.help(),
    };
    Fault { pointer, detail, help }
}

/// A document with one table of this name, each key on a line of its own, so that a place in the text
/// tells the key. Whatever is null is left out and blamed: TOML has no null.
fn to_toml(name: &str, definition: &Map<String, Value>, nulls: &mut Nulls) -> String {
    let mut text = format!("[{}]\n", quoted(name));
    for (key, value) in definition {
        let at = Place::Key(&Place::Root, key);
        let instant = value.as_str().filter(|t| is_instant(key) && t.parse::<Datetime>().is_ok());
        let value = match instant {
            Some(instant) => Some(instant.to_owned()),
            None => inline(value, key, &at, nulls),
        };
        if let Some(value) = value {
            writeln!(text, "{} = {value}", quoted(key)).ok();
        }
    }
    text
}

/// The value as TOML has it on one line; `None` where it is null.
fn inline(value: &Value, key: &str, at: &Place<'_>, nulls: &mut Nulls) -> Option<String> {
    Some(match value {
        Value::Null => {
            nulls.count += 1;
            if nulls.faults.len() < MOST_FAULTS {
                let (detail, help) = (format!("`{key}` is null"), Some("leave it out".to_owned()));
                nulls.faults.push(Fault { pointer: at.pointer(), detail, help }.in_short());
            }
            return None;
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let item = |(number, item): (usize, &Value)| {
                inline(item, key, &Place::Item(at, number), nulls)
            };
            let items: Vec<String> = items.iter().enumerate().filter_map(item).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| {
                let value = inline(value, key, &Place::Key(at, key), nulls)?;
                Some(format!("{} = {value}", quoted(key)))
            };
            let entries: Vec<String> = entries.iter().filter_map(entry).collect();
            format!("{{ {} }}", entries.join(", "))
        }
    })
}

/// A TOML basic string. JSON's escapes are TOML's as well, but TOML also escapes DEL.
fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// What stands in the place of a secret. No URL has a space, so that nobody takes it for one.
const HIDDEN: &str = "(path hidden)";

/// A definition as it was given, without what is secret in it.
#[must_use]
pub fn without_secrets(definition: &Map<String, Value>) -> Map<String, Value> {
    let mut shown = definition.clone();
    match shown.get_mut("ping") {
        Some(Value::Object(urls)) => urls.values_mut().for_each(|url| *url = HIDDEN.into()),
        Some(ping) => *ping = HIDDEN.into(),
        None => {}
    }
    shown
}

/// A job as the keys of its table, the defaults filled in. Given to [`Config::added`], it makes an
/// equal job, but for the order of its targets, since the keys of a JSON object have none, and for ping
/// URLs, which are secrets and are shown without their path and have to be given anew.
#[must_use]
pub fn definition(job: &Job) -> Map<String, Value> {
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| {
        map.insert(key.to_owned(), value);
    };
    let length = |length: Duration| Value::from(duration::format(length));
    put("description", job.description.as_str().into());
    for (key, value) in trigger(job) {
        put(key, value.into());
    }
    put("timezone", job.zone.name().into());
    put("kind", "reconcile".into());
    put("mysql", job.work.mysql.name.as_str().into());
    put("redis", job.work.redis.name.as_str().into());
    put("query", job.work.query.as_str().into());
    match job.work.families.as_slice() {
        [only] if only.column.is_none() => put("target", target(&only.target)),
        several => {
            let named =
                several.iter().map(|family| (family.name().to_string(), target(&family.target)));
            put("targets", Value::Object(named.collect()));
        }
    }
    let ping = [("success", &job.ping.success), ("failure", &job.ping.failure)];
    let shown = ping.iter().filter_map(|(key, url)| {
        let shown = format!("{} {HIDDEN}", url.as_ref()?);
        Some(((*key).to_owned(), Value::from(shown)))
    });
    let shown: Map<String, Value> = shown.collect();
    if !shown.is_empty() {
        put("ping", shown.into());
    }
    put("settle", length(job.work.settle));
    match job.work.ghosts {
        Some(Ghosts::Remove) => put("ghosts", "remove".into()),
        Some(Ghosts::Keep) => put("ghosts", "keep".into()),
        None => {}
    }
    let guard = job.work.guard;
    put(
        "guard",
        json!({"max_changed": guard.max_changed.to_string(), "allow_empty": guard.allow_empty}),
    );
    put("redis_share", job.work.redis_share.to_string().into());
    let limits = &job.limits;
    put("misfire_grace", length(limits.misfire_grace));
    put("coalesce", limits.coalesce.into());
    put("max_instances", limits.max_instances.into());
    put("timeout", length(limits.timeout));
    put("retries", limits.retries.into());
    put("backoff", length(limits.backoff));
    put("max_backoff", length(limits.max_backoff));
    put("jitter", length(limits.jitter));
    map
}

/// The trigger's keys with their values.
#[must_use]
pub fn trigger(job: &Job) -> Vec<(&'static str, String)> {
    let instant = |at: DateTime<Utc>| {
        let local = at.with_timezone(&job.zone).to_rfc3339_opts(SecondsFormat::AutoSi, false);
        // Before zones had whole minutes, the text of a local time is some seconds off.
        let is_exact = DateTime::parse_from_rfc3339(&local).is_ok_and(|read| read == at);
        if is_exact { local } else { at.to_rfc3339_opts(SecondsFormat::AutoSi, true) }
    };
    match &job.trigger {
        Trigger::Cron(cron) => vec![("cron", cron.source().to_owned())],
        Trigger::Date(date) => vec![("date", instant(*date))],
        Trigger::Interval(interval) => {
            let mut keys = vec![("interval", duration::format(interval.every()))];
            if interval.anchor() != DateTime::UNIX_EPOCH {
                keys.push(("start", instant(interval.anchor())));
            }
            keys
        }
    }
}

fn target(target: &Target) -> Value {
    match target {
        Target::Zset { key } => json!({"zset": key}),
        Target::Hash { key } => json!({"hash": key}),
        Target::HashField { key, field } => json!({"hash": key, "field": field}),
        Target::Text { key } => json!({"string": key}),
    }
}
