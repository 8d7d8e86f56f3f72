//! The two routes of the scheduler that was inside the web app, in their old shapes, so that whoever
//! calls them need not change.

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::{Api, Call, jobs};
use crate::admin::http::Reply;
use crate::admin::problem::Problem;
use crate::config::Job;
use crate::schedule::Trigger;

pub fn list(api: &Api, call: &Call<'_>) -> Result<Reply, Problem> {
    let job = |view: crate::board::JobView| -> Option<Value> {
        // One that is broken is not scheduled, and there was no word for it.
        let trigger = trigger_text(api.board.definition(&view.name)?.as_ref());
        let name = if view.description.is_empty() { &view.name } else { &view.description };
        // There, a paused job had no next run.
        let next = view.next_run.as_ref().filter(|_| view.paused_since.is_none());
        Some(json!({"id": view.name, "name": name, "next_run_time": next, "trigger": trigger}))
    };
    let all: Vec<Value> = api.board.jobs(call.now).into_iter().filter_map(job).collect();
    Ok(Reply::json(200, &all))
}

pub fn trigger(api: &Api, call: &Call<'_>) -> Result<Reply, Problem> {
    let name = call.arg();
    Ok(match jobs::begin(api, name, false) {
        Ok(_) => Reply::json(200, &json!({"message": format!("Job {name} triggered")})),
        Err(problem) if problem.status() == 404 => {
            Reply::json(404, &json!({"error": format!("Job {name} not found")}))
        }
        Err(problem) => Reply::json(problem.status(), &json!({"error": problem.detail()})),
    })
}

/// A trigger as the old scheduler wrote it.
fn trigger_text(job: &Job) -> String {
    match &job.trigger {
        Trigger::Cron(cron) => {
            let fields: Vec<&str> = cron.source().split_whitespace().collect();
            let (second, rest) = match fields.as_slice() {
                [second, rest @ ..] if rest.len() == 5 => (Some(*second), rest),
                rest => (None, rest),
            };
            let [minute, hour, day, month, day_of_week] = rest else {
                return format!("cron[{}]", cron.source());
            };
            let second = second.map(|second| format!(", second='{second}'")).unwrap_or_default();
            format!(
                "cron[month='{month}', day='{day}', day_of_week='{day_of_week}', hour='{hour}', \
                 minute='{minute}'{second}]"
            )
        }
        Trigger::Interval(interval) => {
            let seconds = interval.every().as_secs();
            let (days, rest) = (seconds / 86_400, seconds % 86_400);
            let days = match days {
                0 => String::new(),
                1 => "1 day, ".to_owned(),
                days => format!("{days} days, "),
            };
            let (hours, minutes, seconds) = (rest / 3600, rest / 60 % 60, rest % 60);
            format!("interval[{days}{hours}:{minutes:02}:{seconds:02}]")
        }
        Trigger::Date(date) => {
            let date = date.with_timezone(&job.zone);
            format!("date[{}]", date.to_rfc3339_opts(SecondsFormat::Secs, false).replace('T', " "))
        }
    }
}
