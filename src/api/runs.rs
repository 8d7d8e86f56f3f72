//! The log of runs.

use serde::Serialize;

use super::{Api, Call, trouble};
use crate::admin::http::Reply;
use crate::admin::problem::Problem;
use crate::state::{self, Row, Shown};

/// How many runs are given if nobody says.
const USUAL: u32 = 30;
/// The most that are given at once.
const MOST: u32 = 1_000;

pub fn of_job(api: &Api, call: &Call<'_>) -> Result<Reply, Problem> {
    let job = call.arg();
    let runs = list(api, call, Some(job))?;
    // A job that is gone may still have runs on record.
    if runs.is_empty() && api.board.job(job, call.now).is_none() {
        return Err(trouble::no_such_job(api, job));
    }
    Ok(Reply::json(200, &List { runs }))
}

pub fn all(api: &Api, call: &Call<'_>) -> Result<Reply, Problem> {
    Ok(Reply::json(200, &List { runs: list(api, call, None)? }))
}

#[derive(Serialize)]
struct List {
    runs: Vec<Shown>,
}

pub fn one(api: &Api, call: &Call<'_>) -> Result<Reply, Problem> {
    let id = call.arg();
    let number = id.parse().map_err(|_| trouble::no_such_run(id))?;
    let found = state::run(&api.board.about().state, number, call.now);
    // A run that has just begun may not have reached the disk, or there may be no disk.
    let row = match (found, api.board.run(number)) {
        (Ok(Some(row)), _) | (_, Some(row)) => row,
        (Ok(None), None) => return Err(trouble::no_such_run(id)),
        (Err(error), None) => return Err(trouble::state(&error)),
    };
    Ok(Reply::json(200, &shown(api, row)))
}

fn list(api: &Api, call: &Call<'_>, job: Option<&str>) -> Result<Vec<Shown>, Problem> {
    let limit = match call.query("limit") {
        None => USUAL,
        Some(text) => text.parse().ok().filter(|n| (1..=MOST).contains(n)).ok_or_else(|| {
            trouble::bad_request(format!("`limit` must be a whole number from 1 to {MOST}"))
        })?,
    };
    let rows = state::runs(&api.board.about().state, job, limit, call.now);
    let rows = rows.map_err(|error| trouble::state(&error))?;
    Ok(rows.into_iter().map(|row| shown(api, row)).collect())
}

fn shown(api: &Api, row: Row) -> Shown {
    let zone = api.board.zone(&row.job);
    row.shown(zone)
}
