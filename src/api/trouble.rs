//! What can go wrong with a request, as problem documents.

use std::sync::Arc;

use serde_json::json;

use super::Api;
use crate::admin::http::Method;
use crate::admin::problem::Problem;
use crate::agenda::CommandError;
use crate::ask::Refusal;
use crate::clock;
use crate::config::{Fault, MOST_FAULTS, nearest};
use crate::state::StateError;

pub fn bad_request(detail: impl Into<String>) -> Problem {
    Problem::new(400, "bad-request", "The request cannot be understood", detail)
}

pub fn not_json(kind: &str) -> Problem {
    let found = if kind.is_empty() { "has no Content-Type" } else { "is of another kind" };
    let detail = format!("the body {found}; send JSON with Content-Type: application/json");
    Problem::new(415, "not-json", "The body is not JSON", detail)
}

pub fn no_such_path(path: &str) -> Problem {
    let path: String = path.chars().take(200).collect();
    let detail = format!("there is nothing at {path}; /v1/openapi.json describes what there is");
    Problem::new(404, "no-such-path", "There is no such path", detail)
}

/// The path takes other methods than this; `has_head` tells whether HEAD is answered where GET is.
pub fn method(allowed: &[Method], has_head: bool) -> Problem {
    let mut names: Vec<&str> = Vec::new();
    for method in allowed {
        match method {
            Method::Get if has_head => names.extend(["GET", "HEAD"]),
            Method::Get => names.push("GET"),
            Method::Post => names.push("POST"),
            Method::Patch => names.push("PATCH"),
            Method::Delete => names.push("DELETE"),
            Method::Head | Method::Put | Method::Options | Method::Other => {}
        }
    }
    let names = names.join(", ");
    let detail = format!("this path takes {names}");
    Problem::new(405, "method", "The method is not allowed", detail).header("Allow", names)
}

pub fn no_such_job(api: &Api, name: &str) -> Problem {
    let names = api.board.names();
    let detail = match nearest(name, &names) {
        Some(near) => format!("there is no job {name}; did you mean {near}?"),
        None => format!("there is no job {name}; {}", there_are(&names)),
    };
    Problem::new(404, "no-such-job", "There is no such job", detail)
}

/// Some of the names, for those who have forgotten them.
fn there_are(names: &[Arc<str>]) -> String {
    const SOME: usize = 8;
    let some: Vec<&str> = names.iter().take(SOME).map(AsRef::as_ref).collect();
    match names.len().checked_sub(SOME) {
        _ if names.is_empty() => "there is none yet".to_owned(),
        None | Some(0) => format!("there is {}", some.join(", ")),
        Some(more) => format!("there is {} and {more} more", some.join(", ")),
    }
}

pub fn no_such_run(id: &str) -> Problem {
    let detail = format!("there is no run {id} on record; GET /v1/runs lists the last ones");
    Problem::new(404, "no-such-run", "There is no such run", detail)
}

/// It is there, and cannot be on the agenda.
fn is_broken(name: &str, why: &str) -> Problem {
    let detail = format!("{name} is not valid any more: {why}. Mend jobs.toml, or remove the job");
    Problem::new(409, "broken", "The job is broken", detail)
}

/// The loop said no.
pub fn refused(api: &Api, refusal: Refusal) -> Problem {
    let detail = refusal.to_string();
    match refusal {
        Refusal::Agenda(CommandError::NoSuchJob(name)) => {
            let broken = api.board.job(&name, clock::wall()).and_then(|view| view.reason);
            broken.map_or_else(|| no_such_job(api, &name), |why| is_broken(&name, &why))
        }
        Refusal::Agenda(CommandError::Active { by, .. }) => {
            Problem::new(409, "active", "Enough runs of the job are active", detail)
                .with("run", by.0)
        }
        Refusal::Agenda(CommandError::Stopping) => {
            Problem::new(503, "stopping", "The daemon is stopping", detail)
                .header("Retry-After", "5")
        }
        Refusal::FromFile(_) => {
            Problem::new(409, "from-jobs-toml", "The job is defined in jobs.toml", detail)
        }
        Refusal::Exists(_) => Problem::new(409, "job-exists", "The job exists", detail),
        Refusal::Invalid(faults) => {
            let first = faults.first().map(|fault| fault.detail.clone()).unwrap_or_default();
            let detail = match faults.len() {
                0 | 1 => first,
                _ if more_than_shown(&faults) => format!("{first}, and many more"),
                more => format!("{first}, and {} more", more - 1),
            };
            Problem::new(422, "invalid", "The job is not valid", detail)
                .with("errors", json!(faults))
        }
        Refusal::Silent => Problem::new(503, "silent", "The daemon does not answer", detail)
            .header("Retry-After", "5"),
    }
}

/// Whether the last of the faults only tells how many others there are.
fn more_than_shown(faults: &[Fault]) -> bool {
    faults.len() > MOST_FAULTS
}

/// The disk said no. What it is about is in the log, where paths may be shown.
pub fn state(error: &StateError) -> Problem {
    log::error!("the API needs the state: {error}");
    let detail = "the state cannot be read or written now; the log of the daemon tells why";
    Problem::new(503, "state", "The state is not available", detail).header("Retry-After", "5")
}

pub fn invalid(pointer: &str, detail: &str, help: &str) -> Problem {
    let errors = json!([{"pointer": pointer, "detail": detail, "help": help}]);
    Problem::new(422, "invalid", "The job is not valid", detail).with("errors", errors)
}

/// That somebody else changes the jobs is no reason to fail.
pub fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A name as the agenda knows it.
pub fn name(text: &str) -> Arc<str> {
    Arc::from(text)
}
