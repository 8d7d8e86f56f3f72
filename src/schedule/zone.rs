//! Between instants and the wall clock of a zone.
//!
//! A wall-clock time may name no instant (in a gap) or two (in a fold), but an instant has exactly one offset. So
//! everything here asks in that direction only, and finds the changes of the offset by looking for them.

use chrono::{DateTime, FixedOffset, NaiveDateTime, Offset, SubsecRound, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// No zone was ever this far from UTC; the farthest is Manila before 1844, 15:56 behind.
pub(super) const MAX_OFFSET: TimeDelta = TimeDelta::hours(16);

/// Longer than any offset has jumped (24 h, where the date line moved), so that nothing before it matters.
pub(super) const WINDOW: TimeDelta = TimeDelta::hours(36);

/// Since 1969 no zone has changed its offset twice within six days, so looking this often misses no change.
const PROBE: TimeDelta = TimeDelta::hours(24);

const SECOND: TimeDelta = TimeDelta::seconds(1);

/// A span of time in which a zone keeps one offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) start: DateTime<Utc>,
    /// Exclusive.
    pub(super) end: DateTime<Utc>,
    offset: FixedOffset,
}

impl Segment {
    /// What the wall clock shows one second before the segment, were its offset in force already.
    pub(super) fn wall_before(&self) -> Option<NaiveDateTime> {
        self.wall(self.start)?.checked_sub_signed(SECOND)
    }

    /// The first instant of the segment at which the wall clock shows `w` or later.
    pub(super) fn first_at_or_after(&self, w: NaiveDateTime) -> Option<DateTime<Utc>> {
        let u = w.checked_sub_offset(self.offset)?.and_utc().max(self.start);
        (u < self.end).then_some(u)
    }

    /// The last whole second that the wall clock shows in the segment.
    fn wall_reached(&self) -> Option<NaiveDateTime> {
        self.wall(self.end)?.checked_sub_signed(SECOND)
    }

    fn wall(&self, u: DateTime<Utc>) -> Option<NaiveDateTime> {
        u.naive_utc().checked_add_offset(self.offset)
    }
}

fn offset_at(zone: Tz, u: DateTime<Utc>) -> FixedOffset {
    zone.offset_from_utc_datetime(&u.naive_utc()).fix()
}

