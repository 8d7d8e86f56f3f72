//! The only file that asks what time it is. The core is told.

use std::time::Instant;

use chrono::{DateTime, Utc};

/// The wall clock: what slots are measured by. It can step (S12).
#[must_use]
pub fn wall() -> DateTime<Utc> {
    Utc::now()
}

/// The monotonic clock: what lengths of time are measured by. It never steps.
#[must_use]
pub fn monotonic() -> Instant {
    Instant::now()
}
