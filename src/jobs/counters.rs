//! The counters of a job for those who are not a run: where they live, and few of them at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::context::{RunError, Stop};
use crate::clock;
use crate::config::{Job, Target};
use crate::reconcile::{Amount, Change, Id, Pace, Refusal};
use crate::stores::redis::{KeyKind, Redis};

/// The names of a job's targets: one that is empty where the query has a single target.
#[must_use]
pub fn targets(_job: &Job) -> Vec<Arc<str>> {
    vec![Arc::from("")]
}

/// The target of that name; `None` if the job has none such.
#[must_use]
pub fn target<'j>(job: &'j Job, name: &str) -> Option<&'j Target> {
    name.is_empty().then_some(&job.work.target)
}

/// Where the counters of a target live, as a text that is another one when they live elsewhere:
/// `zset count:user:arts in redis://127.0.0.1:6379/0`. Who we are there does not matter.
#[must_use]
pub fn place(job: &Job, name: &str) -> Option<String> {
    let url = job.work.redis.url.to_string();
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", &url));
    let server = rest.rsplit_once('@').map_or(rest, |(_, server)| server);
    target(job, name).map(|target| format!("{target} in {scheme}://{server}"))
}

/// What the size of a result belongs to: the query, and where its counters live (R7). A result of
/// another query says nothing about this one's.
#[must_use]
pub fn basis(job: &Job) -> String {
    let places = targets(job).into_iter().filter_map(|name| place(job, &name));
    [job.work.query.clone()].into_iter().chain(places).collect::<Vec<_>>().join("\n")
}

/// The counters of one target. The only place outside of a run that names Redis.
pub struct Counters<'j> {
    job: &'j Job,
    key: &'j str,
    redis: Redis,
    pace: Pace,
}

impl<'j> Counters<'j> {
    /// Connects; no command waits past `deadline`.
    ///
    /// # Errors
    /// Redis cannot be reached, or this version cannot read such a target.
    pub fn open(job: &'j Job, target: &'j Target, deadline: Instant) -> Result<Self, Stop> {
        let Target::Zset { key } = target else {
            return Err(RunError::Target(target.to_string()).into());
        };
        let mut redis = Redis::open(&job.work.redis, deadline)?;
        let pace = Pace::new(redis.round_trip(clock::monotonic)?, job.work.redis_share.factor());
        Ok(Self { job, key, redis, pace })
    }

    /// Whether they can be written, as a run looks before it begins (R7).
    ///
    /// # Errors
    /// It is a replica, or the key is of another type.
    pub fn check(&mut self) -> Result<(), Stop> {
        if self.redis.is_read_only_replica()? {
            let server = self.job.work.redis.name.clone();
            return Err(Refusal::ReadOnlyReplica { server }.into());
        }
        match self.redis.key_kind(self.key)? {
            KeyKind::Other(found) => {
                Err(Refusal::WrongType { key: self.key.to_owned(), found }.into())
            }
            KeyKind::Absent | KeyKind::Zset => Ok(()),
        }
    }

    /// What some of them hold, in their order.
    ///
    /// # Errors
    /// As every command.
    pub fn read<'i>(
        &mut self,
        ids: impl Iterator<Item = &'i Id>,
    ) -> Result<Vec<Option<Amount>>, Stop> {
        Ok(self.redis.read(self.key, ids)?)
    }

    /// Writes at most [`Pace::WRITES`] of them by compare-and-set; says of each whether it was
    /// written, and how long to leave Redis alone (R9).
    ///
    /// # Errors
    /// As every command.
    pub fn set(&mut self, changes: &[Change]) -> Result<(Vec<bool>, Duration), Stop> {
        let begun = clock::monotonic();
        let done = self.redis.compare_and_set(self.key, changes)?;
        let took = clock::monotonic().saturating_duration_since(begun);
        Ok((done, self.pace.after_command(took)))
    }
}
