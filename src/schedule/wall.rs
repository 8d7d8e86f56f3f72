//! The cron crate, as a matcher over a clock without a zone.
//!
//! Over a zone with daylight saving the crate skips what a gap swallows and, inside a fold, answers with times in the
//! past. So it only ever sees wall-clock times dressed up as UTC, where neither happens.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};
use cron::Schedule;

use super::error::CronErrorKind;
use super::fields::{Days, Field, Fields, Values};

/// The years that the cron crate knows.
const FIRST_YEAR: i32 = 1970;
const LAST_YEAR: i32 = 2100;

/// The wall-clock times that an expression names.
#[derive(Debug)]
pub(super) struct Wall {
    schedule: Schedule,
    /// The crate wants both day fields to match; where either is enough, this second schedule has the weekdays and
    /// the first one the days of the month.
    or_weekdays: Option<Schedule>,
}

impl Wall {
    /// Build the matcher.
    ///
    /// # Errors
    /// `NeverFires` when no year has such a day; `Matcher` when the crate does not take the lists, which would be a
    /// fault here.
    pub(super) fn new(fields: &Fields) -> Result<Wall, CronErrorKind> {
        let any_date = Values::all(Field::DayOfMonth);
        let any_weekday = Values::all(Field::DayOfWeek);
        let (first, second) = match fields.days() {
            Days::Every => ((any_date, any_weekday), None),
            Days::OfMonth(of_month) => ((of_month, any_weekday), None),
            Days::OfWeek(of_week) => ((any_date, of_week), None),
            Days::Both { of_month, of_week } => ((of_month, of_week), None),
            Days::Either { of_month, of_week } => {
                ((of_month, any_weekday), Some((any_date, of_week)))
            }
        };
        let wall = Wall {
            schedule: schedule(fields, first)?,
            or_weekdays: second.map(|days| schedule(fields, days)).transpose()?,
        };
        match wall.next_after(NaiveDateTime::MIN) {
            Some(_) => Ok(wall),
            None => Err(CronErrorKind::NeverFires),
        }
    }

    /// The first matching time strictly after `w`, on a whole second of the years 1970 to 2100.
    pub(super) fn next_after(&self, w: NaiveDateTime) -> Option<NaiveDateTime> {
        let w = match w.year() {
            // The crate reads a negative year as a huge one, so everything before its first year starts there.
            ..FIRST_YEAR => {
                let start = NaiveDate::from_ymd_opt(FIRST_YEAR, 1, 1)?.and_time(NaiveTime::MIN);
                start.checked_sub_signed(TimeDelta::seconds(1))?
            }
            // Past its last year the crate would have nothing, and could overflow while finding out.
            FIRST_YEAR..=LAST_YEAR => w.with_nanosecond(0)?,
            _ => return None,
        };
        let next = |schedule: &Schedule| schedule.after(&w.and_utc()).next();
        let first = next(&self.schedule);
        let second = self.or_weekdays.as_ref().and_then(next);
        first.into_iter().chain(second).min().map(|next| next.naive_utc())
    }
}

fn schedule(
    fields: &Fields,
    (of_month, of_week): (Values, Values),
) -> Result<Schedule, CronErrorKind> {
    let text = [
        list(Field::Second, fields.seconds),
        list(Field::Minute, fields.minutes),
        list(Field::Hour, fields.hours),
        list(Field::DayOfMonth, of_month),
        list(Field::Month, fields.months),
        list(Field::DayOfWeek, of_week),
    ]
    .join(" ");
    text.parse()
        .map_err(|error: cron::error::Error| CronErrorKind::Matcher { detail: error.to_string() })
}

/// Days of the week go by name, because the crate counts them from 1.
fn list(field: Field, values: Values) -> String {
    if values == Values::all(field) {
        return "*".to_owned();
    }
    let text = |number: u32| match (field, usize::try_from(number)) {
        (Field::DayOfWeek, Ok(index)) => field.names().get(index).copied().map(str::to_owned),
        _ => Some(number.to_string()),
    };
    values.iter().filter_map(text).collect::<Vec<_>>().join(",")
}
