//! `recountd reschedule`: gives a job that was added at run time another trigger.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::ArgGroup;
use serde_json::{Map, Value};

use super::api::{self, Api, JobView};
use super::define::Timing;
use super::grid::printable;
use super::{CliError, when};
use crate::client::segment;

#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("trigger").required(true).args(["cron", "interval", "date", "in"])))]
pub(super) struct Args {
    /// The job's name
    job: String,
    #[command(flatten)]
    api: Api,
    #[command(flatten)]
    timing: Timing,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let mut change = Map::new();
    args.timing.put(&mut change)?;
    let client = args.api.client()?;
    let path = format!("/v1/jobs/{}", segment(&args.job));
    let job = client.patch(&path, &Value::Object(change))?;
    let job: JobView = api::read(&client, job, "job")?;
    say("rescheduled", &job)
}

/// Tells what became of a job, and when it runs next.
pub(super) fn say(what: &str, job: &JobView) -> Result<ExitCode, CliError> {
    let next = job.next_run.map(|at| format!("; next at {}", when::absolute(at)));
    let next = next.unwrap_or_else(|| "; no slot is left".to_owned());
    let line = format!("{}: {what}, {}{next}", job.name, job.trigger_in_words);
    writeln!(io::stdout(), "{}", printable(&line))?;
    Ok(ExitCode::SUCCESS)
}
