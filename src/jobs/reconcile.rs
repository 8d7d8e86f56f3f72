//! The kind `reconcile`: recounts one family of counters.

mod confirm;
mod discover;
mod rebuild;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::context::{Context, Progress, RunError, Stop};
use crate::clock;
use crate::config::{Ghosts, Job, Reconcile, Target};
use crate::reconcile::{Amount, Change, Id, Pace, Refusal, Repair, Scope};
use crate::report::{Findings, Outcome};
use crate::stores::mysql::Session;
use crate::stores::redis::{KeyKind, Redis};

/// Runs the job once. What was found before an error stays found.
pub fn run(job: &Job, context: &Context<'_>) -> (Findings, Result<Outcome, Stop>) {
    let mut findings = Findings::default();
    let ended = recount(job, context, &mut findings);
    (findings, ended)
}

fn recount(job: &Job, context: &Context<'_>, findings: &mut Findings) -> Result<Outcome, Stop> {
    let work = &job.work;
    let Target::Zset { key } = &work.target else {
        return Err(RunError::Target(work.target.to_string()).into());
    };
    let mut redis = Redis::open(&work.redis, context.deadline)?;
    let mysql = Session::open(&work.mysql, job.limits.timeout)?;
    if redis.is_read_only_replica()? {
        return Err(Refusal::ReadOnlyReplica { server: work.redis.name.clone() }.into());
    }
    let pace = Pace::new(redis.round_trip(clock::monotonic)?, work.redis_share.factor());
    let seen = clock::monotonic();
    let kind = redis.key_kind(key)?;
    if let KeyKind::Other(found) = kind {
        return Err(Refusal::WrongType { key: key.clone(), found }.into());
    }
    let held = redis.held(key)?;
    let (force, last_good) = (context.mode.force, context.ledger.last_good());
    let scope = Scope { guard: work.guard, force, held, rows: 0, last_good };
    let column = String::new();
    let (narrow, written) = (true, 0);
    let mut run = Run {
        job,
        work,
        key,
        context,
        scope,
        mysql,
        redis,
        pace,
        column,
        narrow,
        findings,
        written,
    };
    let suspects = if kind == KeyKind::Absent { run.rebuild(seen) } else { run.discover() };
    match suspects.and_then(|suspects| run.confirm(suspects)) {
        Ok(()) => Ok(run.outcome()),
        // Refused means that nothing was written; what turns up later than that is a failure.
        Err(Stop::Refused(refusal)) if run.written > 0 => Err(RunError::Late(refusal).into()),
        Err(stop) => Err(stop),
    }
}

/// One run on its way.
struct Run<'a> {
    job: &'a Job,
    work: &'a Reconcile,
    key: &'a str,
    context: &'a Context<'a>,
    scope: Scope,
    mysql: Session,
    redis: Redis,
    pace: Pace,
    /// The name of the query's first column; known once a query has answered.
    column: String,
    /// Whether the query may be narrowed to a few ids; false once that has failed.
    narrow: bool,
    findings: &'a mut Findings,
    /// Counters written or removed so far.
    written: u64,
}

impl Run<'_> {
    fn outcome(&self) -> Outcome {
        let found = &*self.findings;
        let removable = if self.work.ghosts == Ghosts::Remove { found.ghosts } else { 0 };
        if self.context.mode.dry_run && found.drifted + removable > 0 {
            Outcome::Drift
        } else if found.unproven > 0 {
            Outcome::Partial
        } else if found.drifted + removable > 0 {
            Outcome::Repaired
        } else {
            Outcome::Clean
        }
    }

    /// Reads the counters of some ids, at the pace that Redis is given.
    fn read<'i>(&mut self, ids: impl Iterator<Item = &'i Id>) -> Result<Vec<Option<Amount>>, Stop> {
        let begun = clock::monotonic();
        let counters = self.redis.read(self.key, ids)?;
        let pause = self.pace.after_read(counters.len(), since(begun));
        self.context.wait(pause)?;
        Ok(counters)
    }

    /// Writes proven changes, or only takes note of them in a dry run; gives those whose counter
    /// has moved since it was proven.
    fn apply(&mut self, changes: Vec<Change>) -> Result<Vec<Change>, Stop> {
        let mut moved = Vec::new();
        let mut changes = changes.into_iter();
        loop {
            let portion: Vec<Change> = changes.by_ref().take(Pace::WRITES).collect();
            if portion.is_empty() {
                return Ok(moved);
            }
            self.context.check()?;
            let done = if self.context.mode.dry_run {
                vec![true; portion.len()]
            } else {
                let begun = clock::monotonic();
                let done = self.redis.compare_and_set(self.key, &portion)?;
                let pause = self.pace.after_command(since(begun));
                self.context.wait(pause)?;
                done
            };
            let mut repairs = Vec::new();
            let at = clock::wall();
            for (change, done) in portion.into_iter().zip(done) {
                if done {
                    self.note(&change);
                    let Change { id, from: before, to: after, proof } = change;
                    let target = Arc::from("");
                    repairs.push(Repair { target, id, before, after, at, proof });
                } else {
                    moved.push(change);
                }
            }
            if !self.context.mode.dry_run {
                self.context.ledger.wrote(&repairs);
            }
        }
    }

    fn note(&mut self, change: &Change) {
        self.findings.add(change);
        if self.context.mode.dry_run {
            return;
        }
        self.written += 1;
        let written = self.written;
        self.findings.repaired += u64::from(!change.removes());
        let level = if written <= LOGGED { log::Level::Info } else { log::Level::Debug };
        let text = |amount: Option<Amount>| amount.map_or("absent".to_owned(), |a| a.to_string());
        let (job, id) = (&self.job.name, &change.id);
        log::log!(level, "{job}: repaired id {id}: {} -> {}", text(change.from), text(change.to));
        if written == LOGGED + 1 {
            log::info!("{job}: more repairs follow; RUST_LOG=debug shows them all");
        }
    }

    fn tell(&self, progress: Progress) {
        (self.context.progress)(progress);
    }
}

/// Repairs of one run that are logged at level info; the others at level debug.
const LOGGED: u64 = 10;

fn since(begun: Instant) -> Duration {
    clock::monotonic().saturating_duration_since(begun)
}
