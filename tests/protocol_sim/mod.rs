//! An app, its MySQL and its Redis, and the two rules that watch them, on a virtual clock.

pub mod sampling;
pub mod tally;
pub mod traffic;
pub mod watching;
pub mod world;

use std::ops::RangeInclusive;

/// A time or a span in microseconds.
pub type Micros = u64;

pub const MS: Micros = 1_000;
pub const SECOND: Micros = 1_000_000;

/// Settle, as jobs.toml has it by default.
pub const SETTLE: Micros = SECOND;

/// When the rules begin; the app writes since 0.
pub const BEGIN: Micros = 3 * SECOND;

/// A number at random from a range.
pub fn any(random: &mut fastrand::Rng, range: &RangeInclusive<Micros>) -> Micros {
    random.u64(range.clone())
}
