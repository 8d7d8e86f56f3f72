//! Times as people read them in a table: how long until or since, and when.

use chrono::{DateTime, FixedOffset, TimeDelta};

/// `in 3m`; what should have been is `3m late`.
pub(super) fn until(now: DateTime<FixedOffset>, at: DateTime<FixedOffset>) -> String {
    let left = at - now;
    if left < TimeDelta::zero() {
        format!("{} late", span(-left))
    } else {
        format!("in {}", span(left))
    }
}

/// `3m ago`. A clock that stepped back makes it `0s ago`.
pub(super) fn ago(now: DateTime<FixedOffset>, at: DateTime<FixedOffset>) -> String {
    format!("{} ago", span(now - at))
}

/// Date, time and offset.
pub(super) fn absolute(at: DateTime<FixedOffset>) -> String {
    at.format("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// A length of time to its largest unit, but never to less than two of it.
pub(super) fn span(length: TimeDelta) -> String {
    let seconds = length.num_seconds().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_by_its_distance() {
        let now = DateTime::parse_from_rfc3339("2026-11-22T03:00:00+08:00").unwrap();
        let at = |seconds| now + TimeDelta::seconds(seconds);
        for (seconds, text) in
            [(0, "in 0s"), (119, "in 119s"), (185, "in 3m"), (7_200, "in 2h"), (-130, "2m late")]
        {
            assert_eq!(until(now, at(seconds)), text);
        }
        assert_eq!(ago(now, at(-200_000)), "2d ago");
        assert_eq!(ago(now, at(5)), "0s ago");
        assert_eq!(absolute(now), "2026-11-22 03:00:00 +08:00");
    }
}
