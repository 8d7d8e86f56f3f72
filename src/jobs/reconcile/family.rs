//! One family of counters on its way through a run.

use super::{Context, Ghosts, Stop};
use crate::config::{Family, Job, Target};
use crate::jobs::Gate;
use crate::jobs::counters::is_absent;
use crate::reconcile::{Change, Comparison, IdSet, Row, Scope, Suspect};
use crate::stores::redis::Redis;

/// Most ids without a counter that are confirmed one by one; more of them are filled in by a
/// stream of their truth, which keeps none of them in memory (R6).
const FEW: usize = 20_000;

/// What is known of one family so far.
pub struct Count<'a> {
    pub family: &'a Family,
    /// What becomes of its ghosts; `None`: they are not looked for.
    pub ghosts: Option<Ghosts>,
    pub scope: Scope,
    /// Shared with all who write to these counters.
    pub gate: Option<Gate>,
    /// Ids that looked wrong, and of which nothing is known yet.
    pub suspects: Vec<Suspect>,
    /// How many of them had no counter.
    absent: usize,
    /// Ids that had no counter, where they are many.
    pub missing: Missing,
    /// Rows that wait to be compared.
    pub waiting: Vec<Row>,
    /// Changes that wait to be written (R6).
    pub ready: Vec<Change>,
    /// Rows that have a counter.
    pub present: u64,
    /// Rows whose counter is not 0.
    pub nonzero: u64,
    /// Counters that Redis held and that were written or removed, or would have been (R7).
    pub touched: u64,
    /// Ghosts that are removed, or would be.
    pub removable: u64,
}

/// Which ids have no counter and are to be filled in.
pub enum Missing {
    /// Few enough to be among the suspects.
    Few,
    /// These.
    Many(IdSet),
    /// All of them: the key is absent.
    All,
}

impl<'a> Count<'a> {
    /// Looks at the key.
    pub fn begin(
        family: &'a Family,
        job: &Job,
        context: &Context<'_>,
        redis: &mut Redis,
    ) -> Result<Self, Stop> {
        let (work, target) = (&job.work, &family.target);
        let gate = Gate::enter(job, family, context)?;
        let missing = if is_absent(redis, target)? { Missing::All } else { Missing::Few };
        let held = redis.held(target)?;
        let (force, last_good) = (context.mode.force, context.ledger.last_good());
        let scope = Scope { guard: work.guard, force, held, rows: 0, truths: 0, last_good };
        let ghosts = family.ghosts(work.ghosts);
        Ok(Self {
            family,
            ghosts,
            scope,
            gate,
            missing,
            suspects: Vec::new(),
            absent: 0,
            waiting: Vec::new(),
            ready: Vec::new(),
            present: 0,
            nonzero: 0,
            touched: 0,
            removable: 0,
        })
    }

    pub fn target(&self) -> &'a Target {
        &self.family.target
    }

    /// Takes what a comparison found.
    pub fn take(&mut self, found: Comparison) {
        self.present += found.present;
        self.nonzero += found.nonzero;
        for suspect in found.suspects {
            match &mut self.missing {
                Missing::Many(ids) if !suspect.in_redis => {
                    ids.insert(&suspect.id);
                }
                _ => {
                    self.absent += usize::from(!suspect.in_redis);
                    self.suspects.push(suspect);
                }
            }
        }
        if self.absent > FEW {
            self.absent = 0;
            let (known, absent): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.suspects).into_iter().partition(|s| s.in_redis);
            let mut ids = IdSet::default();
            absent.iter().for_each(|suspect| {
                ids.insert(&suspect.id);
            });
            self.suspects = known;
            self.missing = Missing::Many(ids);
        }
    }

    /// How many counters Redis holds, as it tells it, of those that belong to a row: a zset tells
    /// how many are 0, a hash does not.
    pub fn matched(&self) -> u64 {
        if matches!(self.target(), Target::Zset { .. }) { self.nonzero } else { self.present }
    }

    /// How many of the counters that Redis tells of are 0, and so as good as absent (R1).
    pub fn zeros(&self) -> u64 {
        self.matched() - self.nonzero
    }

    /// How many counters that Redis holds would change or go if every suspect were wrong (R7).
    pub fn at_stake(&self) -> u64 {
        let removes = self.ghosts == Some(Ghosts::Remove);
        let counts = |s: &&Suspect| s.in_redis && (s.in_truth || removes);
        self.suspects.iter().filter(counts).count() as u64
    }
}
