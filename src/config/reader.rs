//! Reads TOML tables key by key and gathers every problem instead of stopping at the first.

use std::cell::RefCell;
use std::ops::Range;
use std::time::Duration;

use chrono::{
    DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, SubsecRound, TimeDelta, Utc,
};
use chrono_tz::Tz;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::value::{Datetime, Offset};

use super::duration;
use super::job::Percent;
use super::problem::Problem;
use crate::schedule;

/// Unknown keys of one table that are named one by one. Who has more is not helped by a list.
const MOST_UNKNOWN: usize = 20;

/// Where the problems of one file gather, each with its place in the text in bytes.
#[derive(Default)]
pub struct Problems(RefCell<Vec<(Range<usize>, Problem)>>);

impl Problems {
    /// Adds one.
    pub fn add(&self, span: Range<usize>, problem: Problem) {
        self.0.borrow_mut().push((span, problem));
    }

    /// All of them, in the order of the text.
    pub fn into_sorted(self) -> Vec<(Range<usize>, Problem)> {
        let mut all = self.0.into_inner();
        all.sort_by_key(|(span, _)| span.start);
        all
    }
}

/// A table being read: it remembers which keys were asked for, so that the others are unknown.
pub struct Table<'d> {
    /// What a person would call it: `[defaults]`, `job user-articles`.
    pub name: String,
    /// Its header, or the whole of an inline table.
    pub span: Range<usize>,
    entries: &'d DeTable<'d>,
    asked: Vec<&'static str>,
    problems: &'d Problems,
}

impl<'d> Table<'d> {
    /// Begins to read `entries`.
    pub fn new(
        name: impl Into<String>,
        span: Range<usize>,
        entries: &'d DeTable<'d>,
        problems: &'d Problems,
    ) -> Self {
        Self { name: name.into(), span, entries, asked: Vec::new(), problems }
    }

    /// The value of `key`, if the table has it.
    pub fn get(&mut self, key: &'static str) -> Option<Item<'d>> {
        self.asked.push(key);
        let (found, value) = self.entries.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(Item { key: key.to_owned(), key_span: found.span(), value, problems: self.problems })
    }

    /// The value of `key`; a problem if the table has it not.
    pub fn require(&mut self, key: &'static str, example: &'static str) -> Option<Item<'d>> {
        let item = self.get(key);
        if item.is_none() {
            let table = self.name.clone();
            self.fail(Problem::Missing { table, key, example });
        }
        item
    }

    /// Every entry of a table whose keys are names, such as `[jobs]`.
    pub fn named(&self) -> Vec<Item<'d>> {
        let item = |(key, value): (&'d Spanned<_>, &'d Spanned<DeValue<'d>>)| Item {
            key: AsRef::<str>::as_ref(key.get_ref() as &std::borrow::Cow<'_, str>).to_owned(),
            key_span: key.span(),
            value,
            problems: self.problems,
        };
        self.entries.iter().map(item).collect()
    }

    /// Adds a problem of the table as a whole.
    pub fn fail(&self, problem: Problem) {
        self.problems.add(self.span.clone(), problem);
    }

    /// Whether there is a key that nobody has asked for.
    pub fn has_unknown(&self) -> bool {
        self.entries.iter().any(|(key, _)| !self.asked.contains(&key.get_ref().as_ref()))
    }

    /// Ends the reading: every key that nobody asked for is unknown.
    pub fn finish(self) {
        let is_unknown =
            |key: &&Spanned<_>| !self.asked.contains(&AsRef::<str>::as_ref(key.get_ref()));
        let mut unknown = self.entries.iter().map(|(key, _)| key).filter(is_unknown);
        for key in unknown.by_ref().take(MOST_UNKNOWN) {
            let problem = Problem::UnknownKey {
                table: self.name.clone(),
                key: key.get_ref().to_string(),
                known: self.asked.clone(),
            };
            self.problems.add(key.span(), problem);
        }
        let Some(next) = unknown.next() else { return };
        let (table, count, known) = (self.name.clone(), 1 + unknown.count(), self.asked.clone());
        self.problems.add(next.span(), Problem::UnknownKeys { table, count, known });
    }
}

/// One `key = value` being read. Each reader returns `None` after it has added a problem.
pub struct Item<'d> {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_span: Range<usize>,
    value: &'d Spanned<DeValue<'d>>,
    problems: &'d Problems,
}

impl<'d> Item<'d> {
    /// Where the value stands.
    pub fn span(&self) -> Range<usize> {
        self.value.span()
    }

    /// Adds a problem at the value.
    pub fn fail<T>(&self, problem: Problem) -> Option<T> {
        self.problems.add(self.span(), problem);
        None
    }

    fn wrong_type<T>(&self, expected: &'static str) -> Option<T> {
        let found = match self.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date-time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.fail(Problem::WrongType { key: self.key.clone(), expected, found })
    }

