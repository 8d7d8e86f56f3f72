//! Triggers in words, for people who check a jobs.toml.
//!
//! The words must be true for every expression, so each short form is chosen by the set of numbers that a field
//! names, and never by how it was written; whatever has no short form is listed.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

use super::fields::{Days, Field, Fields, Values};

/// Up to this many times of day are named one by one.
const FEW_TIMES: u32 = 4;

/// From this many on, numbers at equal distances are abridged to `0, 7, ..., 56`.
const MANY_NUMBERS: u32 = 6;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// A week of work starts on Monday, and `Saturday and Sunday` stay together.
const WEEKDAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// An instant in RFC 3339, with as many decimals as it needs.
pub(super) fn instant(t: DateTime<Utc>) -> String {
    t.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// A duration as jobs.toml writes it, such as `1h30m`, rounded down to milliseconds.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (u64::from(duration.subsec_millis()), "ms"),
    ];
    parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect()
}

/// A cron expression in words, without its zone.
pub(super) fn fields(fields: &Fields) -> String {
    let (seconds, minutes, hours) = (fields.seconds, fields.minutes, fields.hours);
    let time = match seconds.single() {
        Some(second) if few(minutes, hours) => {
            Time::Moment(format!("at {}", join(&times(hours, minutes, second))))
        }
        Some(0) => Time::Rhythm(minutes_of_day(minutes, hours)),
        _ => seconds_of_day(seconds, minutes, hours),
    };
    let months = (fields.months != Values::all(Field::Month)).then(|| month_names(fields.months));
    let in_months = |comma: &str| match &months {
        Some(months) => format!("{comma} in {months}"),
        None => String::new(),
    };
    let days = match fields.days() {
        Days::Every => format!("{}{}", time.every_day(), in_months("")),
        Days::OfWeek(of_week) => format!("{}{}", time.on_weekdays(of_week), in_months("")),
        Days::OfMonth(of_month) => {
            let of = months.as_deref().unwrap_or("the month");
            format!(" on {} of {of}", numbered("day", of_month))
        }
        Days::Either { of_month, of_week } => format!(
            " on {} of the month or on {}{}",
            numbered("day", of_month),
            weekday_names(of_week),
            in_months(","),
        ),
        Days::Both { of_month, of_week } => format!(
            " on {} of the month when {} on {}{}",
            numbered("day", of_month),
            if of_month.len() == 1 { "it falls" } else { "they fall" },
            weekday_names(of_week),
            in_months(","),
        ),
    };
    format!("{}{days}", time.words())
}

/// The time of day in words. Only a moment reads well with `every day` behind it; a rhythm says `every` itself.
enum Time {
    Moment(String),
    Rhythm(String),
}

impl Time {
    fn words(&self) -> &str {
        match self {
            Time::Moment(words) | Time::Rhythm(words) => words,
        }
    }

    fn every_day(&self) -> &'static str {
        match self {
            Time::Moment(_) => " every day",
            Time::Rhythm(_) => "",
        }
    }

    fn on_weekdays(&self, of_week: Values) -> String {
        let names = weekday_names(of_week);
        match self {
            _ if of_week.len() > 1 => format!(", {names}"),
            Time::Moment(_) => format!(" every {names}"),
            Time::Rhythm(_) => format!(" on {names}"),
        }
    }
}

fn few(minutes: Values, hours: Values) -> bool {
    minutes.len() * hours.len() <= FEW_TIMES
}

fn times(hours: Values, minutes: Values, second: u32) -> Vec<String> {
    let time = |hour: u32, minute: u32| match second {
        0 => format!("{hour:02}:{minute:02}"),
        _ => format!("{hour:02}:{minute:02}:{second:02}"),
    };
    hours.iter().flat_map(|hour| minutes.iter().map(move |minute| time(hour, minute))).collect()
}

