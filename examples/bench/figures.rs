//! What is measured of a scheduler, and the plan by which both of them are measured.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How long a scheduler runs before it is measured.
pub const WARM_UP: Duration = Duration::from_secs(2);

/// How long after the measurement late starts are still waited for.
pub const STRAGGLERS: Duration = Duration::from_secs(1);

/// What was measured of one scheduler with one number of jobs; scripts/bench-apscheduler.py prints the same.
#[derive(Debug, Serialize, Deserialize)]
pub struct Figures {
    /// Which scheduler, with its version.
    pub scheduler: String,
    /// Runs that started.
    pub runs: u64,
    /// Slots that came due in the time of the measurement; each should run.
    pub slots: u64,
    /// None if nothing started.
    pub lateness: Option<Lateness>,
    /// CPU time of the whole process, as a share of one core.
    pub cpu_percent: f64,
    /// Resident memory at the end of the measurement.
    pub memory_mb: f64,
    /// The most resident memory that the process ever had, its start included.
    pub peak_mb: f64,
}

/// From the slot to the moment at which a worker starts on it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Lateness {
    /// Half of the runs start earlier.
    pub median_ms: f64,
    /// 99 of 100 runs do.
    pub p99_ms: f64,
    /// The latest.
    pub max_ms: f64,
}

impl Lateness {
    /// Of so many microseconds each; none if there is nothing to sum up.
    pub fn of(mut micros: Vec<u32>) -> Option<Self> {
        micros.sort_unstable();
        // The smallest value that is not less than this share of all of them.
        let at = |percent: usize| {
            let rank = (micros.len() * percent).div_ceil(100);
            micros.get(rank.saturating_sub(1)).map(|micros| f64::from(*micros) / 1000.0)
        };
        Some(Self { median_ms: at(50)?, p99_ms: at(99)?, max_ms: at(100)? })
    }
}

/// Until the next time that is half a second away from any full one: there no job is due, so a measurement that
/// begins and ends there holds whole slots.
pub fn until_half_second(now: DateTime<Utc>) -> Duration {
    let past = Duration::from_nanos(u64::from(now.timestamp_subsec_nanos()) % 1_000_000_000);
    let half = Duration::from_millis(500);
    if past <= half { half - past } else { half + Duration::from_secs(1) - past }
}
