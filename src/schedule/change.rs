//! What the next change of a zone's offset does to a job, told before it happens.
//!
//! The rule is S3, as Vixie cron has it (cron(8), "Daylight Saving Time and other time changes"); `cron` applies it
//! slot by slot, and here it is put into words for the span of the wall clock that a change skips or repeats.

use std::{fmt, iter};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;

use super::wall::Wall;
use super::{Trigger, zone};

/// A year, and the days by which a change that goes by the day of the week may come round later.
const AHEAD: TimeDelta = TimeDelta::days(372);

const SECOND: TimeDelta = TimeDelta::seconds(1);

/// A change of the offset of a job's zone that touches its runs (S3).
///
/// It displays as one line of local times, such as
/// `8 Mar 2026 02:30 does not exist in America/New_York: runs at 03:00`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    at: DateTime<Utc>,
    zone: Tz,
    /// The first time of the wall clock that does not exist or comes twice.
    from: NaiveDateTime,
    /// The first time behind `from` that exists and comes once. The clock jumps there over a gap.
    to: NaiveDateTime,
    effect: Effect,
}

/// How the job runs, in the four cases of S3. The times are those that its expression names from `from` to before
/// `to`, and there is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Effect {
    /// A gap skips fixed times: one run makes up for all of them at its end, where one may be due anyway.
    AtEnd { skipped: Vec<NaiveDateTime>, due_anyway: bool },
    /// A gap skips so many times of a wildcard job.
    Fewer(usize),
    /// A fold repeats fixed times.
    FirstTime { repeated: Vec<NaiveDateTime> },
    /// A fold repeats times of a wildcard job.
    BothTimes,
}

impl Change {
    /// The first instant with the new offset.
    pub fn at(&self) -> DateTime<Utc> {
        self.at
    }
}

impl Trigger {
    /// The first change of the offset after `now`, and within 372 days, that touches a run of the job.
    ///
    /// `None` when every run of that span comes once and at its time, which for an interval and a date is always so.
    pub fn next_change(&self, now: DateTime<Utc>) -> Option<Change> {
        let Trigger::Cron(cron) = self else { return None };
        // The matcher goes by the wall clock alone, and so it also names the times that a gap skips.
        let wall = cron.wall();
        let now = DateTime::from_timestamp(now.timestamp(), 0)?;
        // What the clock would show at the change without it.
        let mut left: Option<NaiveDateTime> = None;
        for segment in zone::segments(cron.zone(), now, now.checked_add_signed(AHEAD)?) {
            let entered = segment.wall_before()?.checked_add_signed(SECOND)?;
            if let Some(left) = left
                && let Some(effect) = effect(wall, cron.is_fixed_time(), left, entered)
            {
                let (from, to) = (left.min(entered), left.max(entered));
                return Some(Change { at: segment.start, zone: cron.zone(), from, to, effect });
            }
            left = entered.checked_add_signed(segment.end - segment.start);
        }
        None
    }
}

/// What it does to a job that the clock, about to show `left`, shows `entered`: forward over a gap, or back into a
/// fold. `None` when the expression names no time between the two.
fn effect(
    wall: &Wall,
    fixed_time: bool,
    left: NaiveDateTime,
    entered: NaiveDateTime,
) -> Option<Effect> {
    let at_or_after = |w: NaiveDateTime| wall.next_after(w.checked_sub_signed(SECOND)?);
    let (from, to) = (left.min(entered), left.max(entered));
    let first = at_or_after(from).filter(|w| *w < to)?;
    let times = iter::successors(Some(first), |w| wall.next_after(*w)).take_while(|w| *w < to);
    Some(match (left < entered, fixed_time) {
        (true, true) => {
            Effect::AtEnd { skipped: times.collect(), due_anyway: at_or_after(to) == Some(to) }
        }
        (true, false) => Effect::Fewer(times.count()),
        (false, true) => Effect::FirstTime { repeated: times.collect() },
        (false, false) => Effect::BothTimes,
    })
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { zone, from, to, .. } = self;
        let span = || format!("{} to {}", moment(*from, None), moment(*to, Some(from)));
        match &self.effect {
            Effect::AtEnd { skipped, due_anyway } => {
                let verb = if skipped.len() > 1 { "do" } else { "does" };
                let once = if skipped.len() > 1 || *due_anyway { " once" } else { "" };
                let anyway = if *due_anyway { ", where a run is due anyway" } else { "" };
                let end = moment(*to, skipped.last());
                let skipped = named(skipped);
                write!(f, "{skipped} {verb} not exist in {zone}: runs{once} at {end}{anyway}")
            }
            Effect::Fewer(runs) => {
                let plural = if *runs == 1 { "" } else { "s" };
                write!(f, "{} does not exist in {zone}: {runs} run{plural} fewer", span())
            }
            Effect::FirstTime { repeated } => {
                let verb = if repeated.len() > 1 { "come" } else { "comes" };
                write!(f, "{} {verb} twice in {zone}: runs the first time only", named(repeated))
            }
            Effect::BothTimes => {
                write!(f, "{} comes twice in {zone}: runs both times", span())
            }
        }
    }
}

