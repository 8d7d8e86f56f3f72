//! Putting back what a run wrote, by compare-and-set (R10).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::context::{Context, Stop};
use super::counters::Counters;
use super::gate::Gate;
use super::ledger::Claims;
use crate::clock;
use crate::config::{Family, Job};
use crate::reconcile::{Amount, Change, Id, Proof, Repair};

/// How often a counter that moves between reading and writing is tried.
const TRIES: u32 = 20;

/// What came of it.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Undone {
    /// Counters that were put back; in a dry run, those that would be.
    pub undone: u64,
    /// Counters that were left alone because they no longer hold what the run wrote.
    pub moved: u64,
    /// The first of these.
    pub samples: Vec<Moved>,
}

/// A counter that has moved since the run wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    /// The id.
    pub id: Id,
    /// What the run wrote; `None`: it removed the counter.
    pub wrote: Option<Amount>,
    /// What it holds now.
    pub holds: Option<Amount>,
}

impl Undone {
    /// The most samples.
    pub const MAX_SAMPLES: usize = 10;

    fn moved(&mut self, repair: &Repair, holds: Option<Amount>) {
        self.moved += 1;
        if self.samples.len() < Self::MAX_SAMPLES {
            let id = repair.id.clone();
            self.samples.push(Moved { id, wrote: repair.after, holds });
        }
    }
}

/// Undoes repairs that are given with the oldest first. It begins with the newest, so that a counter
/// that the run wrote twice comes all the way back; where the newer one is left alone, the older one
/// is as well. What was done before an error stays done, and is in the ledger.
pub fn undo(
    job: &Job,
    repairs: &[Repair],
    claims: &mut dyn Claims,
    context: &Context<'_>,
) -> (Undone, Result<(), Stop>) {
    let mut undone = Undone::default();
    let ended = job.work.families.iter().try_for_each(|family| {
        let (left_alone, supposed) = (HashSet::new(), HashMap::new());
        let claims = &mut *claims;
        let undo = Undo { claims, context, undone: &mut undone, left_alone, supposed };
        undo.family(job, family, repairs)
    });
    (undone, ended)
}

/// The undoing of the repairs of one target.
struct Undo<'a, 'r> {
    claims: &'a mut dyn Claims,
    context: &'a Context<'a>,
    undone: &'a mut Undone,
    /// Ids of which a repair was left alone: what an older one wrote is not there any more.
    left_alone: HashSet<&'r Id>,
    /// What ids would hold by now, in a dry run.
    supposed: HashMap<&'r Id, Option<Amount>>,
}

/// A repair and what undoes it.
type Planned<'r> = (&'r Repair, Change);

impl<'r> Undo<'_, 'r> {
    fn family(mut self, job: &Job, family: &Family, repairs: &'r [Repair]) -> Result<(), Stop> {
        let name = family.name();
        let _gate = Gate::enter(job, family, self.context)?;
        let mut counters = Counters::open(job, &family.target, self.context.deadline)?;
        counters.check()?;
        let mut repairs = repairs.iter().rev().filter(|repair| repair.target == name).peekable();
        loop {
            // An older repair of the same counter waits for the next portion: what becomes of it
            // depends on this one.
            let (most, mut ids) = (counters.portion(), HashSet::new());
            let mut portion = Vec::new();
            while portion.len() < most
                && let Some(repair) = repairs.next_if(|repair| ids.insert(&repair.id))
            {
                portion.push(repair);
            }
            if portion.is_empty() {
                return Ok(());
            }
            self.put_back(&mut counters, portion)?;
        }
    }

    fn put_back(
        &mut self,
        counters: &mut Counters<'_>,
        mut left: Vec<&'r Repair>,
    ) -> Result<(), Stop> {
        for attempt in 1..=TRIES {
            self.context.check()?;
            let planned = self.plan(counters, left)?;
            if self.context.mode.dry_run {
                self.undone.undone += planned.len() as u64;
                let changes = planned.into_iter().map(|(repair, change)| (&repair.id, change.to));
                self.supposed.extend(changes);
                return Ok(());
            }
            let (failed, pause) = self.write(counters, planned)?;
            left = Vec::new();
            for (repair, change) in failed {
                if attempt == TRIES { self.leave(repair, change.from) } else { left.push(repair) }
            }
            self.context.wait(pause)?;
            if left.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// What is to be written; the rest is left alone. What was added in motion is claimed.
    fn plan(
        &mut self,
        counters: &mut Counters<'_>,
        repairs: Vec<&'r Repair>,
    ) -> Result<Vec<Planned<'r>>, Stop> {
        let held = counters.read(repairs.iter().map(|repair| &repair.id))?;
        // After the reading: what was written until then by another run is not taken for ours.
        let overwritten = self.claims.overwritten(&repairs);
        let mut planned: Vec<Planned<'r>> = Vec::new();
        for ((repair, holds), overwritten) in repairs.into_iter().zip(held).zip(overwritten) {
            let holds = self.supposed.get(&repair.id).copied().unwrap_or(holds);
            let is_open = !overwritten && !self.left_alone.contains(&repair.id);
            match repair.undoing(holds).filter(|_| is_open) {
                Some(change) => planned.push((repair, change)),
                None => self.leave(repair, holds),
            }
        }
        let mut claimed = self.claims.claim(&relative(&planned)).into_iter();
        let (ours, taken) = planned.into_iter().partition(|(repair, _)| {
            !repair.proof.is_relative() || claimed.next().unwrap_or(false)
        });
        let taken: Vec<Planned<'_>> = taken;
        taken.into_iter().for_each(|(repair, change)| self.leave(repair, change.from));
        Ok(ours)
    }

    /// Writes; gives what had moved meanwhile, and how long to leave Redis alone. Where no answer
    /// comes, what was claimed stays so.
    fn write(
        &mut self,
        counters: &mut Counters<'_>,
        planned: Vec<Planned<'r>>,
    ) -> Result<(Vec<Planned<'r>>, Duration), Stop> {
        let changes: Vec<Change> = planned.iter().map(|(_, change)| change.clone()).collect();
        let (done, pause) = counters.set(&changes)?;
        let at = clock::wall();
        let (mut written, mut failed) = (Vec::new(), Vec::new());
        for ((repair, change), done) in planned.into_iter().zip(done) {
            if !done {
                failed.push((repair, change));
                continue;
            }
            let Change { id, from: before, to: after, .. } = change;
            let target = Arc::clone(&repair.target);
            written.push(Repair { target, id, before, after, at, proof: Proof::Undo });
        }
        self.undone.undone += written.len() as u64;
        self.context.ledger.wrote(&written);
        self.claims.release(&relative(&failed));
        Ok((failed, pause))
    }

    fn leave(&mut self, repair: &'r Repair, holds: Option<Amount>) {
        self.left_alone.insert(&repair.id);
        self.undone.moved(repair, holds);
    }
}

fn relative<'r>(planned: &[Planned<'r>]) -> Vec<&'r Repair> {
    let repairs = planned.iter().map(|(repair, _)| *repair);
    repairs.filter(|repair| repair.proof.is_relative()).collect()
}
