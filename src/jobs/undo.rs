//! Putting back what a run wrote, by compare-and-set (R10).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::context::{Context, Stop};
use super::counters::Counters;
use crate::clock;
use crate::config::Job;
use crate::reconcile::{Amount, Change, Id, Proof, Repair};

/// How often a counter that moves between reading and writing is tried.
const TRIES: u32 = 20;

/// What is to be undone.
pub struct Undo<'a> {
    /// The repairs, the oldest first.
    pub repairs: &'a [Repair],
    /// Counters that another run has written since. A difference that was added to one of them
    /// must not be taken off again: what is there now came from the other run's proof.
    pub written_since: &'a HashSet<(Arc<str>, Id)>,
}

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

/// Undoes, the newest repair first, so that a counter that the run wrote twice comes all the way
/// back. What was done before an error stays done, and is in the ledger.
pub fn undo(job: &Job, what: &Undo<'_>, context: &Context<'_>) -> (Undone, Result<(), Stop>) {
    let mut undone = Undone::default();
    let ended = job.work.families.iter().try_for_each(|family| {
        let name = family.name();
        let mut counters = Counters::open(job, &family.target, context.deadline)?;
        counters.check()?;
        let mut repairs = what.repairs.iter().rev().filter(|repair| repair.target == name);
        loop {
            let portion: Vec<&Repair> = repairs.by_ref().take(counters.portion()).collect();
            if portion.is_empty() {
                return Ok(());
            }
            put_back(&mut counters, portion, what, context, &mut undone)?;
        }
    });
    (undone, ended)
}

fn put_back(
    counters: &mut Counters<'_>,
    mut left: Vec<&Repair>,
    what: &Undo<'_>,
    context: &Context<'_>,
    undone: &mut Undone,
) -> Result<(), Stop> {
    for attempt in 1..=TRIES {
        context.check()?;
        let held = counters.read(left.iter().map(|repair| &repair.id))?;
        let mut now: HashMap<&Id, Option<Amount>> =
            left.iter().map(|repair| &repair.id).zip(held).collect();
        let mut planned: Vec<(&Repair, Change)> = Vec::new();
        for repair in left {
            let holds = now.get(&repair.id).copied().flatten();
            let counter = (Arc::clone(&repair.target), repair.id.clone());
            let closed = repair.proof.is_relative() && what.written_since.contains(&counter);
            match repair.undoing(holds).filter(|_| !closed) {
                Some(change) => {
                    // The next older repair of the same counter finds it put back.
                    now.insert(&repair.id, change.to);
                    planned.push((repair, change));
                }
                None => undone.moved(repair, holds),
            }
        }
        if context.mode.dry_run {
            undone.undone += planned.len() as u64;
            return Ok(());
        }
        let changes: Vec<Change> = planned.iter().map(|(_, change)| change.clone()).collect();
        let (done, pause) = counters.set(&changes)?;
        let at = clock::wall();
        left = Vec::new();
        let mut written = Vec::new();
        for ((repair, change), done) in planned.into_iter().zip(done) {
            if done {
                let Change { id, from: before, to: after, .. } = change;
                let target = Arc::clone(&repair.target);
                written.push(Repair { target, id, before, after, at, proof: Proof::Undo });
            } else if attempt == TRIES {
                undone.moved(repair, change.from);
            } else {
                left.push(repair);
            }
        }
        undone.undone += written.len() as u64;
        context.ledger.wrote(&written);
        context.wait(pause)?;
        if left.is_empty() {
            break;
        }
    }
    Ok(())
}
