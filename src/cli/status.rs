//! `recountd status`: how the daemon is, as a short text; its exit code tells scripts.

use std::io::{self, Write};
use std::process::ExitCode;

use chrono::DateTime;
use serde_json::{Value, json};

use super::api::{self, Api};
use super::grid::{self, Grid, Tone, printable};
use super::{CliError, list, when};
use crate::client::ClientError;

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  it is ready
  1  it is not, or it is not reachable
  2  usage";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    api: Api,
    /// Print the status as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let client = args.api.client()?;
    let mut status = client.get("/v1/status")?;
    let trouble = match client.get("/readyz") {
        Ok(_) => None,
        Err(ClientError::Problem(problem)) => Some(problem.to_string()),
        Err(error) => return Err(error.into()),
    };
    let mut out = io::stdout().lock();
    if args.json {
        if let Some(fields) = status.as_object_mut() {
            fields.insert("ready".to_owned(), json!(trouble.is_none()));
            fields.insert("not_ready_because".to_owned(), json!(trouble));
        }
        writeln!(out, "{}", api::line(&status))?;
    } else {
        print(&status, trouble.as_deref(), &mut out)?;
    }
    out.flush()?;
    Ok(ExitCode::from(u8::from(trouble.is_some())))
}

fn print(status: &Value, trouble: Option<&str>, out: &mut impl Write) -> io::Result<()> {
    let now = list::now(status);
    let text = |key: &str| match status.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let time = |key: &str| DateTime::parse_from_rfc3339(&text(key)).ok();
    let up = time("started_at").map(|at| format!(", up {}", when::span(now - at)));
    let up = up.unwrap_or_default();
    let head = format!("recountd {}, pid {}{up}", text("version"), text("pid"));
    writeln!(out, "{}", printable(&head))?;
    let ready = match trouble {
        None => ("yes".to_owned(), Tone::Good),
        Some(why) => (format!("NO: {why}"), Tone::Bad),
    };
    let loaded = time("loaded_at").map(|at| format!(", read {}", when::ago(now, at)));
    let file = text("file") + &loaded.unwrap_or_default();
    let runs = format!(
        "{} active, {} in line; {} workers",
        text("active_runs"),
        text("queue_depth"),
        text("workers")
    );
    let plain = |text: String| (text, Tone::Plain);
    let mut grid = Grid::default();
    grid.row([plain("ready".to_owned()), ready]);
    grid.row([plain("jobs".to_owned()), jobs(status)]);
    grid.row([plain("runs".to_owned()), plain(runs)]);
    grid.row([plain("file".to_owned()), plain(file)]);
    if !text("reload_error").is_empty() {
        grid.row([plain("reload".to_owned()), (text("reload_error"), Tone::Bad)]);
    }
    grid.row([plain("state".to_owned()), plain(text("state"))]);
    grid.row([plain("timezone".to_owned()), plain(text("timezone"))]);
    grid.print("  ", grid::colour(), out)
}

/// How many there are, and of what kind; a kind that is not there is left out.
fn jobs(status: &Value) -> (String, Tone) {
    let count = |key: &str| status.pointer(&format!("/jobs/{key}")).and_then(Value::as_u64);
    let count = |key: &str| count(key).unwrap_or(0);
    let kinds = ["scheduled", "running", "paused", "done", "broken", "overdue"];
    let told: Vec<String> = kinds
        .into_iter()
        .filter(|kind| count(kind) > 0)
        .map(|kind| format!("{} {kind}", count(kind)))
        .collect();
    let colon = if told.is_empty() { "" } else { ": " };
    let is_bad = count("broken") + count("overdue") > 0;
    let tone = if is_bad { Tone::Bad } else { Tone::Plain };
    (format!("{}{colon}{}", count("total"), told.join(", ")), tone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_a_short_text() {
        let status = json!({
            "version": "0.1.0", "pid": 7, "started_at": "2026-11-22T00:00:00Z", "now": "2026-11-22T03:00:00Z",
            "timezone": "UTC", "file": "/etc/recountd/jobs.toml", "loaded_at": "2026-11-22T02:50:00Z",
            "reload_error": "jobs.toml: two mistakes", "state": "/a.db", "workers": 10, "queue_depth": 0, "active_runs": 1,
            "jobs": {"total": 3, "scheduled": 2, "running": 1, "paused": 0, "done": 0, "broken": 0, "overdue": 0},
        });
        let mut out = Vec::new();
        print(&status, Some("it is stopping"), &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\
recountd 0.1.0, pid 7, up 3h
  ready     NO: it is stopping
  jobs      3: 2 scheduled, 1 running
  runs      1 active, 0 in line; 10 workers
  file      /etc/recountd/jobs.toml, read 10m ago
  reload    jobs.toml: two mistakes
  state     /a.db
  timezone  UTC
"
        );
    }
}
