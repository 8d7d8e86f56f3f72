//! The counters of a job for those who are not a run: where they live, and few of them at a time.

use std::time::{Duration, Instant};

use super::context::Stop;
use crate::clock;
use crate::config::{Job, Target};
use crate::reconcile::{Amount, Change, Id, Pace, Refusal};
use crate::stores::redis::{KeyKind, Redis};

/// Where the counters of a target live, as a text that is another one when they live elsewhere:
/// `zset count:user:arts in redis://127.0.0.1:6379/0`. Who we are there does not matter. `name` is
/// that of the family; `None` if the job has none such.
#[must_use]
pub fn place(job: &Job, name: &str) -> Option<String> {
    let family = job.work.families.iter().find(|family| *family.name() == *name)?;
    let url = job.work.redis.url.to_string();
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", &url));
    let server = rest.rsplit_once('@').map_or(rest, |(_, server)| server);
    let database = job.work.redis.url.socket_database();
    let database = database.map(|number| format!("?db={number}")).unwrap_or_default();
    Some(format!("{} in {scheme}://{server}{database}", family.target))
}

/// What the size of a result belongs to: the query, and where its counters live (R7). A result of
/// another query says nothing about this one's.
#[must_use]
pub fn basis(job: &Job) -> String {
    let families = job.work.families.iter();
    let places = families.filter_map(|family| place(job, &family.name()));
    [job.work.query.clone()].into_iter().chain(places).collect::<Vec<_>>().join("\n")
}

/// Refuses a Redis that takes no writes (R7).
pub(super) fn refuse_replica(redis: &mut Redis, job: &Job) -> Result<(), Stop> {
    if redis.is_read_only_replica()? {
        let server = job.work.redis.name.clone();
        return Err(Refusal::ReadOnlyReplica { server }.into());
    }
    Ok(())
}

/// Whether the key that all ids of a target share is absent; where each id has a key of its own,
/// there is none to look at. Refuses a key of another type (R7).
pub(super) fn is_absent(redis: &mut Redis, target: &Target) -> Result<bool, Stop> {
    if !target.is_shared() {
        return Ok(false);
    }
    match redis.key_kind(target)? {
        KeyKind::Absent => Ok(true),
        KeyKind::Fits => Ok(false),
        KeyKind::Other(found) => {
            let (key, wanted) = (target.key().to_owned(), target.redis_type());
            Err(Refusal::WrongType { key, wanted, found }.into())
        }
    }
}

/// The counters of one target. The only place outside of a run that names Redis.
pub struct Counters<'j> {
    job: &'j Job,
    target: &'j Target,
    redis: Redis,
    pace: Pace,
}

impl<'j> Counters<'j> {
    /// Connects; no command waits past `deadline`.
    ///
    /// # Errors
    /// Redis cannot be reached.
    pub fn open(job: &'j Job, target: &'j Target, deadline: Instant) -> Result<Self, Stop> {
        let mut redis = Redis::open(&job.work.redis, deadline)?;
        let pace = Pace::new(redis.round_trip(clock::monotonic)?, job.work.redis_share.factor());
        redis.learn_commands(target)?;
        Ok(Self { job, target, redis, pace })
    }

    /// Whether they can be written, as a run looks before it begins (R7).
    ///
    /// # Errors
    /// It is a replica, or the key is of another type.
    pub fn check(&mut self) -> Result<(), Stop> {
        refuse_replica(&mut self.redis, self.job)?;
        is_absent(&mut self.redis, self.target).map(drop)
    }

    /// What some of them hold, in their order.
    ///
    /// # Errors
    /// As every command.
    pub fn read<'i>(
        &mut self,
        ids: impl Iterator<Item = &'i Id> + Clone,
    ) -> Result<Vec<Option<Amount>>, Stop> {
        Ok(self.redis.read(self.target, ids)?)
    }

    /// How many of them to write at once.
    #[must_use]
    pub fn portion(&self) -> usize {
        self.pace.writes()
    }

    /// Writes some of them by compare-and-set; says of each whether it was written, and how long to
    /// leave Redis alone (R9).
    ///
    /// # Errors
    /// As every command.
    pub fn set(&mut self, changes: &[Change]) -> Result<(Vec<bool>, Duration), Stop> {
        let begun = clock::monotonic();
        let done = self.redis.compare_and_set(self.target, changes)?;
        let took = clock::monotonic().saturating_duration_since(begun);
        self.pace.after_write(changes.len(), took);
        Ok((done, self.pace.pause(Duration::ZERO)))
    }
}
