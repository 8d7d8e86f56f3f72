//! Text in, jobs or every problem out. Reads no file, no environment, no clock:
//! what lies outside of the text comes in as [`Surroundings`].

mod admin;
mod definition;
mod diagnose;
pub mod duration;
mod job;
mod mask;
mod ping;
mod placeholder;
mod problem;
mod read;
mod reader;
mod target;
mod work;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;

pub use admin::{Address, Admin, Token};
pub use definition::{Fault, MOST_FAULTS, definition, trigger, without_secrets};
pub use diagnose::ConfigErrors;
pub use job::{Guard, Job, Limits, Origin, Percent, Reconcile, Server, ServerUrl};
pub use ping::{Ping, PingUrl};
pub use problem::{Problem, nearest};
pub use target::{Family, Ghosts, Target};

/// A whole jobs.toml that has been found valid.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The `[daemon]` table.
    pub daemon: Daemon,
    /// The servers of `[mysql.NAME]`.
    pub mysql: BTreeMap<String, Arc<Server>>,
    /// The servers of `[redis.NAME]`.
    pub redis: BTreeMap<String, Arc<Server>>,
    /// The `[admin]` table.
    pub admin: Admin,
    /// The `[defaults]` table, which also holds for jobs that are added at run time.
    pub defaults: Limits,
    /// The jobs by name.
    pub jobs: BTreeMap<Arc<str>, Arc<Job>>,
}

/// The `[daemon]` table.
#[derive(Debug, Clone, PartialEq)]
pub struct Daemon {
    /// The zone of every job that names none.
    pub timezone: Tz,
    /// Threads in the pool, 1 to 1024 (S8).
    pub workers: u32,
    /// Where the runs are remembered, if the file says so.
    pub state: Option<PathBuf>,
    /// What the state keeps of runs, and for how long.
    pub keep: Keep,
    /// How long running runs may go on after SIGTERM (S15).
    pub shutdown_timeout: Duration,
}

/// What the state keeps of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Records older than this are removed.
    pub age: Duration,
    /// The most records of one job.
    pub runs: u32,
}

/// Which library a URL is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    /// `[mysql.NAME]`.
    Mysql,
    /// `[redis.NAME]`.
    Redis,
}

impl ServerKind {
    /// The word that jobs.toml uses.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Redis => "redis",
        }
    }
}

/// What a jobs.toml needs from outside of its text.
pub struct Surroundings<'a> {
    /// The system's zone, where the file names none.
    pub system_zone: Tz,
    /// The value of an environment variable, or why there is none.
    pub variable: &'a dyn Fn(&str) -> Result<String, String>,
    /// The content of a systemd credential, or why there is none.
    pub credential: &'a dyn Fn(&str) -> Result<String, String>,
    /// Whether the library that will connect accepts a URL, or why not; the reason holds no secret.
    pub check_url: &'a dyn Fn(ServerKind, &str) -> Result<(), String>,
}

/// Reads and validates a whole jobs.toml.
///
/// # Errors
/// Every problem of the file at once, each with its place; `file` is the name to call it by.
pub fn parse(
    file: &str,
    text: &str,
    surroundings: &Surroundings<'_>,
) -> Result<Config, ConfigErrors> {
    read::read(text, surroundings).map_err(|problems| ConfigErrors::new(file, text, problems))
}
