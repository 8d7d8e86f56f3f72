//! What a run does, one file a kind: it drives the pure decisions against the stores.

mod attempt;
mod cancel;
mod context;
mod counters;
mod gate;
mod ledger;
mod look;
pub mod reconcile;
mod undo;

pub use attempt::{Attempt, attempt};
pub use cancel::Cancel;
pub use context::{Context, Mode, Progress, RunError, Stop};
pub use counters::{basis, place};
pub use gate::Gate;
pub use ledger::{Claims, Forgetful, Ledger};
pub use look::{Seen, look};
pub use undo::{Moved, Undone, undo};
