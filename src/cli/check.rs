//! `recountd check`: validates jobs.toml; per job its trigger in words, the next 5 runs,
//! and what the next change of offset does to them.

use std::io::{self, Write};
use std::process::ExitCode;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::grid::printable;
use super::known::AtRunTime;
use super::next::Upcoming;
use super::{CliError, ConfigFile};
use crate::clock;
use crate::config::{Config, Family, Job, duration};
use crate::stores::redis::Redis;
use crate::stores::{CONNECT_TIMEOUT, mysql};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Also connect to every server
    #[arg(long)]
    connect: bool,
}

/// Runs shown for each job.
const SHOWN: usize = 5;

pub(super) fn run(args: Args) -> Result<ExitCode, CliError> {
    let (path, config) = args.config.load()?;
    let mut out = io::stdout().lock();
    let now = clock::wall();
    for job in config.jobs.values() {
        show(job, "", now, &mut out)?;
    }
    let at_run_time = AtRunTime::of(&path, &config);
    at_run_time.warn_if_unknown();
    for (name, job) in at_run_time.all(&config) {
        match job {
            Ok(job) => show(&job, " (added at run time)", now, &mut out)?,
            // It makes no jobs.toml invalid: the daemon starts, and keeps it until it is valid again.
            Err(CliError::BrokenJob { reason, .. }) => {
                writeln!(out, "{name} (added at run time)\n  BROKEN: {}\n", printable(&reason))?;
            }
            Err(error) => return Err(error),
        }
    }
    let reached = !args.connect || connect(&config, &mut out)?;
    let counted =
        |count: usize, thing: &str| format!("{count} {thing}{}", if count == 1 { "" } else { "s" });
    writeln!(
        out,
        "{} is valid: {}, {}, {}",
        path.display(),
        counted(config.jobs.len(), "job"),
        counted(config.mysql.len(), "MySQL server"),
        counted(config.redis.len(), "Redis server"),
    )?;
    out.flush()?;
    Ok(if reached { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// What a job does, and its next runs.
fn show(
    job: &Arc<Job>,
    origin: &str,
    now: DateTime<Utc>,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let description = match job.description.as_str() {
        "" => String::new(),
        text => format!(": {}", printable(text)),
    };
    writeln!(out, "{}{origin}{description}", job.name)?;
    writeln!(out, "  {}", job.trigger)?;
    let (mysql, redis) = (&job.work.mysql.name, &job.work.redis.name);
    let families = printable(&families(&job.work.families));
    writeln!(out, "  MySQL {mysql} -> {families} in Redis {redis}")?;
    let mut slots = Upcoming::new(slice::from_ref(job), now).take(SHOWN).peekable();
    if slots.peek().is_none() {
        writeln!(out, "  no run lies ahead")?;
    }
    for (at, _) in slots {
        let wait = (at - now).to_std().unwrap_or_default();
        let wait = duration::format(Duration::from_secs(wait.as_secs()));
        writeln!(out, "  {}  in {wait}", at.with_timezone(&job.zone).to_rfc3339())?;
    }
    if let Some(change) = job.trigger.next_change(now) {
        writeln!(out, "  {change}")?;
    }
    writeln!(out)?;
    Ok(())
}

/// Connects to every server; true if all let us in.
fn connect(config: &Config, out: &mut impl Write) -> io::Result<bool> {
    let mut reached = true;
    let mut line = |out: &mut dyn Write, answer: Result<String, String>| {
        reached &= answer.is_ok();
        let (Ok(text) | Err(text)) = answer;
        writeln!(out, "{text}")
    };
    for server in config.mysql.values() {
        let answer = mysql::version(server);
        let answer =
            answer.map(|v| format!("MySQL {} ({}): reached, {v}", server.name, server.url));
        line(out, answer.map_err(|error| error.to_string()))?;
    }
    for server in config.redis.values() {
        let answer = Redis::open(server, clock::monotonic() + CONNECT_TIMEOUT)
            .and_then(|mut redis| redis.version());
        let answer =
            answer.map(|v| format!("Redis {} ({}): reached, {v}", server.name, server.url));
        line(out, answer.map_err(|error| error.to_string()))?;
    }
    writeln!(out)?;
    Ok(reached)
}

fn families(families: &[Family]) -> String {
    let text = |family: &Family| match &family.column {
        Some(column) => format!("{column} to {}", family.target),
        None => family.target.to_string(),
    };
    families.iter().map(text).collect::<Vec<_>>().join(", ")
}
