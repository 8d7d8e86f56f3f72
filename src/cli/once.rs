//! `recountd once`: runs one job now, here.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::table::{self, Past};
use super::{CliError, ConfigFile, apart, api, cancel_on_signal, known, logger, state_file};
use crate::clock;
use crate::config::{Job, Keep};
use crate::jobs::{self, Context, Forgetful, Ledger, Mode, Progress};
use crate::reconcile::ROUNDS;
use crate::report::Report;
use crate::state::{Beside, Ending, Recorder, RunNumber};

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  clean or repaired: all counters are true
  1  failed: the reason says which error
  2  usage, or jobs.toml is wrong
  3  partial: what was provable is repaired, some ids stayed unproven
  4  refused: a guard stopped it before any write
  5  drift: with --dry-run, it would write";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The job's name
    job: String,
    #[command(flatten)]
    config: ConfigFile,
    /// Do everything but the writes
    #[arg(long)]
    dry_run: bool,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
    /// Go on where the guards on size (empty result, max_changed) would refuse
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: Args) -> Result<ExitCode, CliError> {
    let (path, config) = args.config.load_beside()?;
    let job = known::find(&config, &path, &args.job)?;
    let state = state_file(&path, &config);
    let timeout = job.limits.timeout;
    let record = if args.dry_run { None } else { begin(&state, &job) };
    let memory = memory(&state, record.as_ref(), &job);
    let cancel = cancel_on_signal()?;
    let bar = progress_bar(&job.name);
    let context = Context {
        mode: Mode { dry_run: args.dry_run, force: args.force },
        cancel: &cancel,
        deadline: clock::monotonic() + timeout,
        timeout,
        progress: &|progress| show(&bar, progress),
        ledger: &*memory,
    };
    logger::share_terminal_with(&bar);
    let report = apart(|| jobs::attempt(&job, &context, clock::wall()).report);
    drop(memory);
    bar.finish_and_clear();
    let number = record.as_ref().map(Beside::number);
    // Before this run is the last one.
    let past = if args.json { Past::default() } else { Past::of(&state, &report, number) };
    if let Some(record) = record {
        end(record, &job, &report, config.daemon.keep);
    }
    match print(&report, args.json, &past) {
        // A reader that has seen enough does not change how the run ended.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::from(report.outcome.exit_code())),
    }
}

/// Writes down that the run begins; a state that cannot be written is no reason not to recount.
fn begin(state: &Path, job: &Job) -> Option<Beside> {
    let at_most = job.limits.timeout + Beside::SLACK;
    Beside::begin(state, &job.name, clock::wall(), at_most)
        .map_err(|error| log::warn!("this run is not recorded, and cannot be undone: {error}"))
        .ok()
}

/// What the run knows of earlier ones, and where it writes down its repairs. A dry run has nothing
/// to write down, and makes no file; one that is there tells it what the last good run saw.
fn memory(state: &Path, record: Option<&Beside>, job: &Arc<Job>) -> Box<dyn Ledger> {
    match record.map(Beside::number) {
        Some(number) => Box::new(Recorder::new(state, number, job)),
        None if state.exists() => Box::new(Recorder::new(state, RunNumber::default(), job)),
        None => Box::new(Forgetful),
    }
}

fn end(record: Beside, job: &Job, report: &Report, keep: Keep) {
    let ending = Ending {
        outcome: report.outcome.word(),
        reason: report.reason.as_deref(),
        report: Some(report),
        took: Duration::from_millis(report.duration_ms),
    };
    if let Err(error) = record.ended(job, &ending, clock::wall(), keep) {
        log::warn!("the end of this run is not recorded: {error}");
    }
}

fn print(report: &Report, json: bool, past: &Past) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", api::line(report))?;
    } else {
        table::print(report, past, clock::wall(), &mut out)?;
    }
    out.flush()
}

/// A bar on a terminal, nothing elsewhere.
fn progress_bar(job: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    // Until there is something to count, a bar would be full.
    if let Ok(style) = ProgressStyle::with_template("{prefix}: {msg}") {
        bar.set_style(style);
    }
    bar.set_message("waiting for MySQL");
    bar.set_prefix(job.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn show(bar: &ProgressBar, progress: Progress) {
    let (text, done, of) = match progress {
        Progress::Comparing { rows, of } => ("comparing".to_owned(), rows, of.max(rows)),
        Progress::Confirming { round, ids, of } => {
            (format!("confirming, round {round} of {ROUNDS} at most,"), ids, of)
        }
        Progress::Sampling { samples, of } => ("sampling hot ids".to_owned(), samples, of),
        Progress::Filling { rows, of } => ("filling".to_owned(), rows, of),
    };
    if bar.length().is_none_or(|length| length == 0)
        && of > 0
        && let Ok(style) = ProgressStyle::with_template("{prefix}: {msg} {bar:30} {pos}/{len}")
    {
        bar.set_style(style);
    }
    bar.set_message(text);
    bar.set_length(of);
    bar.set_position(done);
}
