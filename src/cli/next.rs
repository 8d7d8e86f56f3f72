//! `recountd next`: the next runs, of one job or of all, in order of time.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use chrono::{DateTime, FixedOffset, Utc};
use serde::Serialize;

use super::grid::printable;
use super::known::AtRunTime;
use super::{CliError, ConfigFile, api, known};
use crate::clock;
use crate::config::{Config, Job};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this job
    job: Option<String>,
    #[command(flatten)]
    config: ConfigFile,
    /// How many runs to show
    #[arg(short = 'n', long = "count", value_name = "N", default_value_t = 5)]
    count: usize,
    /// Show runs strictly after this instant (RFC 3339) [default: now]
    #[arg(long, value_name = "TIME")]
    from: Option<DateTime<FixedOffset>>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    job: &'a str,
    at: String,
}

pub(super) fn run(args: Args) -> Result<ExitCode, CliError> {
    let (path, config) = args.config.load_beside()?;
    let jobs: Vec<Arc<Job>> = match &args.job {
        Some(name) => vec![known::find(&config, &path, name)?],
        None => all(&config, &path),
    };
    let from = args.from.map_or_else(clock::wall, |at| at.to_utc());
    let width = jobs.iter().map(|job| job.name.len()).max().unwrap_or(0);
    let mut out = io::stdout().lock();
    for (at, job) in Upcoming::new(&jobs, from).take(args.count) {
        let at = at.with_timezone(&job.zone).to_rfc3339();
        if args.json {
            let line = Line { job: &job.name, at };
            writeln!(out, "{}", api::line(&line))?;
        } else {
            writeln!(out, "{at}  {:width$}  {}", job.name, printable(&job.description))?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Those of jobs.toml and those that were added at run time.
fn all(config: &Config, path: &Path) -> Vec<Arc<Job>> {
    let mut jobs: Vec<Arc<Job>> = config.jobs.values().cloned().collect();
    let at_run_time = AtRunTime::of(path, config);
    at_run_time.warn_if_unknown();
    for (_, job) in at_run_time.all(config) {
        match job {
            Ok(job) => jobs.push(job),
            Err(error) => log::warn!("{error}"),
        }
    }
    jobs.sort_by(|a, b| a.name.cmp(&b.name));
    jobs
}

/// The slots of some jobs, merged in order of time; slots of one instant come by the job's name.
pub(super) struct Upcoming<'a> {
    jobs: &'a [Arc<Job>],
    heads: BTreeSet<(DateTime<Utc>, usize)>,
}

impl<'a> Upcoming<'a> {
    pub(super) fn new(jobs: &'a [Arc<Job>], from: DateTime<Utc>) -> Self {
        let head = |(place, job): (usize, &Arc<Job>)| Some((job.trigger.next_after(from)?, place));
        Self { jobs, heads: jobs.iter().enumerate().filter_map(head).collect() }
    }
}

impl<'a> Iterator for Upcoming<'a> {
    type Item = (DateTime<Utc>, &'a Arc<Job>);

    fn next(&mut self) -> Option<Self::Item> {
        let (at, place) = self.heads.pop_first()?;
        let job = self.jobs.get(place)?;
        if let Some(later) = job.trigger.next_after(at) {
            self.heads.insert((later, place));
        }
        Some((at, job))
    }
}
