//! `recountd runs`: what became of each slot, the newest first; from the state file, so that it works
//! without a daemon, or from a daemon elsewhere.

use std::collections::HashMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use chrono_tz::Tz;
use serde_json::Value;

use super::api::{self, Api, RunView};
use super::grid::{Grid, Tone, printable};
use super::known::AtRunTime;
use super::{CliError, follow, state_file, when};
use crate::client::{Client, segment};
use crate::clock;
use crate::config::duration;
use crate::state;

/// The most that a daemon tells at once.
const MOST: u32 = 1_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this job
    pub(super) job: Option<String>,
    #[command(flatten)]
    pub(super) api: Api,
    /// How many to show
    #[arg(short = 'n', long = "count", value_name = "N", default_value_t = 20)]
    pub(super) count: u32,
    /// Then go on and show runs as they end, until Ctrl-C; the newest last
    #[arg(short, long)]
    follow: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: Args) -> Result<ExitCode, CliError> {
    if args.follow {
        return follow::run(&args);
    }
    if args.api.is_named() {
        return from_daemon(&args);
    }
    let (path, config) = args.api.config.load_beside()?;
    let file = state_file(&path, &config);
    let rows = state::runs(&file, args.job.as_deref(), args.count, clock::wall())?;
    let mut out = io::stdout().lock();
    let width = rows.iter().map(|row| row.job.chars().count()).max().unwrap_or(0);
    let at_run_time = rows
        .iter()
        .any(|row| !config.jobs.contains_key(&*row.job))
        .then(|| AtRunTime::of(&path, &config));
    let mut zones: HashMap<String, Tz> = HashMap::new();
    for row in rows {
        let zone = *zones.entry(row.job.clone()).or_insert_with(|| {
            let in_file = || config.jobs.get(&*row.job).map(Arc::clone);
            let added = || at_run_time.as_ref()?.get(&config, &row.job)?.ok();
            // A job that is gone is shown in the daemon's zone.
            in_file().or_else(added).map_or(config.daemon.timezone, |job| job.zone)
        });
        if args.json {
            writeln!(out, "{}", api::line(&row.shown(zone)))?;
        } else {
            let shown = Shown {
                id: &row.id.to_string(),
                slot: Some(row.slot.with_timezone(&zone).fixed_offset()),
                job: &row.job,
                outcome: &row.outcome,
                took_ms: row.took_ms.and_then(|ms| u64::try_from(ms).ok()),
                reason: row.reason.as_deref(),
            };
            writeln!(out, "{}", shown.text(width))?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn from_daemon(args: &Args) -> Result<ExitCode, CliError> {
    let client = args.api.client()?;
    if args.count > MOST {
        log::warn!("a daemon tells of {MOST} runs at most");
    }
    let runs = ask(&client, args.job.as_deref(), args.count)?;
    let runs: Vec<Value> = runs.into_iter().take(args.count as usize).collect();
    let mut out = io::stdout().lock();
    print(&client, &runs, args.json, &mut out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The newest runs of a job or of all, the newest first.
pub(super) fn ask(client: &Client, job: Option<&str>, count: u32) -> Result<Vec<Value>, CliError> {
    let limit = count.clamp(1, MOST);
    let path = match job {
        Some(job) => format!("/v1/jobs/{}/runs?limit={limit}", segment(job)),
        None => format!("/v1/runs?limit={limit}"),
    };
    let mut answer = client.get(&path)?;
    let runs = api::take(client, &mut answer, "runs")?;
    api::read(client, runs, "runs")
}

/// Prints what the daemon tells of runs, in this order.
pub(super) fn print(
    client: &Client,
    runs: &[Value],
    json: bool,
    out: &mut impl Write,
) -> Result<(), CliError> {
    if json {
        for run in runs {
            writeln!(out, "{}", api::line(run))?;
        }
        return Ok(());
    }
    let views: Vec<RunView> = api::read(client, Value::Array(runs.to_vec()), "runs")?;
    let width = views.iter().map(|run| run.job.chars().count()).max().unwrap_or(0);
    for run in &views {
        let shown = Shown {
            id: &run.number(),
            slot: run.slot,
            job: &run.job,
            outcome: &run.outcome,
            took_ms: run.duration_ms,
            reason: run.reason.as_deref(),
        };
        writeln!(out, "{}", shown.text(width))?;
    }
    Ok(())
}

/// The runs of one job as a table.
pub(super) fn grid(runs: &[RunView]) -> Grid {
    let mut grid = Grid::default();
    for run in runs {
        let took = run.duration_ms.map(took).unwrap_or_default();
        grid.row([
            (run.number(), Tone::Plain),
            (run.slot.map(when::absolute).unwrap_or_default(), Tone::Plain),
            (run.outcome.clone(), Tone::of(&run.outcome)),
            (took, Tone::Plain),
            (run.reason.clone().unwrap_or_default(), Tone::Plain),
        ]);
    }
    grid
}

/// What a line shows of a run.
struct Shown<'a> {
    id: &'a str,
    slot: Option<DateTime<FixedOffset>>,
    job: &'a str,
    outcome: &'a str,
    took_ms: Option<u64>,
    reason: Option<&'a str>,
}

impl Shown<'_> {
    fn text(&self, width: usize) -> String {
        let (id, job, outcome) = (printable(self.id), printable(self.job), printable(self.outcome));
        let slot = self.slot.map(when::absolute).unwrap_or_default();
        let took = self.took_ms.map(took).unwrap_or_default();
        let reason = printable(self.reason.unwrap_or_default());
        let text = format!("{id:>6}  {slot}  {job:width$}  {outcome:<11} {took:>8}  {reason}");
        text.trim_end().to_owned()
    }
}

fn took(ms: u64) -> String {
    duration::format(Duration::from_millis(ms))
}
