//! Durations as people write them: `500ms`, `10s`, `5m`, `2h`, `1d`, and sums such as `1h30m`.

use std::time::Duration;

use thiserror::Error;

/// The units, largest first, with their length in milliseconds.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DurationError {
    /// Nothing is there.
    #[error("a duration is empty")]
    Empty,
    /// A number stands where none belongs, or none where one does.
    #[error("a duration is a whole number and a unit, not `{0}`")]
    Number(String),
    /// The unit is none of ms, s, m, h, d.
    #[error("`{0}` is not a unit of time")]
    Unit(String),
    /// Units must fall: `1h30m`, never `30m1h` or `1h1h`.
    #[error("the units of a sum fall from d to ms, each at most once")]
    Order,
    /// Longer than 2^64 ms.
    #[error("the duration is too long")]
    TooLong,
}

/// Reads a duration. The finest unit is the millisecond.
///
/// # Errors
/// See [`DurationError`]; every text is either a duration or one of these.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    let mut units_left = UNITS.as_slice();
    while !rest.is_empty() {
        let (digits, after) = split_where(rest, |c| !c.is_ascii_digit());
        let (unit, next) = split_where(after, |c| c.is_ascii_digit());
        if digits.is_empty() || unit.is_empty() {
            return Err(DurationError::Number(text.to_owned()));
        }
        if !UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(DurationError::Unit(unit.to_owned()));
        }
        let Some(place) = units_left.iter().position(|(name, _)| *name == unit) else {
            return Err(DurationError::Order);
        };
        let (now, later) = units_left.split_at(place + 1);
        let scale = now.last().map_or(1, |(_, ms)| *ms);
        units_left = later;
        let part = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(scale));
        total = part.and_then(|p| total.checked_add(p)).ok_or(DurationError::TooLong)?;
        rest = next;
    }
    Ok(Duration::from_millis(total))
}

/// Writes a duration the way [`parse`] reads it; less than a millisecond is cut off.
#[must_use]
pub fn format(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (name, ms) in UNITS {
        if left >= ms {
            text.push_str(&format!("{}{name}", left / ms));
            left %= ms;
        }
    }
    text
}

fn split_where(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_sums_of_whole_units() {
        for (text, ms) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("1h30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("0s", 0),
            ("90s", 90_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn whatever_else_is_refused_with_its_reason() {
        for (text, error) in [
            ("", DurationError::Empty),
            ("10", DurationError::Number("10".into())),
            ("s", DurationError::Number("s".into())),
            ("-5s", DurationError::Number("-5s".into())),
            ("1.5h", DurationError::Unit(".".into())),
            ("5 m", DurationError::Unit(" m".into())),
            ("5min", DurationError::Unit("min".into())),
            ("5M", DurationError::Unit("M".into())),
            ("30m1h", DurationError::Order),
            ("1h1h", DurationError::Order),
            ("99999999999999999999s", DurationError::TooLong),
            ("999999999999999999d", DurationError::TooLong),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn format_writes_what_parse_reads() {
        for text in ["500ms", "10s", "1h30m", "1d2h3m4s5ms", "0s"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
        assert_eq!(format(Duration::from_secs(90)), "1m30s");
    }
}
