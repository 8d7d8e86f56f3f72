//! A fixed distance between runs.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::words;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// Slots at a fixed distance, counted from an anchor that does not move (S5): a restart neither shifts nor starves
/// them. The anchor is the first slot; there is none before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    every: Duration,
    anchor: DateTime<Utc>,
}

impl Interval {
    /// Slots `every` so often, from `anchor` on, or from the Unix epoch on (S5).
    ///
    /// `every` is meant to be at least 1 ms; anything shorter counts as 1 ms.
    pub fn new(every: Duration, anchor: Option<DateTime<Utc>>) -> Interval {
        Interval {
            every: every.max(Duration::from_millis(1)),
            anchor: anchor.unwrap_or(DateTime::UNIX_EPOCH),
        }
    }

    /// The distance between two slots, at least 1 ms.
    pub fn every(&self) -> Duration {
        self.every
    }

    /// The first slot.
    pub fn anchor(&self) -> DateTime<Utc> {
        self.anchor
    }

    /// The first slot strictly after `t` (S4), or `None` at the end of time.
    pub(super) fn next_after(&self, t: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.slot(self.slots_until(t))
    }

    /// The latest slot in `(floor, now]`.
    pub(super) fn latest_between(
        &self,
        floor: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let last = self.slots_until(now).checked_sub(1).filter(|last| *last >= 0)?;
        self.slot(last).filter(|slot| *slot > floor)
    }

    /// How many slots lie in `(floor, now]`, at most `limit`.
    pub(super) fn count_between(
        &self,
        floor: DateTime<Utc>,
        now: DateTime<Utc>,
        limit: u32,
    ) -> u32 {
        let count = self.slots_until(now) - self.slots_until(floor);
        u32::try_from(count.max(0)).unwrap_or(u32::MAX).min(limit)
    }

    /// How many slots there are up to and including `t`, which is also the number of the next one.
    ///
    /// Nanoseconds in 128 bits hold every distance between two instants, so nothing here can overflow.
    fn slots_until(&self, t: DateTime<Utc>) -> i128 {
        let passed = t - self.anchor;
        let nanos =
            i128::from(passed.num_seconds()) * NANOS_PER_SECOND + i128::from(passed.subsec_nanos());
        if nanos < 0 { 0 } else { nanos / self.every_nanos() + 1 }
    }

    fn slot(&self, number: i128) -> Option<DateTime<Utc>> {
        let nanos = number.checked_mul(self.every_nanos())?;
        let seconds = i64::try_from(nanos.div_euclid(NANOS_PER_SECOND)).ok()?;
        let subsec = u32::try_from(nanos.rem_euclid(NANOS_PER_SECOND)).ok()?;
        self.anchor.checked_add_signed(TimeDelta::new(seconds, subsec)?)
    }

    fn every_nanos(&self) -> i128 {
        i128::from(self.every.as_secs()) * NANOS_PER_SECOND + i128::from(self.every.subsec_nanos())
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "every {}", words::duration(self.every))?;
        if self.anchor != DateTime::UNIX_EPOCH {
            write!(f, " from {}", words::instant(self.anchor))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn slots_stand_at_multiples_from_the_anchor() {
        let check = |millis: u64, anchor: Option<&str>, t: &str, want: &str| {
            let interval = Interval::new(Duration::from_millis(millis), anchor.map(at));
            assert_eq!(interval.next_after(at(t)), Some(at(want)), "{interval} after {t}");
        };
        check(600_000, None, "2026-11-22T03:04:05Z", "2026-11-22T03:10:00Z");
        check(600_000, None, "2026-11-22T03:10:00Z", "2026-11-22T03:20:00Z");
        check(600_000, None, "2026-11-22T03:09:59.999999999Z", "2026-11-22T03:10:00Z");
        check(1_500, None, "1970-01-01T00:00:01Z", "1970-01-01T00:00:01.5Z");
        check(0, None, "1970-01-01T00:00:01Z", "1970-01-01T00:00:01.001Z");
        let start = Some("2026-01-01T00:00:30Z");
        check(60_000, start, "2026-11-22T03:04:05Z", "2026-11-22T03:04:30Z");
        check(60_000, start, "2020-01-01T00:00:00Z", "2026-01-01T00:00:30Z");
    }

    #[test]
    fn a_distance_beyond_all_time_has_its_anchor_alone() {
        let interval = Interval::new(Duration::MAX, None);
        let (before, after) = (at("1960-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"));
        assert_eq!(interval.next_after(before), Some(DateTime::UNIX_EPOCH));
        assert_eq!(interval.next_after(after), None);
        assert_eq!(interval.latest_between(before, after), Some(DateTime::UNIX_EPOCH));
        assert_eq!(interval.count_between(before, after, 9), 1);
    }
}
