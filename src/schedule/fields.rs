//! The fields of a cron expression, as sets of numbers.

use std::fmt;

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A field of a cron expression (S1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// 0 to 59; only in expressions of 6 fields.
    Second,
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// 1 to 31.
    DayOfMonth,
    /// 1 to 12, or `JAN` to `DEC`.
    Month,
    /// 0 to 7, where 0 and 7 are both Sunday, or `SUN` to `SAT`.
    DayOfWeek,
}

impl Field {
    /// The least number that the field can hold.
    pub fn first(self) -> u32 {
        match self {
            Field::Second | Field::Minute | Field::Hour | Field::DayOfWeek => 0,
            Field::DayOfMonth | Field::Month => 1,
        }
    }

    /// The greatest number that the field's set can hold; for the day of week 6, since 7 is folded into 0.
    pub fn last(self) -> u32 {
        match self {
            Field::Second | Field::Minute => 59,
            Field::Hour => 23,
            Field::DayOfMonth => 31,
            Field::Month => 12,
            Field::DayOfWeek => 6,
        }
    }

    /// The greatest number that may be written in the field, which is also where `*` ends: cron(8) counts the days
    /// of the week from 0 to 7, so `*/7` is Sunday twice, not Sunday alone by chance.
    pub(super) fn last_written(self) -> u32 {
        match self {
            Field::DayOfWeek => 7,
            _ => self.last(),
        }
    }

    /// The names that stand for the numbers from [`Field::first`] on.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Field::Month => &MONTHS,
            Field::DayOfWeek => &WEEKDAYS,
            _ => &[],
        }
    }

    /// The number that a name of three letters stands for, in any case.
    pub(super) fn number_of(self, name: &str) -> Option<u32> {
        let known = (self.first()..).zip(self.names());
        known.into_iter().find(|(_, n)| n.eq_ignore_ascii_case(name)).map(|(number, _)| number)
    }

    /// The three-letter name that a longer word such as `monday` was meant to be.
    pub(super) fn abbreviation(self, word: &str) -> Option<&'static str> {
        let start = word.get(..3)?;
        self.names().iter().find(|name| name.eq_ignore_ascii_case(start)).copied()
    }

    /// What the field takes, as advice.
    pub(super) fn accepts(self) -> String {
        let forms = "`*`, a list, a range or a step";
        match self {
            Field::DayOfWeek => {
                format!("use 0 to 7 (0 and 7 are Sunday) or SUN to SAT, {forms}")
            }
            Field::Month => format!("use 1 to 12 or JAN to DEC, {forms}"),
            _ => format!("use {} to {}, {forms}", self.first(), self.last()),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Field::Second => "second",
            Field::Minute => "minute",
            Field::Hour => "hour",
            Field::DayOfMonth => "day of month",
            Field::Month => "month",
            Field::DayOfWeek => "day of week",
        })
    }
}

/// A set of the numbers 0 to 63, which is more than any field needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Values(u64);

impl Values {
    /// Every number that the field can hold.
    pub(super) fn all(field: Field) -> Values {
        (field.first()..=field.last()).collect()
    }

    pub(super) fn contains(self, number: u32) -> bool {
        1_u64.checked_shl(number).is_some_and(|bit| self.0 & bit != 0)
    }

    /// The numbers, the least first.
    pub(super) fn iter(self) -> impl Iterator<Item = u32> {
        (0..u64::BITS).filter(move |number| self.contains(*number))
    }

    pub(super) fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// The number, when there is exactly one.
    pub(super) fn single(self) -> Option<u32> {
        (self.len() == 1).then_some(self.0.trailing_zeros())
    }
}

impl Extend<u32> for Values {
    fn extend<I: IntoIterator<Item = u32>>(&mut self, numbers: I) {
        for number in numbers {
            self.0 |= 1_u64.checked_shl(number).unwrap_or(0);
        }
    }
}

impl FromIterator<u32> for Values {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Values {
        let mut values = Values::default();
        values.extend(numbers);
        values
    }
}

/// A parsed expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) seconds: Values,
    pub(super) minutes: Values,
    pub(super) hours: Values,
    pub(super) days_of_month: Values,
    pub(super) months: Values,
    /// 0 is Sunday; 7 does not occur.
    pub(super) days_of_week: Values,
    /// Neither minute nor hour starts with `*` (S3).
    pub(super) fixed_time: bool,
    /// Neither day field starts with `*`, so that one match of the two is enough (S1).
    pub(super) either_day: bool,
}

/// Which days an expression names, once both day fields and the rule that joins them are read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Days {
    Every,
    OfMonth(Values),
    OfWeek(Values),
    Either { of_month: Values, of_week: Values },
    Both { of_month: Values, of_week: Values },
}

impl Fields {
    /// The day rule of S1. A field that names every day decides alone under the either-day rule, and decides
    /// nothing when both must match.
    pub(super) fn days(&self) -> Days {
        let (of_month, of_week) = (self.days_of_month, self.days_of_week);
        let any_date = of_month == Values::all(Field::DayOfMonth);
        let any_weekday = of_week == Values::all(Field::DayOfWeek);
        match (any_date, any_weekday, self.either_day) {
            (true, true, _) | (true, false, true) | (false, true, true) => Days::Every,
            (true, false, false) => Days::OfWeek(of_week),
            (false, true, false) => Days::OfMonth(of_month),
            (false, false, true) => Days::Either { of_month, of_week },
            (false, false, false) => Days::Both { of_month, of_week },
        }
    }
}