/// The segments of `zone` that make up `from..to`, in order. Both ends must be whole seconds.
pub(super) fn segments(
    zone: Tz,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> impl Iterator<Item = Segment> {
    let mut start = from;
    std::iter::from_fn(move || {
        if start >= to {
            return None;
        }
        let offset = offset_at(zone, start);
        let segment = Segment { start, end: end_of(zone, start, to, offset), offset };
        start = segment.end;
        Some(segment)
    })
}

/// The first instant after `start` at which the offset is no longer `offset`, or `to`.
fn end_of(zone: Tz, start: DateTime<Utc>, to: DateTime<Utc>, offset: FixedOffset) -> DateTime<Utc> {
    let mut same = start;
    while same < to {
        let probe = same.checked_add_signed(PROBE).map_or(to, |probe| probe.min(to));
        if offset_at(zone, probe) != offset {
            return change_between(zone, same, probe, offset);
        }
        same = probe;
    }
    to
}

/// Halve the span between an instant that still has `offset` and one that has not, down to the second.
fn change_between(
    zone: Tz,
    mut same: DateTime<Utc>,
    mut changed: DateTime<Utc>,
    offset: FixedOffset,
) -> DateTime<Utc> {
    loop {
        let half = TimeDelta::seconds((changed - same).num_seconds() / 2);
        if half.is_zero() {
            return changed;
        }
        let middle = same + half;
        if offset_at(zone, middle) == offset {
            same = middle;
        } else {
            changed = middle;
        }
    }
}

/// The latest time that the wall clock has shown up to the whole second `t`, which in the second pass of a fold is
/// the end of the first. `None` only at the ends of time.
pub(super) fn high_water(zone: Tz, t: DateTime<Utc>) -> Option<NaiveDateTime> {
    let (from, to) = (t.checked_sub_signed(WINDOW)?, t.checked_add_signed(SECOND)?);
    segments(zone, from, to).filter_map(|segment| segment.wall_reached()).max()
}

/// The first instant at which the wall clock shows `w` or later: the end of a gap that swallows `w`, and the first
/// pass of a fold that repeats it (S3). `None` only at the ends of time.
pub(super) fn first_reaching(zone: Tz, w: NaiveDateTime) -> Option<DateTime<Utc>> {
    let near = w.and_utc();
    let from = near.checked_sub_signed(MAX_OFFSET)?.trunc_subsecs(0);
    let to = near.checked_add_signed(MAX_OFFSET)?.trunc_subsecs(0);
    segments(zone, from, to).find_map(|segment| segment.first_at_or_after(w))
}

/// The instant that a date-time without an offset names in a zone.
///
/// In a gap it is the first instant after the gap, in a fold the first pass, as for fixed-time cron jobs (S3). Within
/// 16 hours of the ends of chrono's time, some 262,000 years away, the zone is left out of account.
pub fn local_to_utc(local: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    first_reaching(zone, local).unwrap_or_else(|| local.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_times_become_the_first_instant_that_reaches_them() {
        let check = |local: &str, zone: &str, want: &str| {
            let got = local_to_utc(local.parse().unwrap(), zone.parse().unwrap());
            assert_eq!(got, want.parse::<DateTime<Utc>>().unwrap(), "{local} in {zone}");
        };
        check("2026-12-01T03:00:00", "Asia/Shanghai", "2026-11-30T19:00:00Z");
        check("2026-12-01T03:00:00.25", "UTC", "2026-12-01T03:00:00.25Z");
        // A gap of an hour, entered, inside, and left.
        check("2026-03-29T01:59:59", "Europe/Berlin", "2026-03-29T00:59:59Z");
        check("2026-03-29T02:00:00", "Europe/Berlin", "2026-03-29T01:00:00Z");
        check("2026-03-29T02:59:59", "Europe/Berlin", "2026-03-29T01:00:00Z");
        check("2026-03-29T03:00:00", "Europe/Berlin", "2026-03-29T01:00:00Z");
        check("2026-03-29T03:00:01", "Europe/Berlin", "2026-03-29T01:00:01Z");
        // A fold of an hour: its first pass, its last second, and the first time that occurs once again.
        check("2026-10-25T02:30:00", "Europe/Berlin", "2026-10-25T00:30:00Z");
        check("2026-10-25T02:59:59", "Europe/Berlin", "2026-10-25T00:59:59Z");
        check("2026-10-25T03:00:00", "Europe/Berlin", "2026-10-25T02:00:00Z");
        // Half an hour, a gap at midnight, and a day that does not exist.
        check("2026-10-04T02:15:00", "Australia/Lord_Howe", "2026-10-03T15:30:00Z");
        check("2018-11-04T00:30:00", "America/Sao_Paulo", "2018-11-04T03:00:00Z");
        check("2011-12-30T12:00:00", "Pacific/Apia", "2011-12-30T10:00:00Z");
    }

    #[test]
    fn the_ends_of_time_are_answered_without_panic() {
        for local in [NaiveDateTime::MIN, NaiveDateTime::MAX] {
            assert_eq!(local_to_utc(local, Tz::Pacific__Kiritimati), local.and_utc());
        }
        for t in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            assert_eq!(high_water(Tz::Pacific__Apia, t), None);
        }
    }

    #[test]
    fn segments_join_up_and_end_at_the_second_of_the_change() {
        let (from, to) = ("2026-03-28T00:00:00Z", "2026-03-30T00:00:00Z");
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        let found: Vec<Segment> = segments(Tz::Europe__Berlin, from, to).collect();
        let change = "2026-03-29T01:00:00Z".parse().unwrap();
        let ends: Vec<_> = found.iter().map(|segment| (segment.start, segment.end)).collect();
        assert_eq!(ends, [(from, change), (change, to)]);
    }
}
