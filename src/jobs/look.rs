//! One id as both servers have it now, for those who ask.

use std::sync::Arc;

use super::context::{Context, RunError, Stop};
use super::counters::Counters;
use crate::config::Job;
use crate::reconcile::{Amount, Id, read_id, read_truth};
use crate::stores::mysql::{Narrow, Next, Select, Session};

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
        Amount::between(self.redis, self.mysql)
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
    for (place, family) in job.work.families.iter().enumerate() {
        let mut counters = Counters::open(job, &family.target, context.deadline)?;
        let redis = counters.read([id].into_iter())?.into_iter().next().flatten();
        let mysql = mysql.as_ref().and_then(|values| values.get(place)).copied();
        seen.push(Seen { target: family.name(), redis, mysql });
    }
    Ok(seen)
}

/// What the row of an id gives for each family; `None`: the query has no such row.
type Values = Option<Vec<Amount>>;

/// The truth of one id. A narrowed query is fast; only what it does not find, and where the query
/// cannot be narrowed, the whole of it is read (it need not find what the query itself returns).
fn truth(job: &Job, id: &Id, context: &Context<'_>) -> Result<Values, Stop> {
    match narrowed(job, id, context) {
        Err(Stop::Failed(RunError::Mysql(error))) if error.kind.may_be_narrowing() => {}
        Ok(None) => {}
        found => return found,
    }
    let mut session = Session::open(&job.work.mysql, job.limits.timeout)?;
    Ok(find(&mut session, job, select(job), id, context)?.1)
}

fn narrowed(job: &Job, id: &Id, context: &Context<'_>) -> Result<Values, Stop> {
    let query = &job.work.query;
    let mut session = Session::open(&job.work.mysql, job.limits.timeout)?;
    // No row at all: only the name of the first column is asked for.
    let query = format!("SELECT * FROM ({query}\n) recountd_q LIMIT 0");
    let (column, _) = find(&mut session, job, Select { query, ..select(job) }, id, context)?;
    let only = Some(Narrow { column, ids: vec![id.clone()] });
    Ok(find(&mut session, job, Select { only, ..select(job) }, id, context)?.1)
}

/// The whole query.
fn select(job: &Job) -> Select {
    let columns = job.work.families.iter().filter_map(|family| family.column.clone()).collect();
    Select { query: job.work.query.clone(), columns, only: None }
}

/// Reads a result to the row of `id`, or to its end; gives the name of its first column as well.
fn find(
    session: &mut Session,
    job: &Job,
    select: Select,
    id: &Id,
    context: &Context<'_>,
) -> Result<(String, Values), Stop> {
    let mut column = String::new();
    let mut found = None;
    session.start(select)?;
    loop {
        context.check()?;
        match session.next(Context::SLICE)? {
            Next::Columns(first) => column = first,
            Next::Rows(rows) => {
                for (cell, values) in rows.iter() {
                    if read_id(cell)? == *id {
                        let truth = values.iter().zip(&job.work.families);
                        let truth = truth.map(|(value, f)| read_truth(id, value, &f.target));
                        found = Some(truth.collect::<Result<_, _>>()?);
                    }
                }
            }
            Next::End => return Ok((column, found)),
            Next::Nothing => {}
        }
    }
}
