//! A cron expression in a zone: where its slots lie.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::error::CronError;
use super::fields::Fields;
use super::parse::parse;
use super::wall::Wall;
use super::words;
use super::zone::{self, MAX_OFFSET, WINDOW};

const SECOND: TimeDelta = TimeDelta::seconds(1);

/// A cron expression, read on the wall clock of a zone (S1, S2, S3).
#[derive(Clone, Debug)]
pub struct Cron {
    source: String,
    zone: Tz,
    fields: Fields,
    /// Shared, because a trigger is cloned with its job and the matcher is the large part of it.
    wall: Arc<Wall>,
}

/// Two are equal when they were written alike and read in one zone; a reload asks nothing else.
impl PartialEq for Cron {
    fn eq(&self, other: &Cron) -> bool {
        self.source == other.source && self.zone == other.zone
    }
}

impl Cron {
    /// Read an expression of S1 for the wall clock of `zone`.
    ///
    /// # Errors
    /// The first thing wrong with the text, with its bytes; also an expression that names no day that any year has.
    pub fn parse(text: &str, zone: Tz) -> Result<Cron, CronError> {
        let parsed = parse(text)?;
        let wall =
            Wall::new(&parsed.fields).map_err(|kind| CronError { span: parsed.dates, kind })?;
        Ok(Cron { source: text.to_owned(), zone, fields: parsed.fields, wall: Arc::new(wall) })
    }

    /// The matcher alone, which knows nothing of zones.
    pub(super) fn wall(&self) -> &Wall {
        &self.wall
    }

    /// The zone whose wall clock the expression is read on (S2).
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The expression as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether neither minute nor hour starts with `*`, which decides what daylight saving does to the job (S3).
    pub fn is_fixed_time(&self) -> bool {
        self.fields.fixed_time
    }

    /// The first slot strictly after `t` (S4), on a whole second.
    pub(super) fn next_after(&self, t: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let t = within_calendar(t)?;
        if self.fields.fixed_time { self.next_fixed(t) } else { self.next_wildcard(t) }
    }

    /// A fixed-time job follows the high-water mark of the wall clock: a slot is the first instant at which the clock
    /// has got as far as a matching time. A gap that carries the clock past several makes one slot of them, at its
    /// end, and the second pass of a fold carries it past none (S3).
    fn next_fixed(&self, t: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let w = self.wall.next_after(zone::high_water(self.zone, t)?)?;
        zone::first_reaching(self.zone, w)
    }

    /// A wildcard job runs at every instant whose wall-clock time matches: in both passes of a fold, and never for
    /// what a gap swallows (S3).
    fn next_wildcard(&self, t: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut from = t.checked_add_signed(SECOND)?;
        loop {
            let to = from.checked_add_signed(WINDOW)?;
            let mut first_match = None;
            for segment in zone::segments(self.zone, from, to) {
                let Some(w) = self.wall.next_after(segment.wall_before()?) else {
                    continue;
                };
                if let Some(slot) = segment.first_at_or_after(w) {
                    return Some(slot);
                }
                first_match = first_match.or(Some(w));
            }
            // What matches next is either swallowed by a gap in the window or comes after it. No offset reaches
            // `MAX_OFFSET`, so no earlier instant can show that time, and rare jobs skip the years between.
            let near = first_match?.and_utc().checked_sub_signed(MAX_OFFSET)?;
            from = to.max(near);
        }
    }

    /// The latest slot in `(floor, now]`: step back from `now` by doubling, then halve.
    pub(super) fn latest_between(
        &self,
        floor: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let due_after = |t: DateTime<Utc>| self.next_after(t).filter(|slot| *slot <= now);
        let mut latest = due_after(floor)?;
        let mut back = SECOND;
        let mut none_after = now;
        while let Some(t) = now.checked_sub_signed(back).filter(|t| *t > latest) {
            if let Some(slot) = due_after(t) {
                latest = slot;
                break;
            }
            none_after = t;
            back = back.checked_mul(2)?;
        }
        // The latest slot lies in `latest..=none_after`, and slots are whole seconds.
        while none_after - latest > SECOND {
            let middle = latest + (none_after - latest) / 2;
            match due_after(middle) {
                Some(slot) => latest = slot,
                None => none_after = middle,
            }
        }
        due_after(latest).or(Some(latest))
    }

    /// How many slots lie in `(floor, now]`, at most `limit`.
    pub(super) fn count_between(
        &self,
        floor: DateTime<Utc>,
        now: DateTime<Utc>,
        limit: u32,
    ) -> u32 {
        let mut count = 0;
        let mut t = floor;
        while count < limit
            && let Some(slot) = self.next_after(t).filter(|slot| *slot <= now)
        {
            count += 1;
            t = slot;
        }
        count
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", words::fields(&self.fields), self.zone)
    }
}

