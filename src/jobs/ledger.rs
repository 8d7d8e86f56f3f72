//! What a run has to know of earlier ones, and where it writes down what it did.

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
