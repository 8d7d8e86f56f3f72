//! What a run does, one file a kind: it drives the pure decisions against the stores.

mod attempt;
mod cancel;
mod context;
mod ledger;
pub mod reconcile;

pub use attempt::{Attempt, attempt};
pub use cancel::Cancel;
pub use context::{Context, Mode, Progress, RunError, Stop};
pub use ledger::{Forgetful, Ledger};
