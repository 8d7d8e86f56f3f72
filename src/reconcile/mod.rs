//! What a reconcile run decides, as pure functions over values.
//! Nothing here reads a clock or talks to a server.

mod amount;
mod compare;
mod confirm;
mod guard;
mod hot;
mod id;
mod pace;
mod repair;
mod row;

pub use amount::Amount;
pub use compare::{Comparison, Suspect, compare};
pub use confirm::{
    ROUNDS, SNAPSHOTS, Truth, Verdict, Watch, longest_gap, reading_interval, reading_pause,
    snapshot_distance,
};
pub use guard::{Refusal, Scope, check_changes, check_result};
pub use hot::{Correction, SANDWICHES, Samples};
pub use id::{Id, IdSet};
pub use pace::Pace;
pub use repair::{Change, Proof, Repair};
pub use row::{Cell, Row, read_id, read_truth};
