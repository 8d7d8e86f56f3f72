//! `recountd undo`: puts back what a run wrote, where the counters still hold it.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::grid::printable;
use super::known::AtRunTime;
use super::table::amount;
use super::{CliError, ConfigFile, apart, api, cancel_on_signal, state_file};
use crate::clock;
use crate::config::{Config, Job, Keep, duration};
use crate::jobs::{self, Cancel, Context, Forgetful, Ledger, Mode, RunError, Stop, Undone};
use crate::reconcile::Amount;
use crate::state::{Beside, Claims, Ending, Evidence, History, Recorder, RunNumber};

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  all of it was undone (with --dry-run: would be), or there is nothing to undo
  1  an error, or a refusal: the job is gone, or its counters live elsewhere now
  2  usage, no such run, or jobs.toml is wrong
  3  some counters have moved since, were written again, or have no evidence; they were left alone

The next run of the job looks again, and corrects what differs from MySQL.";

/// The longest an undo may take; a million counters take about a minute.
const AT_MOST: Duration = Duration::from_secs(3_600);

/// What is said of a run that wrote nothing.
const NOTHING: &str = "no repair of it is on record; there is nothing to undo";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run, as `recountd runs` shows it: 12, or o3
    run: RunNumber,
    #[command(flatten)]
    config: ConfigFile,
    /// Tell what would be undone, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Told {
    run: Option<RunNumber>,
    undoes: RunNumber,
    job: String,
    outcome: &'static str,
    dry_run: bool,
    undone: u64,
    moved: u64,
    no_evidence: u64,
    moved_samples: Vec<MovedSample>,
    reason: Option<String>,
}

#[derive(Serialize)]
struct MovedSample {
    id: String,
    wrote: Option<Amount>,
    redis: Option<Amount>,
}

