//! What can be wrong with a cron expression, and what to write instead.

use std::ops::Range;

use thiserror::Error;

use super::fields::Field;

/// A cron expression that was refused (S1).
///
/// It displays as what is wrong; [`CronError::help`] says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{kind}")]
pub struct CronError {
    /// The bytes of the expression at fault: a part of a field, a field, or all of it.
    pub span: Range<usize>,
    /// What is wrong with them.
    pub kind: CronErrorKind,
}

/// The ways in which a cron expression can be wrong (S1).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CronErrorKind {
    /// Nothing but blanks.
    #[error("the cron expression is empty")]
    Empty,
    /// Neither 5 nor 6 fields; 7 have their own kind.
    #[error("the cron expression has {found} field{}, not 5, or 6 with seconds first", if *found == 1 { "" } else { "s" })]
    FieldCount {
        /// How many there are.
        found: usize,
    },
    /// A seventh field, which other schedulers read as the year.
    #[error("crontab has no year field")]
    Year,
    /// A `TZ=` or `CRON_TZ=` prefix.
    #[error("a time zone does not belong into the cron expression")]
    ZonePrefix {
        /// What follows the `=`.
        zone: String,
    },
    /// `@reboot`.
    #[error("`@reboot` is not a time")]
    Reboot,
    /// Any other `@name`.
    #[error("unknown shorthand `{name}`")]
    Shorthand {
        /// The shorthand as written, with all that follows it.
        name: String,
    },
    /// One of `L W # ?`, which Quartz knows and crontab does not.
    #[error("`{symbol}` is not part of crontab's language")]
    Quartz {
        /// `L`, `W`, `#` or `?`.
        symbol: char,
    },
    /// A character outside ASCII.
    #[error("`{found}` (U+{:04X}) is not an ASCII character", *.found as u32)]
    NonAscii {
        /// The first such character.
        found: char,
    },
    /// A list with nothing between two commas, or at either end.
    #[error("the {field} list has an empty part")]
    EmptyPart {
        /// The field at fault.
        field: Field,
    },
    /// Neither a number nor a name nor anything else of S1.
    #[error("`{text}` cannot be read as the {field}")]
    Unknown {
        /// The field at fault.
        field: Field,
        /// The part as written.
        text: String,
    },
    /// A number outside the field's range.
    #[error("{value} is out of range for the {field}")]
    OutOfRange {
        /// The field at fault.
        field: Field,
        /// The number as written, however long.
        value: String,
    },
    /// A range whose end lies before its start.
    #[error("the {field} range runs backwards, from {low} to {high}")]
    Reversed {
        /// The field at fault.
        field: Field,
        /// The start as a number.
        low: u32,
        /// The end as a number.
        high: u32,
    },
    /// A step after a single number, as in `5/15`, on which dialects disagree.
    #[error("a step needs a range or `*`, not the single {field} {start}")]
    StepOnNumber {
        /// The field at fault.
        field: Field,
        /// The number before the `/`.
        start: u32,
        /// The number after it.
        step: u32,
    },
    /// A step of 0.
    #[error("the {field} has a step of 0")]
    StepZero {
        /// The field at fault.
        field: Field,
    },
    /// A valid expression without any moment, such as 30 February.
    #[error("this never happens: no month given has such a day")]
    NeverFires,
    /// The matcher did not take an expression that S1 allows; a fault of recountd.
    #[error("the cron matcher refused the expression: {detail}")]
    Matcher {
        /// The matcher's own words.
        detail: String,
    },
}

impl CronError {
    /// What to write instead, as half a sentence that begins in lower case.
    pub fn help(&self) -> String {
        use CronErrorKind::{
            Empty, EmptyPart, FieldCount, Matcher, NeverFires, NonAscii, OutOfRange, Quartz,
            Reboot, Reversed, Shorthand, StepOnNumber, StepZero, Unknown, Year, ZonePrefix,
        };
        match &self.kind {
            Empty | FieldCount { .. } => {
                "write `minute hour day-of-month month day-of-week`, such as `0 3 * * *`".into()
            }
            Year => "leave the year out; for a single run use `date` instead of `cron`".into(),
            ZonePrefix { zone } if zone.is_empty() => {
                "remove it, and set `timezone` for the job".into()
            }
            ZonePrefix { zone } => format!("remove it, and write `timezone = \"{zone}\"`"),
            Reboot => "give the job a time, or an `interval`".into(),
            Shorthand { .. } => {
                "use @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually, \
                 or `interval = \"10m\"` for a fixed distance"
                    .into()
            }
            Quartz { symbol: '?' } => "write `*`".into(),
            Quartz { symbol: 'L' } => {
                "crontab cannot say the last day; use day 1 of the month, or `28`".into()
            }
            Quartz { symbol: 'W' } => {
                "crontab cannot say the nearest working day; use `MON-FRI` as the day of week"
                    .into()
            }
            Quartz { .. } => {
                "crontab cannot say the nth weekday of a month; use the weekday alone".into()
            }
            NonAscii { .. } => "use plain digits, letters and `* , - / @`".into(),
            EmptyPart { .. } => "remove the comma, or write the missing value".into(),
            Unknown { field, text } => match field.abbreviation(text) {
                Some(name) => format!("write `{name}`"),
                None => field.accepts(),
            },
            OutOfRange { field, .. } => field.accepts(),
            Reversed { field, low, high } => format!("write `{}`", forwards(*field, *low, *high)),
            StepOnNumber { field, start, step } => {
                format!("write `{start}-{}/{step}`", field.last().max(*start))
            }
            StepZero { .. } => "use a step of 1 or more, such as `*/5`".into(),
            NeverFires => "use a day that the month has; 29 February comes in leap years".into(),
            Matcher { .. } => "please report this expression as a bug".into(),
        }
    }
}

/// The backward range as the two forward ones that it most likely means.
fn forwards(field: Field, low: u32, high: u32) -> String {
    let range = |a: u32, b: u32| {
        if a == b { a.to_string() } else { format!("{a}-{b}") }
    };
    match (field, low, high) {
        (Field::DayOfWeek, 7, _) => range(0, high),
        (Field::DayOfWeek, _, 0) => range(low, 7),
        _ => format!("{},{}", range(low, field.last()), range(field.first(), high)),
    }
}