/// Up to three times one by one; of more, the first and the last and how many they are.
fn named(times: &[NaiveDateTime]) -> String {
    match times {
        [] => String::new(),
        [a] => moment(*a, None),
        [a, b] => format!("{} and {}", moment(*a, None), moment(*b, Some(a))),
        [a, b, c] => {
            let (b, c) = (moment(*b, Some(a)), moment(*c, Some(b)));
            format!("{}, {b} and {c}", moment(*a, None))
        }
        [first, .., last] => {
            let last = moment(*last, Some(first));
            format!("{} to {last} ({} due times)", moment(*first, None), times.len())
        }
    }
}

/// A time with its date, which is left out when it is that of the time named before.
fn moment(w: NaiveDateTime, named_before: Option<&NaiveDateTime>) -> String {
    let time = w.format(if w.second() == 0 { "%H:%M" } else { "%H:%M:%S" });
    match named_before {
        Some(before) if before.date() == w.date() => time.to_string(),
        _ => format!("{} {time}", w.format("%-d %b %Y")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::schedule::{Cron, Interval};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn trigger(expression: &str, zone: Tz) -> Trigger {
        Trigger::Cron(Cron::parse(expression, zone).unwrap())
    }

    /// Each row: an expression, a zone, a day from whose start in UTC to look, and the line, where `_` is the zone.
    /// Stepping through the slots up to a day after the change must show what the line says, and nothing else.
    fn check(table: &str) {
        for row in table.trim().lines() {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let [expression, zone, day, line] = cells[..] else { panic!("{row}") };
            let (now, line) = (at(&format!("{day}T00:00:00Z")), line.replace('_', zone));
            let zone: Tz = zone.parse().unwrap();
            let job = trigger(expression, zone);
            let change = job.next_change(now);
            assert_eq!(change.as_ref().map(Change::to_string).unwrap_or_default(), line, "{row}");

            let local = |t: DateTime<Utc>| t.with_timezone(&zone).naive_local();
            let slots = |job: &Trigger, from: DateTime<Utc>, to: DateTime<Utc>| {
                let slots = iter::successors(job.next_after(from - SECOND), |t| job.next_after(*t));
                slots.take_while(|t| *t < to).collect::<Vec<_>>()
            };
            let ran = |to| slots(&job, now, to).into_iter().map(local).collect::<Vec<_>>();
            // In UTC no time is skipped or repeated, so there the same expression names them all.
            let all = trigger(expression, Tz::UTC);
            let named = |from: NaiveDateTime, to: NaiveDateTime| {
                let slots = slots(&all, from.and_utc(), to.and_utc()).into_iter();
                slots.map(|t| t.naive_utc()).collect::<Vec<_>>()
            };
            let Some(Change { at, from, to, effect, .. }) = change else {
                assert_eq!(ran(now + AHEAD), named(local(now), local(now + AHEAD)), "{row}");
                continue;
            };
            assert!(now < at && at <= now + AHEAD, "{row}");
            // Up to where the clock comes before it changes, what runs then by S3, and from where it goes on.
            let (left, then, on) = match &effect {
                Effect::AtEnd { skipped, due_anyway } => {
                    assert_eq!(*skipped, named(from, to), "{row}");
                    assert_eq!(*due_anyway, !named(to, to + SECOND).is_empty(), "{row}");
                    (from, vec![to], to + SECOND)
                }
                Effect::Fewer(runs) => {
                    assert_eq!(*runs, named(from, to).len(), "{row}");
                    (from, Vec::new(), to)
                }
                Effect::FirstTime { repeated } => {
                    assert_eq!(*repeated, named(from, to), "{row}");
                    (to, Vec::new(), to)
                }
                Effect::BothTimes => (to, named(from, to), to),
            };
            assert_eq!(local(at - SECOND) + SECOND, left, "{row}");
            let end = at + TimeDelta::days(1);
            assert_eq!(ran(end), [named(local(now), left), then, named(on, local(end))].concat());
        }
    }

    #[test]
    fn a_gap_makes_one_run_of_fixed_times_at_its_end() {
        let table = "
30 2 * * * | America/New_York | 2026-01-15 | 8 Mar 2026 02:30 does not exist in _: runs at 03:00
0,30 2 * * * | America/New_York | 2026-01-15 | 8 Mar 2026 02:00 and 02:30 do not exist in _: runs once at 03:00
15-45/15 2 * * 0 | America/New_York | 2026-01-15 | 8 Mar 2026 02:15, 02:30 and 02:45 do not exist in _: runs once at 03:00
5-59/10 1,2 * * * | America/New_York | 2026-01-15 | 8 Mar 2026 02:05 to 02:55 (6 due times) do not exist in _: runs once at 03:00
20 30 2 * * * | America/New_York | 2026-01-15 | 8 Mar 2026 02:30:20 does not exist in _: runs at 03:00
0 2,3 * * * | America/New_York | 2026-01-15 | 8 Mar 2026 02:00 does not exist in _: runs once at 03:00, where a run is due anyway
30 2 * * * | Europe/Berlin | 2026-01-01 | 29 Mar 2026 02:30 does not exist in _: runs at 03:00
15 2 * * * | Australia/Lord_Howe | 2026-07-01 | 4 Oct 2026 02:15 does not exist in _: runs at 02:30
30 2 * * * | Africa/Casablanca | 2025-03-01 | 6 Apr 2025 02:30 does not exist in _: runs at 03:00
0 0 * * * | America/Sao_Paulo | 2018-06-01 | 4 Nov 2018 00:00 does not exist in _: runs at 01:00
0 3 * * * | Pacific/Apia | 2011-12-01 | 30 Dec 2011 03:00 does not exist in _: runs at 31 Dec 2011 00:00
30 23 * * * | America/Nuuk | 2026-01-01 | 28 Mar 2026 23:30 does not exist in _: runs at 29 Mar 2026 00:00";
        check(table);
    }

    #[test]
    fn a_fold_runs_fixed_times_the_first_time_only() {
        let table = "
30 1 * * * | America/New_York | 2026-05-01 | 1 Nov 2026 01:30 comes twice in _: runs the first time only
0,30 0-2 * * * | America/New_York | 2026-05-01 | 1 Nov 2026 01:00 and 01:30 come twice in _: runs the first time only
0-45/15 1 * * * | America/New_York | 2026-05-01 | 1 Nov 2026 01:00 to 01:45 (4 due times) come twice in _: runs the first time only
30 2 * * * | Europe/Berlin | 2026-07-01 | 25 Oct 2026 02:30 comes twice in _: runs the first time only
30 2 * * * | Africa/Casablanca | 2025-01-01 | 23 Feb 2025 02:30 comes twice in _: runs the first time only
0,30 0,23 * * * | America/St_Johns | 2010-10-01 | 6 Nov 2010 23:30 and 7 Nov 2010 00:00 come twice in _: runs the first time only";
        check(table);
    }

    #[test]
    fn a_wildcard_job_loses_what_a_gap_skips_and_runs_both_times_in_a_fold() {
        let table = "
*/30 * * * * | America/New_York | 2026-01-15 | 8 Mar 2026 02:00 to 03:00 does not exist in _: 2 runs fewer
@hourly | America/New_York | 2026-01-15 | 8 Mar 2026 02:00 to 03:00 does not exist in _: 1 run fewer
* * 2 * * * | America/New_York | 2026-03-07 | 8 Mar 2026 02:00 to 03:00 does not exist in _: 3600 runs fewer
@hourly | Pacific/Apia | 2011-12-01 | 30 Dec 2011 00:00 to 31 Dec 2011 00:00 does not exist in _: 24 runs fewer
*/30 * * * * | America/New_York | 2026-05-01 | 1 Nov 2026 01:00 to 02:00 comes twice in _: runs both times
*/10 * * * * | Australia/Lord_Howe | 2026-01-01 | 5 Apr 2026 01:30 to 02:00 comes twice in _: runs both times
@hourly | America/Sao_Paulo | 2018-12-01 | 16 Feb 2019 23:00 to 17 Feb 2019 00:00 comes twice in _: runs both times
@hourly | America/St_Johns | 2010-10-01 | 6 Nov 2010 23:01 to 7 Nov 2010 00:01 comes twice in _: runs both times";
        check(table);
    }

    #[test]
    fn a_change_that_touches_no_run_is_not_told() {
        let table = "
0 3 * * * | America/New_York | 2026-01-15 |
30 2 * * MON | America/New_York | 2026-01-15 |
*/5 9-17 * * * | Europe/Berlin | 2026-01-15 |
@hourly | Asia/Shanghai | 2026-01-15 |
0 3 * * * | Pacific/Apia | 2026-01-15 |";
        check(table);
        let every_hour = Trigger::Interval(Interval::new(Duration::from_secs(3_600), None));
        for other in [every_hour, Trigger::Date(at("2026-03-08T07:00:00Z"))] {
            assert_eq!(other.next_change(at("2026-03-01T00:00:00Z")), None);
        }
    }

    #[test]
    fn a_change_lies_ahead_until_its_very_second() {
        let job = trigger("30 2 * * *", Tz::America__New_York);
        for (now, want) in [
            ("2026-03-08T06:59:59.999999999Z", Some("2026-03-08T07:00:00Z")),
            ("2026-03-08T07:00:00Z", Some("2027-03-14T07:00:00Z")),
        ] {
            assert_eq!(job.next_change(at(now)).map(|change| change.at()), want.map(at), "{now}");
        }
        for end in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            assert_eq!(job.next_change(end), None);
        }
    }
}
