//! The number of a run, as people and scripts write it.

use std::fmt;
use std::str::FromStr;

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::{Serialize, Serializer};

use crate::agenda::RunId;

/// A run of the daemon (`12`), or one of `once` or `undo` (`o3`).
///
/// The daemon alone gives out the numbers from 1 on, without asking the file. What runs beside it
/// counts downwards from −1 there, so that neither ever waits for the other. The default is no run.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunNumber(i64);

impl RunNumber {
    /// The one that comes after `last`, the lowest that was ever given, for what runs beside the daemon.
    #[must_use]
    pub(super) fn beside(last: i64) -> Self {
        Self(last.min(0).saturating_sub(1))
    }

    /// As the file has it.
    #[must_use]
    pub(super) fn raw(self) -> i64 {
        self.0
    }

    /// Whether it runs beside the daemon.
    #[must_use]
    pub(super) fn is_beside(self) -> bool {
        self.0 < 0
    }
}

impl From<RunId> for RunNumber {
    /// SQLite's numbers are signed; no daemon lives long enough to notice.
    fn from(run: RunId) -> Self {
        Self(i64::try_from(run.0).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for RunNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text =
            if self.0 < 0 { format!("o{}", self.0.unsigned_abs()) } else { self.0.to_string() };
        f.pad(&text)
    }
}

impl FromStr for RunNumber {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix('o').unwrap_or(text);
        let number = digits.parse::<u64>().ok().and_then(|number| i64::try_from(number).ok());
        let number = number.filter(|number| *number > 0);
        let sign = if digits.len() < text.len() { -1 } else { 1 };
        number
            .map(|number| Self(sign * number))
            .ok_or_else(|| "a run is named as `recountd runs` shows it, 12 or o3".to_owned())
    }
}

impl Serialize for RunNumber {
    /// A number for the daemon's, a text for the others.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.0 < 0 { to.collect_str(self) } else { to.serialize_i64(self.0) }
    }
}

impl FromSql for RunNumber {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self)
    }
}

impl ToSql for RunNumber {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_written_as_it_is_read() {
        let after_blindness = ("1795254894123", 1_795_254_894_123);
        for (text, raw) in [("1", 1), after_blindness, ("o1", -1), ("o77", -77)] {
            let number: RunNumber = text.parse().unwrap();
            assert_eq!((number.0, number.to_string().as_str()), (raw, text));
        }
        for text in ["", "0", "o0", "o", "-3", "x1", "1o", "+", "9223372036854775808"] {
            assert!(text.parse::<RunNumber>().is_err(), "{text}");
        }
    }
}
