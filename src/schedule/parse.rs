//! The text of a cron expression -> sets of numbers, or the reason why not (S1).

use std::ops::{Range, RangeInclusive};

use super::error::{CronError, CronErrorKind};
use super::fields::{Field, Fields, Values};

/// A parsed expression, with the place of what it says about dates for an error that only shows later.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) fields: Fields,
    pub(super) dates: Range<usize>,
}

/// Parse an expression of 5 or 6 fields, or a shorthand.
///
/// # Errors
/// The first thing wrong with it, from left to right.
pub(super) fn parse(text: &str) -> Result<Parsed, CronError> {
    if let Some((at, found)) = text.char_indices().find(|(_, c)| !c.is_ascii()) {
        return Err(CronError {
            span: at..at + found.len_utf8(),
            kind: CronErrorKind::NonAscii { found },
        });
    }
    let words = words(text);
    let (Some(first), Some(last)) = (words.first(), words.last()) else {
        return Err(CronError { span: 0..text.len(), kind: CronErrorKind::Empty });
    };
    let all = first.start..last.end();
    refuse_zone(*first)?;
    if first.text.starts_with('@') {
        let whole = text.get(all.clone()).unwrap_or(text);
        let expression = shorthand(whole).map_err(|kind| CronError { span: all.clone(), kind })?;
        return parse(expression).map(|parsed| Parsed { dates: all, ..parsed });
    }
    match *words.as_slice() {
        [minute, hour, day, month, weekday] => fields(None, minute, hour, day, month, weekday),
        [second, minute, hour, day, month, weekday] => {
            fields(Some(second), minute, hour, day, month, weekday)
        }
        [_, _, _, _, _, _, year] => Err(year.error(CronErrorKind::Year)),
        _ => Err(CronError { span: all, kind: CronErrorKind::FieldCount { found: words.len() } }),
    }
}

/// A piece of the expression, and the byte where it starts.
#[derive(Clone, Copy, Debug)]
struct Piece<'a> {
    start: usize,
    text: &'a str,
}

impl Piece<'_> {
    fn end(self) -> usize {
        self.start + self.text.len()
    }

    fn error(self, kind: CronErrorKind) -> CronError {
        CronError { span: self.start..self.end(), kind }
    }
}

fn words(text: &str) -> Vec<Piece<'_>> {
    pieces(Piece { start: 0, text }, |c| c.is_ascii_whitespace())
        .filter(|piece| !piece.text.is_empty())
        .collect()
}

fn pieces<'a>(whole: Piece<'a>, at: fn(char) -> bool) -> impl Iterator<Item = Piece<'a>> {
    let mut start = whole.start;
    whole.text.split(at).map(move |text| {
        let piece = Piece { start, text };
        // Every separator is one ASCII character, hence one byte.
        start += text.len() + 1;
        piece
    })
}

/// Some crontabs take a zone in front; here it would compete with the job's own `timezone`.
fn refuse_zone(first: Piece<'_>) -> Result<(), CronError> {
    match first.text.split_once('=') {
        Some(("TZ" | "CRON_TZ", zone)) => {
            Err(first.error(CronErrorKind::ZonePrefix { zone: zone.to_owned() }))
        }
        _ => Ok(()),
    }
}

fn shorthand(text: &str) -> Result<&'static str, CronErrorKind> {
    match text.to_ascii_lowercase().as_str() {
        "@hourly" => Ok("0 * * * *"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@weekly" => Ok("0 0 * * 0"),
        "@monthly" => Ok("0 0 1 * *"),
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        "@reboot" => Err(CronErrorKind::Reboot),
        _ => Err(CronErrorKind::Shorthand { name: text.to_owned() }),
    }
}

