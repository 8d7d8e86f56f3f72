//! `recountd runs`: what became of each slot, the newest first.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{CliError, ConfigFile, state_file};
use crate::clock;
use crate::config::duration;
use crate::state::{self, RunNumber};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this job
    job: Option<String>,
    #[command(flatten)]
    config: ConfigFile,
    /// How many to show
    #[arg(short = 'n', long = "count", value_name = "N", default_value_t = 20)]
    count: u32,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    id: RunNumber,
    job: &'a str,
    slot: String,
    started_at: Option<String>,
    duration_ms: Option<i64>,
    attempts: u32,
    outcome: &'a str,
    reason: Option<&'a str>,
    report: Option<&'a RawValue>,
    repairs: u64,
    evidence: Option<&'a Path>,
}

pub(super) fn run(args: Args) -> Result<ExitCode, CliError> {
    let (path, config) = args.config.load()?;
    let file = state_file(&path, &config);
    let rows = state::runs(&file, args.job.as_deref(), args.count, clock::wall())?;
    let mut out = io::stdout().lock();
    let width = rows.iter().map(|row| row.job.len()).max().unwrap_or(0);
    for row in &rows {
        // A job that is gone from the file is shown in the daemon's zone.
        let zone = config.jobs.get(&*row.job).map_or(config.daemon.timezone, |job| job.zone);
        if args.json {
            serde_json::to_writer(&mut out, &line(row, zone)).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            let slot = row.slot.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S %:z");
            let took = row.took_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
            let took = took.map(duration::format).unwrap_or_default();
            let (id, job, outcome) = (row.id, &row.job, &row.outcome);
            let reason = row.reason.as_deref().unwrap_or_default();
            let text = format!("{id:>6}  {slot}  {job:width$}  {outcome:<11} {took:>8}  {reason}");
            writeln!(out, "{}", text.trim_end())?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn line(row: &state::Row, zone: Tz) -> Line<'_> {
    let text =
        |at: DateTime<Utc>| at.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::AutoSi, false);
    Line {
        id: row.id,
        job: &row.job,
        slot: text(row.slot),
        started_at: row.started.map(text),
        duration_ms: row.took_ms,
        attempts: row.attempts,
        outcome: &row.outcome,
        reason: row.reason.as_deref(),
        report: row.report.as_deref().and_then(|json| serde_json::from_str(json).ok()),
        repairs: row.repairs,
        evidence: row.evidence.as_deref(),
    }
}
