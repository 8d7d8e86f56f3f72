//! `recountd explain`: why a counter was written, and what it is now; or which ids are repaired
//! again and again.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use serde::Serialize;

use super::grid::printable;
use super::table::{amount, signed};
use super::{CliError, ConfigFile, apart, api, cancel_on_signal, known, state_file};
use crate::clock;
use crate::config::Job;
use crate::jobs::{self, Context, Forgetful, Mode, Seen, Stop};
use crate::reconcile::{Amount, Id};
use crate::state::{History, IN_TABLE, Offender, RunNumber, Written};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The job's name
    job: String,
    /// The id, as Redis has it; without it, the ids that were repaired in several runs
    #[arg(allow_hyphen_values = true)]
    id: Option<OsString>,
    #[command(flatten)]
    config: ConfigFile,
    /// How many ids to show, where none is named
    #[arg(short = 'n', long = "count", value_name = "N", default_value_t = 20)]
    count: u32,
    /// Print one JSON object; without an ID, one a line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Explanation<'a> {
    job: &'a str,
    id: String,
    repairs: Vec<Told<'a>>,
    now: Vec<Now<'a>>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Told<'a> {
    run: RunNumber,
    at: String,
    target: Option<&'a str>,
    before: Option<Amount>,
    after: Option<Amount>,
    proof: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct Now<'a> {
    target: Option<&'a str>,
    redis: Option<Amount>,
    mysql: Option<Amount>,
    drift: Amount,
    verdict: String,
}

#[derive(Serialize)]
struct Often<'a> {
    id: String,
    target: Option<&'a str>,
    runs: u64,
    added: Amount,
    added_abs: Amount,
    last: String,
}

pub(super) fn run(args: Args) -> Result<ExitCode, CliError> {
    let (path, config) = args.config.load_beside()?;
    let job = known::find(&config, &path, &args.job)?;
    let history = History::open(&state_file(&path, &config))?;
    match args.id {
        Some(id) => explain(&job, &Id::from_bytes(id.as_bytes()), &history, args.json),
        None => offenders(&job, &history, args.count, args.json),
    }
}

fn explain(job: &Arc<Job>, id: &Id, history: &History, json: bool) -> Result<ExitCode, CliError> {
    let repairs = history.of_id(&job.name, id)?;
    let now = look(job, id)?;
    let mut out = io::stdout().lock();
    if json {
        let (seen, error) = match &now {
            Ok(seen) => (seen.as_slice(), None),
            Err(stop) => (&[][..], Some(stop.to_string())),
        };
        let explanation = Explanation {
            job: &job.name,
            id: id.to_string(),
            repairs: repairs.iter().map(|written| told(written, job.zone)).collect(),
            now: seen.iter().map(as_json).collect(),
            error,
        };
        writeln!(out, "{}", api::line(&explanation))?;
    } else {
        tell(job, id, &repairs, &mut out)?;
        for seen in now.iter().flatten() {
            let (redis, mysql) = (amount(seen.redis), amount(seen.mysql));
            let (of, verdict) = (of(&seen.target), seen.verdict());
            writeln!(out, "  now{of}: Redis {redis}, MySQL {mysql}: {verdict}")?;
        }
    }
    out.flush()?;
    match now {
        Ok(_) => Ok(ExitCode::SUCCESS),
        // In the JSON the error is told already.
        Err(_) if json => Ok(ExitCode::from(1)),
        Err(stop) => Err(CliError::Stopped { job: Arc::clone(&job.name), stop: Box::new(stop) }),
    }
}

/// What both servers say now. What is known of earlier runs is told even if they do not answer.
fn look(job: &Job, id: &Id) -> Result<Result<Vec<Seen>, Stop>, CliError> {
    let (cancel, timeout) = (cancel_on_signal()?, job.limits.timeout);
    let context = Context {
        mode: Mode { dry_run: true, force: false },
        cancel: &cancel,
        deadline: clock::monotonic() + timeout,
        timeout,
        progress: &|_| {},
        ledger: &Forgetful,
    };
    Ok(apart(|| jobs::look(job, id, &context)))
}

fn tell(job: &Job, id: &Id, repairs: &[Written], out: &mut impl Write) -> io::Result<()> {
    let families = job.work.families.iter();
    let places: Vec<_> = families.filter_map(|f| jobs::place(job, &f.name())).collect();
    let place = places.join(", ");
    writeln!(out, "{}: id {} in {}", job.name, printable(&id.to_string()), printable(&place))?;
    if repairs.is_empty() {
        writeln!(out, "  no repair of it is on record")?;
    }
    for Written { run, repair, place } in repairs {
        let at = repair.at.with_timezone(&job.zone).format("%Y-%m-%d %H:%M:%S %:z");
        let (before, after) = (amount(repair.before), amount(repair.after));
        let (of, reason) = (of(&repair.target), repair.proof.reason());
        let today = jobs::place(job, &repair.target);
        let elsewhere = place.as_ref().filter(|place| Some(*place) != today.as_ref());
        let elsewhere =
            elsewhere.map(|place| format!(" (in {})", printable(place))).unwrap_or_default();
        writeln!(out, "  {at}  run {run:<5} {before:>8} -> {after:<8}{of}{elsewhere} {reason}")?;
    }
    Ok(())
}

fn offenders(job: &Job, history: &History, most: u32, json: bool) -> Result<ExitCode, CliError> {
    let offenders = history.offenders(&job.name, most)?;
    let mut out = io::stdout().lock();
    if json {
        for offender in &offenders {
            writeln!(out, "{}", api::line(&often(offender, job.zone)))?;
        }
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    if offenders.is_empty() {
        writeln!(out, "{}: no id was repaired in more than one run", job.name)?;
    } else {
        writeln!(out, "{}: ids that were repaired in several runs", job.name)?;
        writeln!(out, "  {:<24} {:>6} {:>12} {:>12}  last", "id", "runs", "sum", "of sizes")?;
    }
    for Offender { target, id, runs, added, added_abs, last } in &offenders {
        let (id, added, sizes) =
            (printable(&id.to_string()), signed(*added), added_abs.to_string());
        let last = last.with_timezone(&job.zone).format("%Y-%m-%d %H:%M:%S %:z");
        let of = of(target);
        writeln!(out, "  {id:<24} {runs:>6} {added:>12} {sizes:>12}  {last}{of}")?;
    }
    if history.has_files(&job.name)? {
        writeln!(
            out,
            "  (runs with more than {IN_TABLE} repairs count with their first {IN_TABLE})"
        )?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn of(target: &str) -> String {
    if target.is_empty() { String::new() } else { format!(" ({})", printable(target)) }
}

fn named(target: &str) -> Option<&str> {
    (!target.is_empty()).then_some(target)
}

fn text(at: DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Millis, false)
}

fn told(written: &Written, zone: Tz) -> Told<'_> {
    let Written { run, repair, .. } = written;
    Told {
        run: *run,
        at: text(repair.at, zone),
        target: named(&repair.target),
        before: repair.before,
        after: repair.after,
        proof: repair.proof.word(),
        reason: repair.proof.reason(),
    }
}

fn as_json(seen: &Seen) -> Now<'_> {
    Now {
        target: named(&seen.target),
        redis: seen.redis,
        mysql: seen.mysql,
        drift: seen.drift(),
        verdict: seen.verdict(),
    }
}

fn often(offender: &Offender, zone: Tz) -> Often<'_> {
    Often {
        id: offender.id.to_string(),
        target: named(&offender.target),
        runs: offender.runs,
        added: offender.added,
        added_abs: offender.added_abs,
        last: text(offender.last, zone),
    }
}
