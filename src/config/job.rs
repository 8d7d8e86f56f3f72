//! What jobs.toml says, as values: the jobs, their limits and their servers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use url::Url;

use super::ping::Ping;
use super::target::{Family, Ghosts};
use crate::schedule::Trigger;

/// One `[jobs.NAME]` table: a trigger, what to do, and limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`, unique in the file.
    pub name: Arc<str>,
    /// Where it is defined.
    pub origin: Origin,
    /// Free text for people; may be empty.
    pub description: String,
    /// When its slots are due.
    pub trigger: Trigger,
    /// The zone in which its times are shown, and in which a cron trigger's times are meant (S2).
    pub zone: Tz,
    /// How its runs are bounded.
    pub limits: Limits,
    /// What a run does.
    pub work: Reconcile,
    /// Who is told how its runs end.
    pub ping: Ping,
}

/// Where a job is defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// In jobs.toml; only an editor changes it.
    File,
    /// It was added while the daemon ran, and lives in the state.
    RunTime,
}

impl Origin {
    /// The origin in words, as the API shows it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "jobs.toml",
            Self::RunTime => "run-time",
        }
    }
}

/// What bounds the runs of a job; `[defaults]` sets them for every job, a job for itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// A slot seen later than this does not run (S6).
    pub misfire_grace: Duration,
    /// Whether all the due slots of the job become one run (S6).
    pub coalesce: bool,
    /// How many runs of the job may be active at once, 1 to 1000 (S7).
    pub max_instances: u32,
    /// How long one attempt may take before it is cancelled (S10).
    pub timeout: Duration,
    /// How often a failed run is tried again, 0 to 100 (S9).
    pub retries: u32,
    /// The wait before the first retry; it doubles with each (S9).
    pub backoff: Duration,
    /// The longest wait before a retry (S9).
    pub max_backoff: Duration,
    /// Each start is delayed by a random part of this (S11).
    pub jitter: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            misfire_grace: Duration::from_secs(60),
            coalesce: true,
            max_instances: 1,
            timeout: Duration::from_secs(600),
            retries: 3,
            backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(60),
            jitter: Duration::ZERO,
        }
    }
}

/// The work of a job of the kind `reconcile`: recount one family of counters.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconcile {
    /// Where the truth is.
    pub mysql: Arc<Server>,
    /// Where the counters are.
    pub redis: Arc<Server>,
    /// One SELECT; the first column is the id, the second its value.
    pub query: String,
    /// Which counters: one family, or several that one query tells of, in the order of the file.
    pub families: Vec<Family>,
    /// The longest time between the app's commit and its increment, 1 ms to 1 h (R3).
    pub settle: Duration,
    /// What becomes of ids that Redis has and MySQL's result has not (R2); `None` where the job does
    /// not say, see [`Family::ghosts`].
    pub ghosts: Option<Ghosts>,
    /// What stops a run before its first write (R7).
    pub guard: Guard,
    /// The share of Redis's time that this job may take (R9).
    pub redis_share: Percent,
}

/// A named server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// As in `[mysql.NAME]` or `[redis.NAME]`.
    pub name: String,
    /// Where it is, and who we are there.
    pub url: ServerUrl,
}

/// A URL whose password no `Debug` and no `Display` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl(Url);

impl ServerUrl {
    /// Wraps a URL that has its placeholders filled in.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self(url)
    }

    /// The URL with its password, for the library that connects and nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.as_str()
    }

    /// The database of Redis behind a socket, where it is not the first: the path is that of the
    /// socket, so it stands among the options.
    #[must_use]
    pub fn socket_database(&self) -> Option<String> {
        let mut options = self.0.query_pairs().filter(|_| self.0.scheme().ends_with("unix"));
        let (_, number) = options.find(|(name, _)| name == "db")?;
        (number != "0").then(|| number.into_owned())
    }
}

impl fmt::Display for ServerUrl {
    /// Scheme, user, host, port and path; neither the password nor the options.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.0.scheme())?;
        if !self.0.username().is_empty() {
            write!(f, "{}@", self.0.username())?;
        }
        write!(f, "{}", self.0.host_str().unwrap_or_default())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        write!(f, "{}", self.0.path())
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What stops a run before its first write (R7).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guard {
    /// The largest share of the counters in Redis that one run may change or remove.
    pub max_changed: Percent,
    /// Whether a query without one row is believed.
    pub allow_empty: bool,
}

/// A share from 0% to 100%.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percent(f64);

impl Percent {
    /// A half, the default of `max_changed` and of `redis_share`.
    pub const HALF: Self = Self(50.0);

    /// Reads `50%` or `0.5%`; `None` for anything that is not from `0%` to `100%`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.strip_suffix('%')?;
        if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return None;
        }
        number.parse().ok().filter(|p| (0.0..=100.0).contains(p)).map(Self)
    }

    /// The share as a factor, 0 to 1.
    #[must_use]
    pub fn factor(self) -> f64 {
        self.0 / 100.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_behind_a_socket_is_the_database_an_option() {
        for (url, database) in [
            ("redis+unix:///run/redis.sock?db=3", Some("3")),
            ("redis+unix:///run/redis.sock?db=0", None),
            ("unix:///run/redis.sock?pass=x&db=12", Some("12")),
            ("redis+unix:///run/redis.sock", None),
            ("redis://127.0.0.1/3?db=4", None),
        ] {
            let url = ServerUrl::new(Url::parse(url).unwrap());
            assert_eq!(url.socket_database().as_deref(), database);
        }
    }
}
