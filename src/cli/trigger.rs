//! `recountd trigger`: asks the daemon to run a job now, and with `--wait` how it ended.

use std::io::{self, Write};
use std::process::{self, ExitCode};

use serde_json::json;

use super::api::{self, Api, RunView};
use super::{CliError, told, wait};
use crate::client::segment;
use crate::daemon::DaemonError;
use crate::signals;

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  the run is begun; with --wait: clean or repaired, all counters are true
  1  an error, or no daemon; with --wait also: failed, or it did not run
  2  usage, or there is no such job
  3  --wait: partial, some ids stayed unproven
  4  --wait: refused, a guard stopped it before any write
  5  --wait: drift, with --dry-run: it would write";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The job's name
    job: String,
    #[command(flatten)]
    api: Api,
    /// Do everything but the writes
    #[arg(long)]
    dry_run: bool,
    /// Wait until the run has ended, and show its report
    #[arg(long)]
    wait: bool,
    /// Print {"run": NUMBER}; with --wait only the run as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let client = args.api.client()?;
    let path = format!("/v1/jobs/{}/trigger", segment(&args.job));
    let body = args.dry_run.then(|| json!({"dry_run": true}));
    let mut answer = client.post(&path, body.as_ref())?;
    let id = api::take(&client, &mut answer, "run")?;
    let number = api::number(&id);
    if args.wait {
        say_on_signal(&args.job, &number)?;
    }
    if !args.json {
        say(&format!("{}: run {number}", args.job))?;
    } else if !args.wait {
        say(&api::line(&json!({ "run": id })))?;
    }
    if !args.wait {
        return Ok(ExitCode::SUCCESS);
    }
    let run = wait::until_ended(&client, &args.job, &number)?;
    let view: RunView = api::read(&client, run.clone(), "run")?;
    let code = ExitCode::from(told::exit_code(&view.outcome));
    let printed = if args.json { say(&api::line(&run)) } else { told::print(&view) };
    match printed {
        // A reader that has seen enough does not change how the run ended.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(code),
    }
}

/// Ctrl-C ends the waiting, not the run.
fn say_on_signal(job: &str, run: &str) -> Result<(), CliError> {
    let text = format!("run {run} goes on; `recountd runs {job}` shows how it ends");
    let say = move |_| {
        writeln!(io::stderr(), "{text}").ok();
        process::exit(130);
    };
    Ok(signals::listen(say).map_err(DaemonError::System)?)
}

/// Prints it at once, for whoever reads while we wait.
fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
