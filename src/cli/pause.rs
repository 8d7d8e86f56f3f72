//! `recountd pause` and `recountd resume`: whether the slots of jobs run.

use std::process::ExitCode;

use super::api::{self, JobView};
use super::{CliError, each, when};
use crate::client::{Client, segment};

pub(super) fn pause(args: &each::Args) -> Result<ExitCode, CliError> {
    each::run(args, |client, job| {
        let job = post(client, job, "pause")?;
        let running: Vec<String> = job.running.iter().map(|run| api::number(&run.id)).collect();
        let goes_on = match running.as_slice() {
            [] => String::new(),
            runs => format!("; what is running goes on (run {})", runs.join(", ")),
        };
        Ok(format!("{}: paused{goes_on}", job.name))
    })
}

pub(super) fn resume(args: &each::Args) -> Result<ExitCode, CliError> {
    each::run(args, |client, job| {
        let job = post(client, job, "resume")?;
        let next = job.next_run.map(|at| format!("; next at {}", when::absolute(at)));
        Ok(format!("{}: resumed{}", job.name, next.unwrap_or_default()))
    })
}

fn post(client: &Client, job: &str, what: &str) -> Result<JobView, CliError> {
    let answer = client.post(&format!("/v1/jobs/{}/{what}", segment(job)), None)?;
    api::read(client, answer, "job")
}
