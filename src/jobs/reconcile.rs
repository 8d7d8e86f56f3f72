//! The kind `reconcile`: recounts one family of counters, or several that one query tells of.

mod ahead;
mod apply;
mod confirm;
mod discover;
mod family;
mod fill;
mod hot;
mod readings;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::context::{Context, Progress, RunError, Stop};
use super::counters::refuse_replica;
use crate::clock;
use crate::config::{Ghosts, Job, Reconcile, Target};
use crate::reconcile::{Amount, Change, Id, Pace, check_changes};
use crate::report::{Findings, Outcome};
use crate::stores::mysql::{Select, Session};
use crate::stores::redis::Redis;
use ahead::Asked;
use family::Count;

/// Runs the job once. What was found before an error stays found.
pub fn run(job: &Job, context: &Context<'_>) -> (Findings, Result<Outcome, Stop>) {
    let mut findings = Findings::default();
    let ended = recount(job, context, &mut findings);
    (findings, ended)
}

fn recount(job: &Job, context: &Context<'_>, findings: &mut Findings) -> Result<Outcome, Stop> {
    let work = &job.work;
    let mut redis = Redis::open(&work.redis, context.deadline)?;
    let mysql = Session::open(&work.mysql, job.limits.timeout)?;
    refuse_replica(&mut redis, job)?;
    let pace = Pace::new(redis.round_trip(clock::monotonic)?, work.redis_share.factor());
    let mut counts = Vec::new();
    for family in &work.families {
        counts.push(Count::begin(family, job, context, &mut redis)?);
    }
    let mut run = Run {
        job,
        work,
        context,
        mysql,
        redis,
        pace,
        replied: clock::monotonic(),
        column: String::new(),
        narrow: true,
        findings,
        written: 0,
        line: VecDeque::new(),
        doubtful: Vec::new(),
        turns: 0,
    };
    let ended = run.reconcile(&mut counts);
    if ended.is_err() {
        run.give_up(&mut counts);
    }
    match ended {
        Ok(()) => Ok(run.outcome(&counts)),
        // Refused means that nothing was written; what turns up later than that is a failure.
        Err(Stop::Refused(refusal)) if run.written > 0 => Err(RunError::Late(refusal).into()),
        Err(stop) => Err(stop),
    }
}

/// One run on its way.
struct Run<'a> {
    job: &'a Job,
    work: &'a Reconcile,
    context: &'a Context<'a>,
    mysql: Session,
    redis: Redis,
    pace: Pace,
    /// When Redis answered last.
    replied: Instant,
    /// The name of the query's first column; known once a query has answered.
    column: String,
    /// Whether the query may be narrowed to a few ids; false once that has failed.
    narrow: bool,
    findings: &'a mut Findings,
    /// Counters written or removed so far.
    written: u64,
    /// What Redis was asked and has not answered yet, with the place of its family.
    line: VecDeque<(usize, Asked)>,
    /// Changes whose call was not answered, with the name of their family: they may be written.
    doubtful: Vec<(Arc<str>, Vec<Change>)>,
    /// Portions that could be sent ahead so far.
    turns: u64,
}

impl Run<'_> {
    /// The whole of a run. The guards come before the first write (R7): while even the worst case
    /// of every family is within them, what is proven is written at once; otherwise everything is
    /// proven first and judged as a whole. A proof does not age: the counter must still hold what
    /// it stood still at.
    fn reconcile(&mut self, counts: &mut [Count<'_>]) -> Result<(), Stop> {
        self.discover(counts)?;
        let within = |count: &Count<'_>| {
            check_changes(&count.scope, count.touched + count.at_stake()).is_ok()
        };
        if counts.iter().all(&within) {
            self.fill(counts)?;
        } else {
            let mut proven = Vec::new();
            for count in &mut *counts {
                let mut changes = Vec::new();
                self.confirm(count, Some(&mut changes))?;
                proven.push(changes);
            }
            let all: Vec<_> = counts.iter().zip(proven.iter().map(Vec::as_slice)).collect();
            self.judge(&all)?;
            self.fill(counts)?;
            for (count, changes) in counts.iter_mut().zip(proven) {
                self.apply(count, &changes)?;
            }
        }
        // What the guard has judged leaves so much room, and no more, for what comes later.
        for count in counts.iter_mut().filter(|count| within(count)) {
            self.confirm(count, None)?;
        }
        for count in counts.iter_mut().filter(|count| within(count)) {
            self.correct(count)?;
        }
        self.findings.unproven = counts.iter().map(|count| count.suspects.len() as u64).sum();
        Ok(())
    }

    /// Whether so many settles are left before the run has to be over. Ids for which they are not
    /// stay unproven, which is better than a run that times out.
    fn has_time_for(&mut self, settles: u32) -> bool {
        let left = self.context.deadline.saturating_duration_since(clock::monotonic());
        let enough = left > self.work.settle * settles;
        self.findings.hurried |= !enough;
        enough
    }

    fn outcome(&self, counts: &[Count<'_>]) -> Outcome {
        let found = &*self.findings;
        let removed: u64 = counts.iter().map(|count| count.removable).sum();
        if self.context.mode.dry_run && found.drifted + removed > 0 {
            Outcome::Drift
        } else if found.unproven > 0 {
            Outcome::Partial
        } else if found.drifted + removed > 0 {
            Outcome::Repaired
        } else {
            Outcome::Clean
        }
    }

    /// The whole query, for these columns.
    fn whole(&self, counts: &[&Count<'_>]) -> Select {
        let columns = counts.iter().filter_map(|count| count.family.column.clone()).collect();
        Select { query: self.work.query.clone(), columns, only: None }
    }

    /// Reads the counters of some ids, at the pace that Redis is given.
    fn read<'i>(
        &mut self,
        target: &Target,
        ids: impl Iterator<Item = &'i Id> + Clone,
    ) -> Result<Vec<Option<Amount>>, Stop> {
        let begun = self.pause()?;
        let counters = self.redis.read(target, ids)?;
        let elapsed = self.reply_after(begun);
        self.pace.after_read(counters.len(), elapsed);
        Ok(counters)
    }

    /// Leaves Redis alone for as long as is owed; gives the time.
    fn pause(&mut self) -> Result<Instant, Stop> {
        let pause = self.pace.pause(since(self.replied));
        self.context.wait(pause)?;
        Ok(clock::monotonic())
    }

    /// Redis has answered; gives how long it took.
    fn reply_after(&mut self, asked: Instant) -> Duration {
        self.replied = clock::monotonic();
        self.replied.saturating_duration_since(asked)
    }

    fn tell(&self, progress: Progress) {
        (self.context.progress)(progress);
    }
}

fn since(begun: Instant) -> Duration {
    clock::monotonic().saturating_duration_since(begun)
}
