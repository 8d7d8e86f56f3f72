//! Looking at jobs, running one now, pausing it.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Api, Call, trouble};
use crate::admin::http::Reply;
use crate::admin::problem::Problem;
use crate::ask::Ask;
use crate::board::JobView;
use crate::config::definition;
use crate::state::time;

pub fn status(api: &Api, call: &Call<'_>) -> Result<Reply, Problem> {
    Ok(Reply::json(200, &api.board.status(call.now)))
}

pub fn list(api: &Api, call: &Call<'_>) -> Result<Reply, Problem> {
    let now = time(call.now, api.board.about().zone);
    let jobs = api.board.jobs(call.now);
    Ok(Reply::json(200, &List { now, version: env!("CARGO_PKG_VERSION"), jobs }))
}

#[derive(Serialize)]
struct List {
    now: String,
    version: &'static str,
    jobs: Vec<JobView>,
}

pub fn show(api: &Api, call: &Call<'_>) -> Result<Reply, Problem> {
    let name = call.arg();
    let mut view = view(api, call, name)?;
    view.definition = match api.board.definition(name) {
        Some(job) => Some(definition(&job)),
        None => api.board.broken(name),
    };
    Ok(Reply::json(200, &view))
}

/// A job, as everybody but who looks at it alone is shown it.
pub fn view(api: &Api, call: &Call<'_>, name: &str) -> Result<JobView, Problem> {
    api.board.job(name, call.now).ok_or_else(|| trouble::no_such_job(api, name))
}

/// What a trigger may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trigger {
    #[serde(default)]
    dry_run: bool,
}

pub fn trigger(api: &Api, call: &Call<'_>) -> Result<Reply, Problem> {
    let trigger: Trigger = match call.json()? {
        None => Trigger::default(),
        // A list would be taken for the members in their order.
        Some(body) if !body.is_object() => return Err(trigger_is("the body is no JSON object")),
        Some(body) => serde_json::from_value(body).map_err(trigger_is)?,
    };
    let run = begin(api, call.arg(), trigger.dry_run)?;
    Ok(Reply::json(202, &json!({"run": run})).with("Location", format!("/v1/runs/{run}")))
}

fn trigger_is(wrong: impl std::fmt::Display) -> Problem {
    trouble::bad_request(format!("{wrong}; send {{}} or {{\"dry_run\": true}}"))
}

/// Begins a run and gives its number.
pub fn begin(api: &Api, job: &str, dry_run: bool) -> Result<u64, Problem> {
    let ask = Ask::Trigger { job: trouble::name(job), dry_run };
    let answer = api.hotline.ask(ask).map_err(|refusal| trouble::refused(api, refusal))?;
    api.settle(&answer);
    // The agenda names a run for every trigger that it carries out.
    answer.run.map(|run| run.0).ok_or_else(Problem::internal)
}

pub fn pause(api: &Api, call: &Call<'_>) -> Result<Reply, Problem> {
    change(api, call, Ask::Pause(trouble::name(call.arg())))
}

pub fn resume(api: &Api, call: &Call<'_>) -> Result<Reply, Problem> {
    change(api, call, Ask::Resume(trouble::name(call.arg())))
}

fn change(api: &Api, call: &Call<'_>, ask: Ask) -> Result<Reply, Problem> {
    let answer = api.hotline.ask(ask).map_err(|refusal| trouble::refused(api, refusal))?;
    api.settle(&answer);
    view(api, call, call.arg()).map(|view| Reply::json(200, &view))
}