    /// A string; `expected` says which kind, with an example.
    pub fn text(&self, expected: &'static str) -> Option<&'d str> {
        match self.value.get_ref() {
            DeValue::String(text) => Some(text),
            _ => self.wrong_type(expected),
        }
    }

    /// A string of at least one visible character.
    pub fn filled_text(&self, expected: &'static str) -> Option<&'d str> {
        let text = self.text(expected)?;
        if text.trim().is_empty() {
            return self.fail(Problem::Empty(self.key.clone()));
        }
        Some(text)
    }

    /// An array of strings, each with its place.
    pub fn texts(&self, expected: &'static str) -> Option<Vec<(&'d str, Range<usize>)>> {
        let DeValue::Array(items) = self.value.get_ref() else { return self.wrong_type(expected) };
        let text = |item: &'d Spanned<DeValue<'d>>| match item.get_ref() {
            DeValue::String(text) => Some((text.as_ref(), item.span())),
            _ => None,
        };
        let texts: Option<Vec<_>> = items.iter().map(text).collect();
        texts.or_else(|| self.wrong_type(expected))
    }

    /// Adds a problem at a part of the value.
    pub fn fail_at(&self, span: Range<usize>, problem: Problem) {
        self.problems.add(span, problem);
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Option<bool> {
        match self.value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            _ => self.wrong_type("true or false"),
        }
    }

    /// A whole number within `range`.
    pub fn integer(&self, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let DeValue::Integer(number) = self.value.get_ref() else {
            return self.wrong_type("a whole number without quotes");
        };
        let value = u32::from_str_radix(number.as_str(), number.radix()).ok();
        value.filter(|v| range.contains(v)).or_else(|| {
            let range = format!("from {} to {}", range.start(), range.end());
            self.fail(Problem::OutOfRange { key: self.key.clone(), range })
        })
    }

    /// A duration within `range`.
    pub fn duration(&self, range: std::ops::RangeInclusive<Duration>) -> Option<Duration> {
        let text = self.text("a duration in quotes, as in \"10m\"")?;
        match duration::parse(text) {
            Ok(value) if range.contains(&value) => Some(value),
            Ok(_) => {
                let (least, most) =
                    (duration::format(*range.start()), duration::format(*range.end()));
                let range = format!("from {least} to {most}");
                self.fail(Problem::OutOfRange { key: self.key.clone(), range })
            }
            Err(error) => self.fail(Problem::Duration { key: self.key.clone(), error }),
        }
    }

    /// A share, as in `"50%"`.
    pub fn percent(&self) -> Option<Percent> {
        let text = self.text("a percentage in quotes, as in \"50%\"")?;
        Percent::parse(text).or_else(|| {
            self.fail(Problem::NotAPercentage { key: self.key.clone(), found: text.to_owned() })
        })
    }

    /// An IANA zone.
    pub fn zone(&self) -> Option<Tz> {
        let text = self.text("the name of a zone in quotes, as in \"Asia/Shanghai\"")?;
        text.parse().ok().or_else(|| self.fail(Problem::Zone(text.to_owned())))
    }

    /// One of a few words.
    pub fn choice(&self, choices: &'static [&'static str]) -> Option<&'static str> {
        let text = self.text("a word in quotes")?;
        choices.iter().find(|c| **c == text).copied().or_else(|| {
            let (key, found) = (self.key.clone(), text.to_owned());
            self.fail(Problem::NotOneOf { key, found, choices })
        })
    }

    /// An instant; a local date-time is read in `zone`.
    pub fn instant(&self, zone: Tz) -> Option<DateTime<Utc>> {
        let DeValue::Datetime(value) = self.value.get_ref() else {
            return self.wrong_type("a date-time without quotes, as in 2030-01-01T03:00:00+08:00");
        };
        if value.date.is_none() || value.time.is_none() {
            return self.fail(Problem::NotADateTime(self.key.clone()));
        }
        // Slots are told apart by the millisecond, also over a restart.
        let whole = |at: DateTime<Utc>| at.trunc_subsecs(3);
        // With any offset the year has to have four digits, or it could not be written down.
        to_utc(value, zone)
            .map(whole)
            .filter(|at| (1..=9998).contains(&at.year()))
            .or_else(|| self.fail(Problem::NoSuchDateTime(self.key.clone())))
    }

    /// A table; `name` is what a person would call it.
    pub fn table(&self, name: impl Into<String>, expected: &'static str) -> Option<Table<'d>> {
        match self.value.get_ref() {
            DeValue::Table(entries) => Some(Table::new(name, self.span(), entries, self.problems)),
            _ => self.wrong_type(expected),
        }
    }

    /// Adds a problem at a part of a string's inside; `source` is the whole file. Where the string
    /// has escapes or line breaks its inside cannot be counted, and the whole of it is marked.
    pub fn fail_inside<T>(&self, part: Range<usize>, source: &str, problem: Problem) -> Option<T> {
        let span = self.span();
        let plain = source.get(span.clone()).is_some_and(|raw| {
            !raw.contains(['\\', '\n']) && !raw.starts_with("\"\"\"") && !raw.starts_with("'''")
        });
        let inside = span.start + 1 + part.start..span.start + 1 + part.end;
        let marked = if plain && inside.end < span.end { inside } else { span };
        self.problems.add(marked, problem);
        None
    }
}

/// Replaces the default where the file gave a good value.
pub fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn to_utc(value: &Datetime, zone: Tz) -> Option<DateTime<Utc>> {
    let (date, time) = (value.date?, value.time?);
    let date = NaiveDate::from_ymd_opt(date.year.into(), date.month.into(), date.day.into())?;
    let time = NaiveTime::from_hms_nano_opt(
        time.hour.into(),
        time.minute.into(),
        time.second.unwrap_or(0).into(),
        time.nanosecond.unwrap_or(0),
    )?;
    let local = NaiveDateTime::new(date, time);
    match value.offset {
        None => Some(schedule::local_to_utc(local, zone)),
        Some(Offset::Z) => Some(local.and_utc()),
        Some(Offset::Custom { minutes }) => {
            local.and_utc().checked_sub_signed(TimeDelta::minutes(minutes.into()))
        }
    }
}