fn fields(
    second: Option<Piece<'_>>,
    minute: Piece<'_>,
    hour: Piece<'_>,
    day: Piece<'_>,
    month: Piece<'_>,
    weekday: Piece<'_>,
) -> Result<Parsed, CronError> {
    // The star that S1 and S3 ask about is the first character alone: `*/2` has it, `1,*` has not.
    let starred = |piece: Piece<'_>| piece.text.starts_with('*');
    let seconds = match second {
        Some(piece) => values(Field::Second, piece)?,
        None => Values::from_iter([0]),
    };
    let fields = Fields {
        seconds,
        minutes: values(Field::Minute, minute)?,
        hours: values(Field::Hour, hour)?,
        days_of_month: values(Field::DayOfMonth, day)?,
        months: values(Field::Month, month)?,
        days_of_week: values(Field::DayOfWeek, weekday)?,
        fixed_time: !starred(minute) && !starred(hour),
        either_day: !starred(day) && !starred(weekday),
    };
    Ok(Parsed { fields, dates: day.start..month.end() })
}

fn values(field: Field, piece: Piece<'_>) -> Result<Values, CronError> {
    let mut values = Values::default();
    for part in pieces(piece, |c| c == ',') {
        if part.text.is_empty() {
            // An empty part has no bytes of its own to point at.
            return Err(piece.error(CronErrorKind::EmptyPart { field }));
        }
        let (numbers, step) = range(field, part.text).map_err(|kind| part.error(kind))?;
        let folded = numbers.step_by(step).map(|number| match (field, number) {
            (Field::DayOfWeek, 7) => 0,
            _ => number,
        });
        values.extend(folded);
    }
    Ok(values)
}

/// One part of a list: the range that it spans, and its step.
fn range(field: Field, part: &str) -> Result<(RangeInclusive<u32>, usize), CronErrorKind> {
    let (base, step) = match part.split_once('/') {
        Some((base, step)) => (base, Some(step)),
        None => (part, None),
    };
    let (low, high) = if base == "*" {
        (field.first(), field.last_written())
    } else if let Some((low, high)) = base.split_once('-') {
        ends(field, number(field, low, part)?, high, part)?
    } else {
        let start = number(field, base, part)?;
        if let Some(step) = step {
            let step = step_of(field, step, part)?;
            return Err(CronErrorKind::StepOnNumber { field, start, step });
        }
        (start, start)
    };
    let step = step.map_or(Ok(1), |step| step_of(field, step, part))?;
    Ok((low..=high, usize::try_from(step).unwrap_or(usize::MAX)))
}

fn ends(field: Field, low: u32, high: &str, part: &str) -> Result<(u32, u32), CronErrorKind> {
    let last = number(field, high, part)?;
    // A week may end on Sunday: `FRI-SUN` is read as 5-7, while `SUN-SUN` stays one day.
    let named = high.eq_ignore_ascii_case("SUN");
    let last = if field == Field::DayOfWeek && named && low > 0 { 7 } else { last };
    if low > last {
        return Err(CronErrorKind::Reversed { field, low, high: last });
    }
    Ok((low, last))
}

fn number(field: Field, text: &str, part: &str) -> Result<u32, CronErrorKind> {
    if is_digits(text) {
        let allowed = field.first()..=field.last_written();
        return match text.parse() {
            Ok(number) if allowed.contains(&number) => Ok(number),
            _ => Err(CronErrorKind::OutOfRange { field, value: text.to_owned() }),
        };
    }
    field.number_of(text).ok_or_else(|| unknown(field, text, part))
}

