//! What a run or an undo has to know of earlier runs, and where it writes down what it does.

use super::gate::Gate;
use crate::reconcile::Repair;

/// The memory that a run is given. It never fails a run: what cannot be written down is logged by
/// whoever keeps the memory.
pub trait Ledger: Sync {
    /// How many rows the result had in the last good run of the same query (R7).
    fn last_good(&self) -> Option<u64>;

    /// The gate of all runs that write to a place ([`super::place`]); `None` where there is none, and
    /// nobody knows who else writes.
    fn gate(&self, place: &str) -> Option<Gate>;

    /// Takes note of counters that were written just now, in the order of their writing (R10).
    fn wrote(&self, repairs: &[Repair]);
}

/// No memory at all.
pub struct Forgetful;

impl Ledger for Forgetful {
    fn last_good(&self) -> Option<u64> {
        None
    }

    fn gate(&self, _place: &str) -> Option<Gate> {
        None
    }

    fn wrote(&self, _repairs: &[Repair]) {}
}

/// What keeps an undo from what is another's. It answers each question for every repair, in their
/// order; where it cannot know, the answer is the one that leaves the counter alone.
pub trait Claims: Send {
    /// Whether another run has written the counter since the repair, as far as is known by now.
    fn overwritten(&mut self, repairs: &[&Repair]) -> Vec<bool>;

    /// Takes the right to take these repairs off, before that is done: what was added in motion
    /// (R5) could else be taken off twice, because no value in Redis tells that it was done. Each
    /// repair gives it once; false: it is taken.
    fn claim(&mut self, repairs: &[&Repair]) -> Vec<bool>;

    /// Gives it back, where it is certain that nothing was written.
    fn release(&mut self, repairs: &[&Repair]);
}
