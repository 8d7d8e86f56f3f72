//! `recountd once`: runs one job now, here.

use std::io::{self, IsTerminal, Write};
use std::panic;
use std::process::{self, ExitCode};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::{CliError, ConfigFile, find_job, logger};
use crate::clock;
use crate::daemon::DaemonError;
use crate::jobs::{self, Cancel, Context, Forgetful, Mode, Progress};
use crate::reconcile::{Amount, ROUNDS};
use crate::report::Report;
use crate::signals::{self, Signal};

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
    /// The job's name in jobs.toml
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
    let (path, config) = args.config.load()?;
    let job = find_job(&config, &path, &args.job)?;
    let cancel = Cancel::default();
    let stop = cancel.clone();
    // Ctrl-C stops the query on the server, too, instead of leaving it behind.
    signals::listen(move |signal| {
        if signal == Signal::Stop {
            if stop.is_cancelled() {
                process::exit(130);
            }
            stop.cancel();
        }
    })
    .map_err(DaemonError::System)?;
    let bar = progress_bar(&job.name);
    let timeout = job.limits.timeout;
    let context = Context {
        mode: Mode { dry_run: args.dry_run, force: args.force },
        cancel: &cancel,
        deadline: clock::monotonic() + timeout,
        timeout,
        progress: &|progress| show(&bar, progress),
        ledger: &Forgetful,
    };
    logger::share_terminal_with(&bar);
    // In a thread of its own, because a signal interrupts what the main thread reads from Redis.
    let report = thread::scope(|scope| {
        scope.spawn(|| jobs::attempt(&job, &context, clock::wall()).report).join()
    });
    bar.finish_and_clear();
    let report = report.unwrap_or_else(|panic| panic::resume_unwind(panic));
    match print(&report, args.json) {
        // A reader that has seen enough does not change how the run ended.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::from(report.outcome.exit_code())),
    }
}

fn print(report: &Report, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, report)?;
        writeln!(out)?;
    } else {
        table(report, &mut out)?;
    }
    out.flush()
}

/// A bar on a terminal, nothing elsewhere.
fn progress_bar(job: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{prefix}: {msg} {bar:30} {pos}/{len}") {
        bar.set_style(style);
    }
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
    bar.set_message(text);
    bar.set_length(of);
    bar.set_position(done);
}

fn table(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let found = &report.findings;
    let dry = if report.dry_run { " (dry run: nothing was written)" } else { "" };
    let seconds = Duration::from_millis(report.duration_ms).as_secs_f64();
    writeln!(out, "{}: {}{dry} in {seconds:.1} s", report.job, report.outcome.word())?;
    if let Some(reason) = &report.reason {
        writeln!(out, "  {reason}")?;
    }
    if found.counters == 0 {
        return Ok(());
    }
    let drift = format!("sum {}, of sizes {}", found.drift_sum, found.drift_abs_sum);
    for (name, number, note) in [
        ("counters", found.counters, ""),
        ("drifted", found.drifted, drift.as_str()),
        ("missing", found.missing, "of the drifted, absent in Redis"),
        ("ghosts", found.ghosts, "in Redis only"),
        ("repaired", found.repaired, ""),
        ("unproven", found.unproven, "kept moving, left alone"),
    ] {
        let note = if number == 0 { "" } else { note };
        writeln!(out, "{}", format!("  {name:<9} {number:>10}  {note}").trim_end())?;
    }
    if found.samples.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n  {:<24} {:>14} {:>14}", "id", "Redis", "MySQL")?;
    let text = |amount: Option<Amount>| amount.map_or_else(|| "-".to_owned(), |a| a.to_string());
    for sample in &found.samples {
        let (redis, mysql) = (text(sample.redis), text(sample.mysql));
        writeln!(out, "  {:<24} {redis:>14} {mysql:>14}", sample.id)?;
    }
    Ok(())
}