/// A step may be as large as it likes, as in cron(8): it then names the start of its range alone.
fn step_of(field: Field, text: &str, part: &str) -> Result<u32, CronErrorKind> {
    if !is_digits(text) {
        return Err(unknown(field, text, part));
    }
    match text.parse().unwrap_or(u32::MAX) {
        0 => Err(CronErrorKind::StepZero { field }),
        step => Ok(step),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Quartz's symbols are worth their own answer, since expressions are often copied from there.
fn unknown(field: Field, text: &str, part: &str) -> CronErrorKind {
    let upper = text.to_ascii_uppercase();
    let symbol = upper.chars().find(|c| matches!(c, '?' | '#')).or_else(|| {
        let (rest, symbol) = match upper.strip_suffix('W') {
            Some(rest) => (rest, 'W'),
            None => (upper.strip_suffix('L')?, 'L'),
        };
        let quartz =
            rest.is_empty() || rest == "L" || is_digits(rest) || field.number_of(rest).is_some();
        quartz.then_some(symbol)
    });
    match symbol {
        Some(symbol) => CronErrorKind::Quartz { symbol },
        None => CronErrorKind::Unknown { field, text: part.to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cron;
    use super::*;

    #[test]
    fn every_form_of_the_dialect_is_read_as_its_numbers() {
        let check = |text: &str, field: fn(&Fields) -> Values, want: &[u32]| {
            let parsed = parse(text).unwrap();
            assert_eq!(field(&parsed.fields).iter().collect::<Vec<_>>(), want, "{text}");
        };
        check("5 * * * *", |f| f.seconds, &[0]);
        check("7 5 * * * *", |f| f.seconds, &[7]);
        check("\t7 5  * * * * ", |f| f.minutes, &[5]);
        check("1-10/3,0,59 * * * *", |f| f.minutes, &[0, 1, 4, 7, 10, 59]);
        check("*/20 * * * *", |f| f.minutes, &[0, 20, 40]);
        check("*/99999999999 * * * *", |f| f.minutes, &[0]);
        check("5-59/600 * * * *", |f| f.minutes, &[5]);
        check("0 00,007 * * *", |f| f.hours, &[0, 7]);
        check("0 0 */10 * *", |f| f.days_of_month, &[1, 11, 21, 31]);
        check("0 0 1 jan,MAR-5 *", |f| f.months, &[1, 3, 4, 5]);
        check("0 0 * * 0,7", |f| f.days_of_week, &[0]);
        check("0 0 * * 5-7", |f| f.days_of_week, &[0, 5, 6]);
        check("0 0 * * fri-Sun", |f| f.days_of_week, &[0, 5, 6]);
        check("0 0 * * SUN-TUE", |f| f.days_of_week, &[0, 1, 2]);
        check("0 0 * * SUN-SUN", |f| f.days_of_week, &[0]);
        check("0 0 * * */3", |f| f.days_of_week, &[0, 3, 6]);
        check("0 0 * * *", |f| f.days_of_week, &[0, 1, 2, 3, 4, 5, 6]);
        check("@weekly", |f| f.days_of_week, &[0]);
        check("@Midnight", |f| f.hours, &[0]);
    }

    #[test]
    fn the_first_character_of_a_field_decides_its_rule() {
        let check = |text: &str, fixed_time: bool, either_day: bool| {
            let fields = parse(text).unwrap().fields;
            assert_eq!((fields.fixed_time, fields.either_day), (fixed_time, either_day), "{text}");
        };
        check("0 3 1 * 1", true, true);
        check("*/5 3 */2 * 1", false, false);
        check("0 */2 1 * *", false, false);
        check("0,* 3 1,* * 1", true, true);
        check("* 0 3 1 * 1", true, true);
        check("@hourly", false, false);
        check("@daily", true, false);
    }

    #[test]
    fn what_is_refused_says_where_and_what_to_write() {
        let check = |text: &str, at: &str, message: &str, help: &str| {
            let error = Cron::parse(text, chrono_tz::UTC).unwrap_err();
            assert_eq!(&text[error.span.clone()], at, "{text}: {error}");
            assert!(error.to_string().contains(message), "{text}: {error}");
            assert!(error.help().contains(help), "{text}: {}", error.help());
        };
        check("", "", "empty", "0 3 * * *");
        check(" \t", " \t", "empty", "0 3 * * *");
        check("0", "0", "has 1 field, not 5", "0 3 * * *");
        check(" 0 3 * * ", "0 3 * *", "has 4 fields, not 5", "0 3 * * *");
        check("0 0 3 * * * 2027", "2027", "no year field", "`date`");
        check("0 0 3 * * * * *", "0 0 3 * * * * *", "has 8 fields", "0 3 * * *");
        check(
            "TZ=Asia/Shanghai 0 3 * * *",
            "TZ=Asia/Shanghai",
            "zone",
            "`timezone = \"Asia/Shanghai\"`",
        );
        check("CRON_TZ=UTC 0 3 * * *", "CRON_TZ=UTC", "zone", "`timezone = \"UTC\"`");
        check("@reboot", "@reboot", "not a time", "`interval`");
        check("@every 5m", "@every 5m", "shorthand `@every 5m`", "`interval = \"10m\"`");
        check("0 0 L * *", "L", "`L`", "day 1");
        check("0 0 1,28L * *", "28L", "`L`", "day 1");
        check("0 0 15W * *", "15W", "`W`", "MON-FRI");
        check("0 0 LW * *", "LW", "`W`", "MON-FRI");
        check("0 0 * * MON#2", "MON#2", "`#`", "weekday");
        check("0 0 * * friL", "friL", "`L`", "day 1");
        check("0 0 ? * MON", "?", "`?`", "write `*`");
        check("0 3 \u{2013} * *", "\u{2013}", "U+2013", "plain");
        check("0 3,,5 * * *", "3,,5", "empty part", "comma");
        check("0 3, * * *", "3,", "empty part", "comma");
        check(
            "0 0 * * monday",
            "monday",
            "`monday` cannot be read as the day of week",
            "write `MON`",
        );
        check("0 0 * foo *", "foo", "`foo` cannot be read as the month", "JAN to DEC");
        check("0 MON * * *", "MON", "read as the hour", "use 0 to 23");
        check("1-2-3 0 * * *", "1-2-3", "read as the minute", "use 0 to 59");
        check("-5 0 * * *", "-5", "read as the minute", "use 0 to 59");
        check("*5 0 * * *", "*5", "read as the minute", "use 0 to 59");
        check("*/ 0 * * *", "*/", "read as the minute", "use 0 to 59");
        check("60 0 * * *", "60", "60 is out of range for the minute", "use 0 to 59");
        check("0 24 * * *", "24", "24 is out of range for the hour", "use 0 to 23");
        check("0 0 0 * *", "0", "0 is out of range for the day of month", "use 1 to 31");
        check("0 0 1 13 *", "13", "13 is out of range for the month", "use 1 to 12");
        check("0 0 * * 5,8", "8", "8 is out of range for the day of week", "use 0 to 7");
        check("0 0 * 99999999999 *", "99999999999", "out of range", "use 1 to 12");
        check("0 1,22-2 * * *", "22-2", "backwards, from 22 to 2", "`22-23,0-2`");
        check("0 0 * * 7-1", "7-1", "backwards", "`0-1`");
        check("0 0 * * 5-0", "5-0", "backwards", "`5-7`");
        check("0 0 * * sat-mon", "sat-mon", "backwards", "`6,0-1`");
        check("5/15 * * * *", "5/15", "single minute 5", "`5-59/15`");
        check("0 0 * * MON/2", "MON/2", "single day of week 1", "`1-6/2`");
        check("*/0 * * * *", "*/0", "step of 0", "`*/5`");
        check("0 0 30 2 *", "30 2", "never", "day that the month has");
        check("0 0 31 4,6 */2", "31 4,6", "never", "day that the month has");
    }

    #[test]
    fn days_that_some_year_has_are_accepted() {
        for text in ["0 0 29 2 *", "0 0 30 2 MON", "0 0 29 2 */7", "0 0 31 1,2 *"] {
            Cron::parse(text, chrono_tz::UTC).unwrap();
        }
    }
}