/// More than a few times of day, all on the full minute.
fn minutes_of_day(minutes: Values, hours: Values) -> String {
    if let Some(minute) = minutes.single() {
        return match (rhythm(Field::Hour, hours), run(hours)) {
            (Some(every), _) => format!("{every} at minute {minute}"),
            (None, Some((first, last))) => {
                format!("every hour from {first:02}:{minute:02} to {last:02}:{minute:02}")
            }
            (None, None) => format!("at minute {minute} of {}", numbered("hour", hours)),
        };
    }
    let all_day = hours == Values::all(Field::Hour);
    match (rhythm(Field::Minute, minutes), run(hours)) {
        (Some(every), _) if all_day => every,
        (Some(every), Some((first, last))) => {
            let end = minutes.iter().last().unwrap_or_default();
            format!("{every} from {first:02}:00 to {last:02}:{end:02}")
        }
        (Some(every), None) => format!("{every} of {}", numbered("hour", hours)),
        (None, _) if all_day => format!("every hour at {}", numbered("minute", minutes)),
        (None, _) => {
            format!("at {} of {}", numbered("minute", minutes), numbered("hour", hours))
        }
    }
}

/// Times of day that are not on the full minute. The minutes are always spelled out here, since `every 10 seconds of
/// every 5 minutes` would say something else.
fn seconds_of_day(seconds: Values, minutes: Values, hours: Values) -> Time {
    let all_minutes = minutes == Values::all(Field::Minute);
    let all_hours = hours == Values::all(Field::Hour);
    let every = rhythm(Field::Second, seconds);
    let at = every.clone().unwrap_or_else(|| format!("at {}", numbered("second", seconds)));
    if few(minutes, hours) {
        return Time::Moment(format!("{at} during {}", join(&times(hours, minutes, 0))));
    }
    Time::Rhythm(match (all_minutes, all_hours, every) {
        (true, true, Some(every)) => every,
        (true, true, None) => format!("{at} of every minute"),
        (true, false, _) => format!("{at} of every minute of {}", numbered("hour", hours)),
        (false, true, _) => format!("{at} of {} of every hour", numbered("minute", minutes)),
        (false, false, _) => {
            format!("{at} of {} of {}", numbered("minute", minutes), numbered("hour", hours))
        }
    })
}

/// `every minute` or `every 5 minutes`, when the numbers stand at equal distances all round the clock, from 0 on.
fn rhythm(field: Field, values: Values) -> Option<String> {
    let round = field.last() + 1;
    let distance = round.checked_div(values.len()).filter(|distance| *distance < round)?;
    let even: Values = (0..round).filter(|number| number.is_multiple_of(distance)).collect();
    match distance {
        _ if even != values => None,
        1 => Some(format!("every {field}")),
        _ => Some(format!("every {distance} {field}s")),
    }
}

/// The ends of the set, when it has no holes.
fn run(values: Values) -> Option<(u32, u32)> {
    let (first, last) = (values.iter().next()?, values.iter().last()?);
    (last - first + 1 == values.len()).then_some((first, last))
}

/// `hour 3`, or `hours 9 to 17 and 20`.
fn numbered(unit: &str, values: Values) -> String {
    let plural = if values.len() == 1 { "" } else { "s" };
    let numbers: Vec<u32> = values.iter().collect();
    format!(
        "{unit}{plural} {}",
        abridged(&numbers).unwrap_or_else(|| names(&numbers, |n| n.to_string()))
    )
}

/// `0, 7, ..., 56` for many numbers at one distance greater than 1.
fn abridged(numbers: &[u32]) -> Option<String> {
    let [first, second, .., last] = numbers else {
        return None;
    };
    let distance = second - first;
    let even = numbers.iter().zip(numbers.iter().skip(1)).all(|(a, b)| b - a == distance);
    let many = numbers.len() >= MANY_NUMBERS as usize;
    (even && many && distance > 1).then(|| format!("{first}, {second}, ..., {last}"))
}

fn month_names(months: Values) -> String {
    let positions: Vec<u32> = months.iter().map(|month| month.saturating_sub(1)).collect();
    names(&positions, |position| named(&MONTHS, position))
}

fn weekday_names(of_week: Values) -> String {
    let positions: Values = of_week.iter().map(|day| (day + 6) % 7).collect();
    names(&positions.iter().collect::<Vec<_>>(), |position| named(&WEEKDAYS, position))
}

fn named(names: &[&str], position: u32) -> String {
    names.get(position as usize).copied().unwrap_or_default().to_owned()
}

