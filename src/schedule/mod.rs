//! When a job is due: triggers, and the slots that they name.
//!
//! Everything here is a function of its arguments: the caller says what time it is. Instants are UTC, wall-clock
//! times belong to an IANA zone, and the way between the two is owned by `zone`. This is the only folder that names
//! the cron crate, and `wall` the only file.

mod change;
mod cron;
mod error;
mod fields;
mod interval;
mod parse;
mod wall;
mod words;
mod zone;

use std::fmt;

use chrono::{DateTime, Utc};

pub use self::change::Change;
pub use self::cron::Cron;
pub use self::error::{CronError, CronErrorKind};
pub use self::fields::Field;
pub use self::interval::Interval;
pub use self::zone::local_to_utc;

/// What makes a job due: exactly one of the three ways that a job can state (S1, S5).
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// Wall-clock times in a zone.
    Cron(Cron),
    /// A fixed distance between runs, whatever the wall clock does.
    Interval(Interval),
    /// One instant, and never again.
    Date(DateTime<Utc>),
}

impl Trigger {
    /// A text that is the same for equal triggers and no others. What is remembered of a job over a
    /// restart holds only while its trigger is still this one.
    pub fn identity(&self) -> String {
        match self {
            Trigger::Cron(cron) => format!("cron {} {}", cron.zone(), cron.source()),
            Trigger::Interval(interval) => {
                format!("interval {:?} {}", interval.every(), interval.anchor().to_rfc3339())
            }
            Trigger::Date(date) => format!("date {}", date.to_rfc3339()),
        }
    }

    /// The first slot strictly after `t` (S4), or `None` when no slot is left.
    ///
    /// It never runs backwards as `t` grows, and its cost does not depend on how much time has passed. Cron slots
    /// exist in the local years 1970 to 2100, which is as far as the cron crate and the zone tables go.
    pub fn next_after(&self, t: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Trigger::Cron(cron) => cron.next_after(t),
            Trigger::Interval(interval) => interval.next_after(t),
            Trigger::Date(date) => (*date > t).then_some(*date),
        }
    }

    /// The latest slot after `floor` and not after `now`, or `None` when that span holds none (S6).
    ///
    /// It costs the logarithm of the time passed: a daemon that slept for a year asks once, not once a slot.
    pub fn latest_between(
        &self,
        floor: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        match self {
            Trigger::Cron(cron) => cron.latest_between(floor, now),
            Trigger::Interval(interval) => interval.latest_between(floor, now),
            Trigger::Date(date) => (floor < *date && *date <= now).then_some(*date),
        }
    }

    /// How many slots lie after `floor` and not after `now`, counted up to `limit` (S6).
    ///
    /// An answer equal to `limit` means that many or more, since a cron job's slots have to be stepped through and
    /// the caller says how far that is worth it.
    pub fn count_between(&self, floor: DateTime<Utc>, now: DateTime<Utc>, limit: u32) -> u32 {
        match self {
            Trigger::Cron(cron) => cron.count_between(floor, now, limit),
            Trigger::Interval(interval) => interval.count_between(floor, now, limit),
            Trigger::Date(date) => u32::from(floor < *date && *date <= now).min(limit),
        }
    }
}

impl fmt::Display for Trigger {
    /// The trigger in words, such as `at 03:00 every day (Asia/Shanghai)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trigger::Cron(cron) => cron.fmt(f),
            Trigger::Interval(interval) => interval.fmt(f),
            Trigger::Date(date) => write!(f, "once at {}", words::instant(*date)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn cron(text: &str, zone: &str) -> Trigger {
        Trigger::Cron(Cron::parse(text, zone.parse().unwrap()).unwrap())
    }

    fn triggers() -> Vec<Trigger> {
        vec![
            cron("* * * * * *", "UTC"),
            cron("*/7 * * * *", "America/New_York"),
            cron("30 1,2 * * *", "America/New_York"),
            cron("0 3 * * *", "Asia/Shanghai"),
            cron("0 0 29 2 *", "Europe/Berlin"),
            Trigger::Interval(Interval::new(Duration::from_millis(1_500), None)),
            Trigger::Interval(Interval::new(
                Duration::from_secs(7_200),
                Some(at("2026-11-01T05:17:00Z")),
            )),
            Trigger::Date(at("2026-11-01T05:30:00.25Z")),
        ]
    }

    #[test]
    fn latest_and_count_agree_with_stepping_through_the_slots() {
        for trigger in triggers() {
            let floor = at("2026-11-01T04:50:00Z");
            for seconds in [0, 1, 59, 60, 2_400, 3_600, 7_300] {
                let now = floor + chrono::TimeDelta::milliseconds(seconds * 1_000 + 700);
                let mut slots = Vec::new();
                let mut t = floor;
                while let Some(slot) = trigger.next_after(t).filter(|slot| *slot <= now) {
                    slots.push(slot);
                    t = slot;
                }
                let latest = trigger.latest_between(floor, now);
                assert_eq!(latest, slots.last().copied(), "{trigger} up to {now}");
                let count = trigger.count_between(floor, now, 10_000);
                assert_eq!(count as usize, slots.len(), "{trigger} up to {now}");
                assert_eq!(trigger.count_between(floor, now, 2), count.min(2));
            }
        }
    }

    #[test]
    fn the_latest_slot_of_a_long_sleep_is_exact() {
        let check = |trigger: &Trigger, floor: &str, now: &str, want: Option<&str>| {
            let latest = trigger.latest_between(at(floor), at(now));
            assert_eq!(latest, want.map(at), "{trigger} in ({floor}, {now}]");
        };
        let leap = cron("0 0 29 2 *", "UTC");
        check(&leap, "1970-01-01T00:00:00Z", "2027-06-01T00:00:00Z", Some("2024-02-29T00:00:00Z"));
        check(&leap, "2024-02-29T00:00:00Z", "2027-06-01T00:00:00Z", None);
        check(&leap, "2023-01-01T00:00:00Z", "9999-01-01T00:00:00Z", Some("2096-02-29T00:00:00Z"));
        let daily = cron("0 3 * * *", "Asia/Shanghai");
        check(
            &daily,
            "2025-01-01T00:00:00Z",
            "2026-01-01T18:59:59.999Z",
            Some("2025-12-31T19:00:00Z"),
        );
        check(&daily, "2025-01-01T00:00:00Z", "2026-01-01T19:00:00Z", Some("2026-01-01T19:00:00Z"));
        check(&daily, "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", None);
    }

    #[test]
    fn the_ends_of_time_are_answered_without_panic() {
        let ends = [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC];
        for trigger in triggers() {
            assert_eq!(trigger.next_after(ends[1]), None, "{trigger}");
            for (floor, now) in [(ends[0], ends[1]), (ends[1], ends[0]), (ends[0], ends[0])] {
                trigger.next_after(floor);
                trigger.latest_between(floor, now);
                trigger.count_between(floor, now, 3);
            }
        }
    }
}