pub(super) fn run(args: Args) -> Result<ExitCode, CliError> {
    let Args { run: undoes, config, dry_run, json } = args;
    let (path, config) = config.load_beside()?;
    let state = state_file(&path, &config);
    let evidence = History::open(&state)?
        .of_run(undoes, clock::wall())?
        .ok_or(CliError::NoSuchRun { run: undoes, state: state.clone() })?;
    let job = job_of(&evidence, undoes, &config, &path)?;
    if evidence.written == 0 {
        // A record of it would only say that nothing was done.
        let mut nothing = told(undoes, None, dry_run, &evidence, &Undone::default(), None);
        nothing.reason = Some(NOTHING.to_owned());
        print(&nothing, json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let cancel = cancel_on_signal()?;
    let mut claims = Claims::open(&state, undoes, &evidence)?;
    let record = if dry_run {
        None
    } else {
        Some(Beside::begin(&state, &job.name, clock::wall(), AT_MOST + Beside::SLACK)?)
    };
    let number = record.as_ref().map(Beside::number);
    let ledger: Box<dyn Ledger> = match number {
        Some(number) => Box::new(Recorder::new(&state, number, &job)),
        None => Box::new(Forgetful),
    };
    let begun = clock::monotonic();
    if let Some(number) = number {
        claims.made_by(number);
    }
    let (undone, failure) = undo(dry_run, &job, &evidence, claims, &cancel, &*ledger);
    drop(ledger);
    let told = told(undoes, number, dry_run, &evidence, &undone, failure.as_ref());
    if let Some(record) = record {
        let took = clock::monotonic().saturating_duration_since(begun);
        end(record, &job, &told, took, config.daemon.keep);
    }
    print(&told, json)?;
    match failure {
        Some(_) if json => Ok(ExitCode::from(1)),
        Some(Failure { reason, .. }) => {
            Err(CliError::NotUndone { job: Arc::clone(&job.name), reason })
        }
        None if told.moved + told.no_evidence > 0 => Ok(ExitCode::from(3)),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Writes down how it ended. A state that does not take it hides nothing of what was put back.
fn end(record: Beside, job: &Job, told: &Told, took: Duration, keep: Keep) {
    let reason = match &told.reason {
        Some(reason) => reason.clone(),
        None => format!("undid run {}: {}", told.undoes, in_words(told)),
    };
    let ending = Ending { outcome: told.outcome, reason: Some(&reason), report: None, took };
    if let Err(error) = record.ended(job, &ending, clock::wall(), keep) {
        log::warn!("the end of this undo is not recorded: {error}");
    }
}

/// Why an undo ended before its end.
struct Failure {
    is_refusal: bool,
    reason: String,
}

impl From<Stop> for Failure {
    /// What a run says when it is stopped does not hold for an undo.
    fn from(stop: Stop) -> Self {
        const REST: &str = "what was put back stays so; run undo again for the rest";
        let reason = match &stop {
            Stop::Failed(RunError::Cancelled) => format!("the undo was cancelled; {REST}"),
            Stop::Failed(RunError::TimedOut(after)) => {
                format!("the undo timed out after {}; {REST}", duration::format(*after))
            }
            stop => stop.to_string(),
        };
        Self { is_refusal: matches!(stop, Stop::Refused(_)), reason }
    }
}

/// The job of the run, if its counters still live where the run wrote them.
fn job_of(
    evidence: &Evidence,
    run: RunNumber,
    config: &Config,
    path: &Path,
) -> Result<Arc<Job>, CliError> {
    let name = &evidence.job;
    let in_file = config.jobs.get(name.as_str()).map(|job| Ok(Arc::clone(job)));
    let job =
        in_file.or_else(|| AtRunTime::of(path, config).get(config, name)).unwrap_or_else(|| {
            let file = path.display().to_string();
            Err(CliError::JobGone { run, job: name.clone(), file })
        })?;
    if evidence.is_running {
        return Err(CliError::StillRunning(run));
    }
    let is_placed = |target: &str| evidence.places.iter().any(|(name, _)| name == target);
    if let Some(lost) = evidence.repairs.iter().find(|repair| !is_placed(&repair.target)) {
        return Err(CliError::PlaceUnknown { run, target: lost.target.to_string() });
    }
    for (target, was) in &evidence.places {
        let is = jobs::place(&job, target);
        if is.as_ref() != Some(was) {
            let (job, was) = (name.clone(), was.clone());
            let is = is.unwrap_or_else(|| "another".to_owned());
            return Err(CliError::TargetChanged { run, job, was, is });
        }
    }
    Ok(job)
}

fn undo(
    dry_run: bool,
    job: &Job,
    evidence: &Evidence,
    mut claims: Claims,
    cancel: &Cancel,
    ledger: &dyn Ledger,
) -> (Undone, Option<Failure>) {
    if evidence.repairs.is_empty() {
        return (Undone::default(), None);
    }
    let context = Context {
        mode: Mode { dry_run, force: false },
        cancel,
        deadline: clock::monotonic() + AT_MOST,
        timeout: AT_MOST,
        progress: &|_| {},
        ledger,
    };
    let (undone, ended) = apart(|| jobs::undo(job, &evidence.repairs, &mut claims, &context));
    (undone, ended.err().map(Failure::from))
}

fn told(
    undoes: RunNumber,
    run: Option<RunNumber>,
    dry_run: bool,
    evidence: &Evidence,
    undone: &Undone,
    failure: Option<&Failure>,
) -> Told {
    let no_evidence = evidence.written.saturating_sub(evidence.repairs.len() as u64);
    let outcome = match failure {
        Some(Failure { is_refusal: true, .. }) => "refused",
        Some(_) => "failed",
        None if undone.moved + no_evidence > 0 => "partial",
        None => "undone",
    };
    let sample = |moved: &jobs::Moved| MovedSample {
        id: moved.id.to_string(),
        wrote: moved.wrote,
        redis: moved.holds,
    };
    Told {
        run,
        undoes,
        job: evidence.job.clone(),
        outcome,
        dry_run,
        undone: undone.undone,
        moved: undone.moved,
        no_evidence,
        moved_samples: undone.samples.iter().map(sample).collect(),
        reason: failure.map(|failure| failure.reason.clone()),
    }
}

fn in_words(told: &Told) -> String {
    if told.reason.as_deref() == Some(NOTHING) {
        return NOTHING.to_owned();
    }
    let mut words = format!("{} counters put back", told.undone);
    for (number, what) in [
        (told.moved, "have moved since, or were written again"),
        (told.no_evidence, "have no evidence"),
    ] {
        if number > 0 {
            words.push_str(&format!(", {number} {what}"));
        }
    }
    words
}

fn print(told: &Told, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", api::line(told))?;
        return out.flush();
    }
    let run = told.run.map(|run| format!(" (run {run})")).unwrap_or_default();
    let dry = if told.dry_run { " (dry run: nothing was written)" } else { "" };
    let (undoes, job, words) = (told.undoes, &told.job, in_words(told));
    writeln!(out, "undo of run {undoes} of {job}{run}{dry}: {words}")?;
    if !told.moved_samples.is_empty() {
        writeln!(out, "\n  {:<24} {:>14} {:>14}", "moved", "the run wrote", "Redis")?;
    }
    for MovedSample { id, wrote, redis } in &told.moved_samples {
        let id = printable(id);
        writeln!(out, "  {id:<24} {:>14} {:>14}", amount(*wrote), amount(*redis))?;
    }
    out.flush()
}
