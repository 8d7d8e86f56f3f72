//! `recountd list`: every job of the daemon, when it runs next, and how it ended last.

use std::io::{self, Write};
use std::process::ExitCode;

use chrono::{DateTime, FixedOffset};
use serde_json::Value;

use super::api::{self, Api, JobView};
use super::grid::{self, Grid, Tone};
use super::{CliError, when};
use crate::clock;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    api: Api,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let client = args.api.client()?;
    let mut answer = client.get("/v1/jobs")?;
    let jobs = api::take(&client, &mut answer, "jobs")?;
    let mut out = io::stdout().lock();
    if args.json {
        for job in jobs.as_array().into_iter().flatten() {
            writeln!(out, "{}", api::line(job))?;
        }
    } else {
        let jobs: Vec<JobView> = api::read(&client, jobs, "jobs")?;
        table(&jobs, now(&answer)).print("", grid::colour(), &mut out)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The daemon's time: it is its clock that says when a job runs.
pub(super) fn now(answer: &Value) -> DateTime<FixedOffset> {
    let now = answer.get("now").and_then(Value::as_str);
    let now = now.and_then(|now| DateTime::parse_from_rfc3339(now).ok());
    now.unwrap_or_else(|| clock::wall().fixed_offset())
}

fn table(jobs: &[JobView], now: DateTime<FixedOffset>) -> Grid {
    let mut grid = Grid::default();
    grid.head(&["NAME", "STATE", "NEXT", "", "LAST", "", "TRIGGER"]);
    for job in jobs {
        let (state, tone) = state(job);
        let soon = job.next_run.map(|at| when::until(now, at)).unwrap_or_default();
        let at = job.next_run.map(when::absolute).unwrap_or_else(|| "-".to_owned());
        let last = job.last_run.clone().unwrap_or_default();
        let age = last.finished_at.or(last.slot).map(|at| when::ago(now, at)).unwrap_or_default();
        let outcome = if last.outcome.is_empty() { "-".to_owned() } else { last.outcome };
        let outcome_tone = Tone::of(&outcome);
        grid.row([
            (job.name.clone(), Tone::Plain),
            (state, tone),
            (soon, Tone::Plain),
            (at, Tone::Plain),
            (outcome, outcome_tone),
            (age, Tone::Plain),
            (job.trigger_in_words.clone(), Tone::Plain),
        ]);
    }
    grid
}

/// The state in words. Without colour as well, what is late and what is broken is seen.
pub(super) fn state(job: &JobView) -> (String, Tone) {
    match (job.state.as_str(), job.overdue) {
        ("broken", _) => ("BROKEN".to_owned(), Tone::Bad),
        (state, true) => (format!("{state}, OVERDUE"), Tone::Bad),
        (state, false) => (state.to_owned(), Tone::of(state)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_table_tells_what_is_next_what_was_last_and_what_is_wrong() {
        let jobs: Vec<JobView> = serde_json::from_value(json!([
            {"name": "user-articles", "state": "scheduled", "overdue": false,
             "next_run": "2026-11-22T03:00:00+08:00", "trigger_in_words": "at 03:00 every day",
             "last_run": {"outcome": "repaired", "finished_at": "2026-11-21T03:00:05+08:00"}},
            {"name": "late", "state": "running", "overdue": true, "next_run": "2026-11-22T02:57:00+08:00",
             "last_run": null, "trigger_in_words": "every 1m"},
            {"name": "odd", "state": "broken", "next_run": null, "last_run": null},
        ]))
        .unwrap();
        let now = DateTime::parse_from_rfc3339("2026-11-22T02:59:50+08:00").unwrap();
        let mut out = Vec::new();
        table(&jobs, now).print("", false, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\
NAME           STATE             NEXT                                 LAST               TRIGGER
user-articles  scheduled         in 10s   2026-11-22 03:00:00 +08:00  repaired  23h ago  at 03:00 every day
late           running, OVERDUE  2m late  2026-11-22 02:57:00 +08:00  -                  every 1m
odd            BROKEN                     -                           -
"
        );
    }
}