/// `t` on a whole second and near the years that have slots. Before them it moves up to where the first could be,
/// which keeps the arithmetic on it far from the ends of time; after them there is nothing left to find.
fn within_calendar(t: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match t.year() {
        ..1969 => Some(NaiveDate::from_ymd_opt(1969, 1, 1)?.and_time(NaiveTime::MIN).and_utc()),
        1969..=2101 => DateTime::from_timestamp(t.timestamp(), 0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The slots strictly after `t`, as many as `want` has and in the same words.
    fn check(expression: &str, zone: &str, t: &str, want: &[&str]) {
        let cron = Cron::parse(expression, zone.parse().unwrap()).unwrap();
        let mut t: DateTime<Utc> = t.parse().unwrap();
        for slot in want {
            let next = cron.next_after(t);
            assert_eq!(next, Some(slot.parse().unwrap()), "{expression} in {zone} after {t}");
            t = next.unwrap();
        }
    }

    #[test]
    fn the_next_slot_is_strictly_after_to_the_nanosecond() {
        let at_three = ["2026-11-21T19:00:00Z"];
        check("0 3 * * *", "Asia/Shanghai", "2026-11-21T18:59:59.999999999Z", &at_three);
        check("0 3 * * *", "Asia/Shanghai", "2026-11-20T19:00:00Z", &at_three);
        check("0 3 * * *", "Asia/Shanghai", "2026-11-20T19:00:00.000000001Z", &at_three);
    }

    #[test]
    fn a_fixed_time_that_a_gap_swallows_runs_once_at_its_end() {
        let berlin = ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"];
        check("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", &berlin);
        let many = ["2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"];
        check("5-55/10 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", &many[..1]);
        check("0 2,3,4 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", &many);
        let midnight = ["2018-11-03T03:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"];
        check("0 0 * * *", "America/Sao_Paulo", "2018-11-03T00:00:00Z", &midnight);
        let skipped_day = ["2011-12-29T13:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T13:00:00Z"];
        check("0 3 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", &skipped_day);
    }

    #[test]
    fn a_fixed_time_that_a_fold_repeats_runs_in_the_first_pass_only() {
        let slots = ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"];
        check("30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", &slots);
        check("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", &slots[1..]);
        let half = ["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"];
        check("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T14:00:00Z", &half);
        check("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T15:05:00Z", &half[1..]);
    }

    #[test]
    fn a_wildcard_runs_at_every_matching_minute_that_exists() {
        let gap = ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"];
        check("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", &gap);
        let nothing_in_it = ["2026-03-30T00:00:00Z"];
        check("*/30 2 * * *", "Europe/Berlin", "2026-03-28T01:30:00Z", &nothing_in_it);
        let fold = ["2026-10-25T00:15:00Z", "2026-10-25T01:15:00Z", "2026-10-25T02:15:00Z"];
        check("15 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", &fold);
        check("15 */2 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", &fold[..2]);
    }

    #[test]
    fn rare_days_are_found_across_the_years() {
        let leap = ["2096-02-29T00:00:00Z"];
        check("0 0 29 2 *", "UTC", "2092-02-29T00:00:00Z", &leap);
        check("* 0 29 2 *", "UTC", "2092-02-29T00:59:00Z", &leap);
        let on_sunday = ["2032-02-29T00:00:00Z", "2060-02-29T00:00:00Z"];
        check("0 0 29 2 */7", "UTC", "2004-02-29T00:00:00Z", &on_sunday);
        let either = ["2026-02-13T00:00:00Z", "2026-02-20T00:00:00Z"];
        check("0 0 13 * FRI", "UTC", "2026-02-06T00:00:00Z", &either);
    }

    #[test]
    fn slots_end_with_the_year_2100_and_start_with_1970() {
        for expression in ["0 0 29 2 *", "* * 29 2 *"] {
            let cron = Cron::parse(expression, Tz::UTC).unwrap();
            assert_eq!(cron.next_after("2096-03-01T00:00:00Z".parse().unwrap()), None);
        }
        check("0 0 1 1 *", "Asia/Tokyo", "0000-01-01T00:00:00Z", &["1969-12-31T15:00:00Z"]);
        check("* * * * *", "UTC", "-1000-01-01T00:00:00Z", &["1970-01-01T00:00:00Z"]);
        check("59 23 31 12 *", "America/Lima", "2100-12-01T00:00:00Z", &["2101-01-01T04:59:00Z"]);
    }
}
