//! What the commands that speak with the daemon have in common: where it is, and what it answers.

use std::path::PathBuf;
use std::{env, fs};

use chrono::{DateTime, FixedOffset};
use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::grid::{is_obeyed, printable};
use super::{CliError, ConfigFile};
use crate::client::{Client, ClientError, Limits, Place, Strange, Token};
use crate::load;

/// Where the daemon is.
#[derive(Debug, clap::Args)]
pub(super) struct Api {
    #[command(flatten)]
    pub(super) config: ConfigFile,
    /// Where the daemon answers: http://HOST:PORT, https://HOST or unix:/PATH [default: its socket]
    #[arg(long, value_name = "URL", env = "RECOUNTD_URL")]
    url: Option<String>,
    /// The token for a URL is in this file [default: it is in RECOUNTD_TOKEN]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Api {
    /// Whether it was said where the daemon is.
    pub(super) fn is_named(&self) -> bool {
        self.named().is_some()
    }

    fn named(&self) -> Option<&str> {
        self.url.as_deref().filter(|url| !url.is_empty())
    }

    pub(super) fn client(&self) -> Result<Client, CliError> {
        let place = match self.named() {
            Some(url) => Place::parse(url)?,
            None => Place::Socket(self.socket()),
        };
        let token = match &place {
            Place::Socket(_) => None,
            Place::Http(_) => self.token()?,
        };
        if token.is_some() && place.is_overheard() {
            log::warn!(
                "the token goes to {place} unencrypted, where whoever overhears it may do all that you \
                 may; use https, or a tunnel such as `ssh -L`"
            );
        }
        Ok(Client::new(place, token, Limits::default()))
    }

    /// A jobs.toml that is broken or missing is no reason not to speak with the daemon, which may
    /// hold the last good one.
    fn socket(&self) -> PathBuf {
        let named = self.config.config.clone();
        let jobs_toml = load::locate(named).unwrap_or_else(|_| PathBuf::from("jobs.toml"));
        load::socket(&jobs_toml, load::listen(&jobs_toml).as_deref())
    }

    fn token(&self) -> Result<Option<Token>, CliError> {
        const VARIABLE: &str = "RECOUNTD_TOKEN";
        let (source, text) = match &self.token_file {
            Some(path) => {
                let source = path.display().to_string();
                let text = fs::read_to_string(path).map_err(|error| CliError::TokenUnreadable {
                    source_name: source.clone(),
                    error,
                })?;
                (source, text)
            }
            None => match env::var(VARIABLE) {
                Ok(text) if !text.is_empty() => (VARIABLE.to_owned(), text),
                _ => return Ok(None),
            },
        };
        Token::new(&text).map(Some).ok_or(CliError::NoToken(source))
    }
}

/// Reads an answer; `what` names it where it has another form.
pub(super) fn read<T: DeserializeOwned>(
    client: &Client,
    answer: Value,
    what: &'static str,
) -> Result<T, CliError> {
    serde_json::from_value(answer).map_err(|_| lacks(client, what))
}

/// A value on one line. JSON leaves some characters as they are that a terminal obeys; written as
/// escapes they are the same text.
pub(super) fn line(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    if !text.contains(is_obeyed) {
        return text;
    }
    let escape = |c: char| match c {
        c if is_obeyed(c) => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// What is there under a key.
pub(super) fn take(
    client: &Client,
    answer: &mut Value,
    key: &'static str,
) -> Result<Value, CliError> {
    answer.get_mut(key).map(Value::take).ok_or_else(|| lacks(client, key))
}

fn lacks(client: &Client, what: &'static str) -> CliError {
    let place = client.place().clone();
    ClientError::NotRecountd { place, what: Strange::Lacks(what) }.into()
}

/// A job, as far as people are shown of it. A field that a daemon of another version does not send is
/// empty.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct JobView {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) origin: String,
    pub(super) trigger_in_words: String,
    pub(super) timezone: String,
    pub(super) state: String,
    pub(super) reason: Option<String>,
    #[serde(deserialize_with = "time")]
    pub(super) paused_since: Option<DateTime<FixedOffset>>,
    #[serde(deserialize_with = "time")]
    pub(super) next_run: Option<DateTime<FixedOffset>>,
    pub(super) overdue: bool,
    pub(super) running: Vec<ActiveView>,
    pub(super) last_run: Option<RunView>,
    #[serde(deserialize_with = "time")]
    pub(super) last_clean: Option<DateTime<FixedOffset>>,
    pub(super) definition: Value,
}

/// A run that has not ended.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ActiveView {
    pub(super) id: Value,
    #[serde(deserialize_with = "time")]
    pub(super) started_at: Option<DateTime<FixedOffset>>,
    pub(super) attempt: u32,
    pub(super) cause: String,
    pub(super) dry_run: bool,
}

/// A run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunView {
    pub(super) id: Value,
    pub(super) job: String,
    #[serde(deserialize_with = "time")]
    pub(super) slot: Option<DateTime<FixedOffset>>,
    pub(super) dry_run: bool,
    #[serde(deserialize_with = "time")]
    pub(super) finished_at: Option<DateTime<FixedOffset>>,
    pub(super) duration_ms: Option<u64>,
    pub(super) outcome: String,
    pub(super) reason: Option<String>,
    pub(super) report: Option<Value>,
}

impl RunView {
    /// Its number as people write it: `12`, or `o3` beside the daemon.
    pub(super) fn number(&self) -> String {
        number(&self.id)
    }
}

/// A run's number as people write it.
pub(super) fn number(id: &Value) -> String {
    printable(&id.as_str().map_or_else(|| id.to_string(), str::to_owned))
}

/// Whether the run is over, whatever became of it.
pub(super) fn has_ended(run: &Value) -> bool {
    let outcome = run.get("outcome").and_then(Value::as_str).unwrap_or_default();
    !matches!(outcome, "" | "waiting" | "running")
}

/// The core's time library reads no JSON by itself. What is no time is none.
fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DateTime<FixedOffset>>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    Ok(text.and_then(|text| DateTime::parse_from_rfc3339(&text).ok()))
}
