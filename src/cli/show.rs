//! `recountd show`: everything about one job.

use std::io::{self, Write};
use std::process::ExitCode;

use chrono::{DateTime, FixedOffset};
use serde_json::Value;

use super::api::{self, Api, JobView, RunView};
use super::grid::{self, Grid, Tone};
use super::{CliError, list, runs, told, when};
use crate::client::segment;
use crate::clock;

/// How many runs are shown.
const RUNS: u32 = 10;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The job's name
    job: String,
    #[command(flatten)]
    api: Api,
    /// Print the job as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let client = args.api.client()?;
    let path = format!("/v1/jobs/{}", segment(&args.job));
    let job = client.get(&path)?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", api::line(&job))?;
    } else {
        let mut answer = client.get(&format!("{path}/runs?limit={RUNS}"))?;
        let last = api::take(&client, &mut answer, "runs")?;
        let last: Vec<RunView> = api::read(&client, last, "runs")?;
        let job: JobView = api::read(&client, job, "job")?;
        print(&job, &last, clock::wall().fixed_offset(), &mut out)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn print(
    job: &JobView,
    last: &[RunView],
    now: DateTime<FixedOffset>,
    out: &mut impl Write,
) -> io::Result<()> {
    let colour = grid::colour();
    let (state, tone) = list::state(job);
    let mut grid = Grid::default();
    grid.row([(job.name.clone(), Tone::Head), (state, tone)]);
    grid.print("", colour, out)?;
    let mut facts = Grid::default();
    let mut fact = |name: &str, text: String, tone| {
        if !text.is_empty() {
            facts.row([(name.to_owned(), Tone::Plain), (text, tone)]);
        }
    };
    let at = |time: Option<DateTime<FixedOffset>>, distance: fn(_, _) -> String| {
        let told = |at| format!("{}, {}", when::absolute(at), distance(now, at));
        time.map(told).unwrap_or_default()
    };
    fact("reason", job.reason.clone().unwrap_or_default(), Tone::Bad);
    fact("description", job.description.clone(), Tone::Plain);
    fact("origin", job.origin.clone(), Tone::Plain);
    fact("trigger", job.trigger_in_words.clone(), Tone::Plain);
    fact("timezone", job.timezone.clone(), Tone::Plain);
    fact("paused since", at(job.paused_since, when::ago), Tone::Warning);
    let next = job.next_run.map_or_else(|| "-".to_owned(), |_| at(job.next_run, when::until));
    fact("next run", next, if job.overdue { Tone::Bad } else { Tone::Plain });
    for run in &job.running {
        let began = run.started_at.map_or_else(
            || "waits".to_owned(),
            |started| format!("began {}", when::ago(now, started)),
        );
        let dry = if run.dry_run { ", dry run" } else { "" };
        let (number, attempt) = (api::number(&run.id), run.attempt);
        let text = format!("run {number}, {began}, attempt {attempt}, by {}{dry}", run.cause);
        fact("running", text, Tone::Plain);
    }
    fact("last clean", at(job.last_clean, when::ago), Tone::Plain);
    fact("drift", drift(job, last, now), Tone::Plain);
    facts.print("  ", colour, out)?;
    definition(&job.definition, out)?;
    if !last.is_empty() {
        writeln!(out, "\n  last runs")?;
        runs::grid(last).print("    ", colour, out)?;
    }
    Ok(())
}

/// What the last run that compared found.
fn drift(job: &JobView, last: &[RunView], now: DateTime<FixedOffset>) -> String {
    let found = |run: &RunView| Some((run.clone(), told::report(run.report.as_ref()?)?));
    let Some((run, report)) = job.last_run.iter().chain(last).find_map(found) else {
        return String::new();
    };
    let found = &report.findings;
    let sum = match found.drifted {
        0 => String::new(),
        _ => format!(", sum {}, of sizes {}", found.drift_sum, found.drift_abs_sum),
    };
    let age = run.finished_at.map(|at| format!(", {}", when::ago(now, at))).unwrap_or_default();
    format!(
        "{} drifted of {}{sum}, {} unproven, {} ghosts (run {}{age})",
        found.drifted,
        found.counters,
        found.unproven,
        found.ghosts,
        run.number()
    )
}

fn definition(definition: &Value, out: &mut impl Write) -> io::Result<()> {
    let Some(fields) = definition.as_object() else { return Ok(()) };
    let mut grid = Grid::default();
    // The name stands at the top already.
    for (key, value) in fields.iter().filter(|(key, value)| *key != "name" && !value.is_null()) {
        let text = match value.as_str() {
            Some(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
            None => value.to_string(),
        };
        grid.row([(key.clone(), Tone::Plain), (text, Tone::Plain)]);
    }
    writeln!(out, "\n  definition")?;
    grid.print("    ", grid::colour(), out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_job_is_told_with_its_runs_and_its_definition() {
        let run = json!({
            "id": 12, "job": "a", "slot": "2026-11-22T03:00:00+00:00", "finished_at": "2026-11-22T03:00:01+00:00",
            "duration_ms": 38, "outcome": "repaired", "reason": null,
            "report": {"job": "a", "outcome": "repaired", "started_at": "2026-11-22T03:00:00Z", "counters": 20, "drifted": 3,
                       "drift_sum": 2, "drift_abs_sum": 4},
        });
        let job: JobView = serde_json::from_value(json!({
            "name": "a", "state": "running", "origin": "run-time", "trigger_in_words": "every 10m", "timezone": "UTC",
            "next_run": "2026-11-22T03:10:00Z", "last_run": run,
            "running": [{"id": 13, "started_at": null, "attempt": 2, "cause": "trigger", "dry_run": true}],
            "definition": {"name": "a", "query": "SELECT 1,\n  2", "target": {"zset": "k"}},
        }))
        .unwrap();
        let runs = vec![serde_json::from_value(run).unwrap()];
        let now = DateTime::parse_from_rfc3339("2026-11-22T03:05:00Z").unwrap();
        let mut out = Vec::new();
        print(&job, &runs, now, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\
a  running
  origin    run-time
  trigger   every 10m
  timezone  UTC
  next run  2026-11-22 03:10:00 +00:00, in 5m
  running   run 13, waits, attempt 2, by trigger, dry run
  drift     3 drifted of 20, sum 2, of sizes 4, 0 unproven, 0 ghosts (run 12, 4m ago)

  definition
    query   SELECT 1, 2
    target  {\"zset\":\"k\"}

  last runs
    12  2026-11-22 03:00:00 +00:00  repaired  38ms
"
        );
    }
}
