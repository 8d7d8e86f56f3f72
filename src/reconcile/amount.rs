//! The value of a counter, exact where it is a whole number.

use std::fmt;

use serde::{Serialize, Serializer};

/// The largest whole number that every score of a zset can hold, and its negative: 2^53.
const EXACT: i64 = 1 << 53;

/// A value of truth or of a counter.
///
/// A whole number within ±2^53 is always an `Int`, whatever it was read from, so that two amounts
/// are equal exactly when they are the same number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// A whole number.
    Int(i64),
    /// Any other number.
    Real(f64),
}

impl Amount {
    /// Nothing: what an absent counter stands for (R1).
    pub const ZERO: Self = Self::Int(0);

    /// From a score.
    #[must_use]
    pub fn from_f64(value: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
        #[expect(clippy::cast_precision_loss, reason = "2^53 has an exact f64")]
        if value.fract() == 0.0 && value.abs() <= EXACT as f64 {
            Self::Int(value as i64)
        } else {
            Self::Real(value)
        }
    }

    /// From text, as MySQL writes a DECIMAL; `None` where it is no finite number.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        // A DECIMAL may be whole and longer than what a floating-point number holds.
        let whole = text.split_once('.').filter(|(_, rest)| rest.bytes().all(|b| b == b'0'));
        let whole = whole.map_or(text, |(whole, _)| whole);
        if let Ok(whole) = whole.parse::<i64>() {
            return Some(Self::Int(whole));
        }
        // Rust also reads "nan" and "inf"; a column that says so is text, not a number.
        let is_number = |b: u8| b.is_ascii_digit() || b"+-.eE".contains(&b);
        if !text.bytes().all(is_number) {
            return None;
        }
        text.parse::<f64>().ok().filter(|v| v.is_finite()).map(Self::from_f64)
    }

    /// From the text of a hash's field or of a string, where Redis counts: a whole number as INCRBY
    /// writes it, or a decimal as INCRBYFLOAT does. `None` for anything else, which Redis would not
    /// add to either.
    #[must_use]
    pub fn from_counter(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        if text.contains('.') {
            return Self::from_text(text);
        }
        // 007 and +7 read as 7, and INCRBY refuses them.
        text.parse::<i64>().ok().filter(|n| n.to_string() == text).map(Self::Int)
    }

    /// From the text of a score, whose whole numbers are by far the most.
    #[must_use]
    pub fn from_score(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        match text.parse::<i64>() {
            Ok(whole) if (-EXACT..=EXACT).contains(&whole) => Some(Self::Int(whole)),
            _ => text.parse().ok().map(Self::from_f64),
        }
    }

    /// Whether it is 0, which equals absent (R1).
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// Whether a zset's score can hold it exactly: a whole number within ±2^53, or not whole (R7).
    #[must_use]
    pub fn fits_score(self) -> bool {
        match self {
            Self::Int(value) => (-EXACT..=EXACT).contains(&value),
            Self::Real(value) => value.is_finite() && value.fract() != 0.0,
        }
    }

    /// As a floating-point number; beyond ±2^53 the nearest.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "the nearest is what the doc promises")]
    pub fn to_f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Real(value) => value,
        }
    }

    /// `self + other`, exact as long as it can be.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        if let (Self::Int(a), Self::Int(b)) = (self, other)
            && let Some(sum) = a.checked_add(b)
        {
            return Self::Int(sum);
        }
        Self::from_f64(self.to_f64() + other.to_f64())
    }

    /// `self - other`, exact as long as it can be.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        if let (Self::Int(a), Self::Int(b)) = (self, other)
            && let Some(difference) = a.checked_sub(b)
        {
            return Self::Int(difference);
        }
        Self::from_f64(self.to_f64() - other.to_f64())
    }

    /// From one value of a counter to another, where an absent counter is 0 (R1).
    #[must_use]
    pub fn between(from: Option<Self>, to: Option<Self>) -> Self {
        to.unwrap_or(Self::ZERO).minus(from.unwrap_or(Self::ZERO))
    }

    /// Its distance from 0.
    #[must_use]
    pub fn abs(self) -> Self {
        match self {
            Self::Int(value) => {
                value.checked_abs().map_or_else(|| Self::from_f64(self.to_f64().abs()), Self::Int)
            }
            Self::Real(value) => Self::Real(value.abs()),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Real(value) => write!(f, "{value}"),
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Real(value) => serializer.serialize_f64(*value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_is_equal_however_it_was_written() {
        for (text, amount) in [
            ("5", Some(Amount::Int(5))),
            ("5.00", Some(Amount::Int(5))),
            ("-0", Some(Amount::Int(0))),
            ("-0.0", Some(Amount::Int(0))),
            ("2.5", Some(Amount::Real(2.5))),
            ("9007199254740993", Some(Amount::Int(9_007_199_254_740_993))),
            ("9007199254740993.00", Some(Amount::Int(9_007_199_254_740_993))),
            ("1e3", Some(Amount::Int(1000))),
            ("abc", None),
            ("nan", None),
            ("inf", None),
            ("1e999", None),
            ("", None),
            ("5 apples", None),
        ] {
            assert_eq!(Amount::from_text(text), amount, "{text}");
        }
        assert_eq!(Amount::from_f64(5.0), Amount::Int(5));
    }

    #[test]
    fn a_counter_is_what_redis_would_add_to() {
        for (text, amount) in [
            ("5", Some(Amount::Int(5))),
            ("-5", Some(Amount::Int(-5))),
            ("9223372036854775807", Some(Amount::Int(i64::MAX))),
            ("9223372036854775808", None),
            ("2.5", Some(Amount::Real(2.5))),
            ("5.0", Some(Amount::Int(5))),
            ("007", None),
            ("-0", None),
            ("+5", None),
            (" 5", None),
            ("", None),
            ("many", None),
        ] {
            assert_eq!(Amount::from_counter(text.as_bytes()), amount, "{text}");
        }
        assert_eq!(Amount::from_counter(b"\xff"), None);
    }

    #[test]
    fn a_score_is_read_as_redis_writes_it() {
        for (text, amount) in [
            ("5", Some(Amount::Int(5))),
            ("5.5", Some(Amount::Real(5.5))),
            ("1e+17", Some(Amount::Real(1e17))),
            ("100000000000000000", Some(Amount::Real(1e17))),
            ("inf", Some(Amount::Real(f64::INFINITY))),
            ("five", None),
        ] {
            assert_eq!(Amount::from_score(text.as_bytes()), amount, "{text}");
        }
    }

    #[test]
    fn a_score_holds_whole_numbers_up_to_two_to_the_53() {
        let fits = |text: &str| Amount::from_text(text).unwrap().fits_score();
        assert!(fits("9007199254740992") && fits("-9007199254740992") && fits("0.5"));
        assert!(!fits("9007199254740993") && !fits("-9007199254740993") && !fits("1e300"));
    }

    #[test]
    fn sums_never_overflow() {
        let most = Amount::Int(i64::MAX);
        assert_eq!(most.plus(most).to_f64(), 2.0 * most.to_f64());
        assert_eq!(Amount::Int(i64::MIN).abs().to_f64(), -(i64::MIN as f64));
        assert_eq!(Amount::Int(3).minus(Amount::Int(5)), Amount::Int(-2));
    }
}