/// The numbers by name, where three or more in a row become `a to b`.
fn names(numbers: &[u32], name: impl Fn(u32) -> String) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b).flat_map(|run| match run {
        [first, _, .., last] if run.len() > 2 => {
            vec![format!("{} to {}", name(*first), name(*last))]
        }
        _ => run.iter().map(|number| name(*number)).collect(),
    });
    join(&runs.collect::<Vec<_>>())
}

/// `a`, `a and b`, `a, b and c`.
fn join(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    #[test]
    fn expressions_read_as_exact_english() {
        let check = |text: &str, want: &str| {
            assert_eq!(fields(&parse(text).unwrap().fields), want, "{text}");
        };
        check("0 3 * * *", "at 03:00 every day");
        check("30 15 3 * * *", "at 03:15:30 every day");
        check("0 8,20 * * MON-FRI", "at 08:00 and 20:00, Monday to Friday");
        check("0,30 8,20 * * *", "at 08:00, 08:30, 20:00 and 20:30 every day");
        check("0 3 * jan,jul *", "at 03:00 every day in January and July");
        check("*/5 * * * *", "every 5 minutes");
        check("* * * * *", "every minute");
        check("*/7 * * * *", "every hour at minutes 0, 7, ..., 56");
        check("@hourly", "every hour at minute 0");
        check("5 * * * *", "every hour at minute 5");
        check("5 */2 * * *", "every 2 hours at minute 5");
        check("5 1-23/2 * * *", "at minute 5 of hours 1, 3, ..., 23");
        check("0 9-17 * * *", "every hour from 09:00 to 17:00");
        check("*/5 9-17 * * *", "every 5 minutes from 09:00 to 17:55");
        check("*/20 8-10,14 * * *", "every 20 minutes of hours 8 to 10 and 14");
        check("* 3 * * *", "every minute from 03:00 to 03:59");
        check("0,7,30 9-17 * * *", "at minutes 0, 7 and 30 of hours 9 to 17");
        check("*/10 * * * * *", "every 10 seconds");
        check("* * * * * *", "every second");
        check("30 * * * * *", "at second 30 of every minute");
        check("1,2 * 9-17 * * *", "at seconds 1 and 2 of every minute of hours 9 to 17");
        check("*/10 */5 * * * *", "every 10 seconds of minutes 0, 5, ..., 55 of every hour");
        check("*/10 5 3 * * *", "every 10 seconds during 03:05 every day");
    }

    #[test]
    fn the_day_rule_is_told_as_it_works() {
        let check = |text: &str, want: &str| {
            assert_eq!(fields(&parse(text).unwrap().fields), want, "{text}");
        };
        check("0 0 1 * *", "at 00:00 on day 1 of the month");
        check("@yearly", "at 00:00 on day 1 of January");
        check("0 0 */2 * *", "at 00:00 on days 1, 3, ..., 31 of the month");
        check("@weekly", "at 00:00 every Sunday");
        check("*/5 * * * 6,7", "every 5 minutes, Saturday and Sunday");
        check("*/5 * * 2 1", "every 5 minutes on Monday in February");
        check("0 0 * * FRI-SUN,1", "at 00:00, Monday and Friday to Sunday");
        check("0 0 13 * FRI", "at 00:00 on day 13 of the month or on Friday");
        check("0 0 13 1-3 5", "at 00:00 on day 13 of the month or on Friday, in January to March");
        check("0 0 1-7 * */7", "at 00:00 on days 1 to 7 of the month when they fall on Sunday");
        check("0 0 */32 * 1", "at 00:00 on day 1 of the month when it falls on Monday");
        // A field that names every day without a star matches by itself under the either-day rule.
        check("0 0 1-31 * MON", "at 00:00 every day");
        check("0 0 13 * 0-6", "at 00:00 every day");
        check("0 0 13 * *", "at 00:00 on day 13 of the month");
        check("0 0 1-31 * */7", "at 00:00 every Sunday");
    }

    #[test]
    fn durations_read_as_in_the_configuration() {
        let check = |millis: u64, want: &str| {
            assert_eq!(duration(Duration::from_millis(millis)), want);
        };
        check(500, "500ms");
        check(600_000, "10m");
        check(5_400_000, "1h30m");
        check(86_400_000, "1d");
        check(90_061_001, "1d1h1m1s1ms");
    }
}
