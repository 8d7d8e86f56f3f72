//! One id as both servers have it now, for those who ask.

use std::sync::Arc;

use super::context::{Context, RunError, Stop};
use super::counters::{Counters, target};
use crate::config::Job;
use crate::reconcile::{Amount, Id, Row};
use crate::stores::mysql::{MysqlErrorKind, Narrow, Next, Select, Session};

/// What the servers say of an id.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The target's name where the query has several, else empty.
    pub target: Arc<str>,
    /// What Redis holds; `None`: nothing.
    pub redis: Option<Amount>,
    /// What the query gives; `None`: it has no such id.
    pub mysql: Option<Amount>,
}

impl Seen {
    /// How far the counter is off: truth − counter, absent being 0 (R1).
    #[must_use]
    pub fn drift(&self) -> Amount {
        self.mysql.unwrap_or(Amount::ZERO).minus(self.redis.unwrap_or(Amount::ZERO))
    }

    /// The same in words. One look proves nothing: a write may be in flight.
    #[must_use]
    pub fn verdict(&self) -> String {
        let drift = self.drift();
        if drift.is_zero() {
            return "true".to_owned();
        }
        format!("differs by {} now; the next run looks", drift.abs())
    }
}

/// Looks at an id in both servers, first in MySQL.
///
/// # Errors
/// A server cannot be reached, or the query fails.
pub fn look(job: &Job, id: &Id, context: &Context<'_>) -> Result<Vec<Seen>, Stop> {
    let mysql = truth(job, id, context)?;
    let mut seen = Vec::new();
    for name in super::targets(job) {
        let Some(place) = target(job, &name) else { continue };
        let mut counters = Counters::open(job, place, context.deadline)?;
        let redis = counters.read([id].into_iter())?.into_iter().next().flatten();
        seen.push(Seen { target: name, redis, mysql });
    }
    Ok(seen)
}

/// The truth of one id. A narrowed query is fast; only what it does not find, and where the query
/// cannot be narrowed, the whole of it is read (it need not find what the query itself returns).
fn truth(job: &Job, id: &Id, context: &Context<'_>) -> Result<Option<Amount>, Stop> {
    match narrowed(job, id, context) {
        Err(Stop::Failed(RunError::Mysql(error)))
            if matches!(
                error.kind,
                MysqlErrorKind::BadQuery(_) | MysqlErrorKind::Server { code: 1060, .. }
            ) => {}
        Ok(None) => {}
        found => return found,
    }
    let mut session = Session::open(&job.work.mysql, job.limits.timeout)?;
    let whole = Select { query: job.work.query.clone(), only: None };
    Ok(find(&mut session, whole, id, context)?.1)
}

fn narrowed(job: &Job, id: &Id, context: &Context<'_>) -> Result<Option<Amount>, Stop> {
    let query = &job.work.query;
    let mut session = Session::open(&job.work.mysql, job.limits.timeout)?;
    // No row at all: only the name of the first column is asked for.
    let nothing =
        Select { query: format!("SELECT * FROM ({query}\n) recountd_q LIMIT 0"), only: None };
    let (column, _) = find(&mut session, nothing, id, context)?;
    let only = Some(Narrow { column, ids: vec![id.clone()] });
    Ok(find(&mut session, Select { query: query.clone(), only }, id, context)?.1)
}

/// Reads a result to the row of `id`, or to its end; gives the name of its first column as well.
fn find(
    session: &mut Session,
    select: Select,
    id: &Id,
    context: &Context<'_>,
) -> Result<(String, Option<Amount>), Stop> {
    let mut column = String::new();
    let mut found = None;
    session.start(select)?;
    loop {
        context.check()?;
        match session.next(Context::SLICE)? {
            Next::Columns(first) => column = first,
            Next::Rows(rows) => {
                for (cell, value) in rows {
                    let row = Row::for_score(cell, value)?;
                    if row.id == *id {
                        found = Some(row.truth);
                    }
                }
            }
            Next::End => return Ok((column, found)),
            Next::Nothing => {}
        }
    }
}
