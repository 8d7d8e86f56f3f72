#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
//! The schedule against an oracle that knows nothing of it: walk through UTC in small steps, ask the zone what the
//! wall clock shows, and match that against a naive reading of the expression.

use std::ops::Range;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use recountd::schedule::{Cron, Trigger};

/// Every window holds a change of the offset, or none at all for comparison: an hour and half an hour, by day and at
/// midnight, forward and back, permanent ones, and a day that was skipped.
const WINDOWS: [(&str, &str); 20] = [
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("America/Sao_Paulo", "2018-02-18"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("Asia/Beirut", "2026-03-29"),
    ("Asia/Beirut", "2026-10-25"),
    ("Asia/Beirut", "2023-03-26"),
    ("Africa/Casablanca", "2025-02-23"),
    ("Africa/Casablanca", "2025-04-06"),
    ("Pacific/Apia", "2011-12-30"),
    ("Pacific/Apia", "2011-09-24"),
    ("Pacific/Kwajalein", "1993-08-21"),
    ("Asia/Pyongyang", "2018-05-05"),
    ("America/Caracas", "2007-12-09"),
    ("Asia/Shanghai", "2026-03-29"),
    ("UTC", "2026-02-28"),
];

#[test]
fn slots_around_every_kind_of_change_are_those_of_the_oracle() {
    let mut dice = Dice(0x5EED);
    for (zone, day) in WINDOWS {
        let walk = Walk::new(zone, day, -2..3, 60);
        for _ in 0..30 {
            let expression = dice.expression();
            check(&walk, &expression, &mut dice, 80);
        }
    }
}

#[test]
fn slots_to_the_second_are_those_of_the_oracle() {
    let mut dice = Dice(0xC0FFEE);
    // Clocks change on whole minutes, so a few of the windows are enough here.
    for (zone, day) in WINDOWS.into_iter().step_by(4) {
        let walk = Walk::new(zone, day, 0..1, 1);
        for _ in 0..6 {
            let expression =
                format!("{} {}", dice.field(0..60, &[0, 1, 30, 59]), dice.expression());
            check(&walk, &expression, &mut dice, 60);
        }
    }
}

#[test]
fn slots_of_whole_years_are_those_of_the_oracle() {
    let mut dice = Dice(0x1DEA);
    let years = [
        ("America/New_York", 2026),
        ("Australia/Lord_Howe", 2026),
        ("Africa/Casablanca", 2025),
        ("Pacific/Apia", 2011),
    ];
    for (zone, year) in years {
        let walk = Walk::new(zone, &format!("{year}-01-01"), 0..366, 60);
        for expression in ["30 2 * * *", "45 1 * * *", "0 0 * * *", "*/30 1,2 * * *"] {
            check(&walk, expression, &mut dice, 400);
        }
        for _ in 0..2 {
            let expression = dice.expression();
            check(&walk, &expression, &mut dice, 200);
        }
    }
}

/// The first `steps` slots of the window, and the answers for instants drawn from anywhere in it.
fn check(walk: &Walk, expression: &str, dice: &mut Dice, steps: usize) {
    let trigger = match Cron::parse(expression, walk.zone) {
        Ok(cron) => Trigger::Cron(cron),
        Err(error) => {
            assert!(error.to_string().contains("never"), "{expression}: {error}");
            return;
        }
    };
    let context = format!("`{expression}` in {}", walk.zone);
    let slots = walk.slots(&Oracle::new(expression));
    let next = |t: DateTime<Utc>| trigger.next_after(t).filter(|slot| *slot < walk.end);

    let mut t = walk.start - TimeDelta::seconds(1);
    for slot in slots.iter().take(steps) {
        assert_eq!(next(t), Some(*slot), "{context} after {t}");
        t = *slot;
    }
    if slots.len() <= steps {
        assert_eq!(next(t), None, "{context} after {t}");
    }

    // The instants at which the clock changes, and the hours on both sides, are where answers go wrong.
    for change in &walk.changes {
        for _ in 0..6 {
            let t = *change + TimeDelta::seconds(dice.below(4 * 3_600) as i64 - 2 * 3_600);
            let after = slots.iter().find(|slot| **slot > t).copied();
            assert_eq!(next(t), after, "{context} after {t}");
        }
    }

    let length = (walk.end - walk.start).num_milliseconds() as u64;
    let mut anywhere = || walk.start + TimeDelta::milliseconds(dice.below(length) as i64);
    for _ in 0..10 {
        let (a, b) = (anywhere(), anywhere());
        let (floor, now) = (a.min(b), a.max(b));
        let (before, within) = (
            slots.partition_point(|slot| *slot <= floor),
            slots.partition_point(|slot| *slot <= now),
        );
        assert_eq!(next(floor), slots.get(before).copied(), "{context} after {floor}");
        let latest = slots[before..within].last().copied();
        assert_eq!(trigger.latest_between(floor, now), latest, "{context} in ({floor}, {now}]");
        let count = (within - before).min(5) as u32;
        assert_eq!(trigger.count_between(floor, now, 5), count, "{context} in ({floor}, {now}]");
    }
}

/// A window of time, cut into steps, with what the wall clock shows at each.
struct Walk {
    zone: Tz,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    step: TimeDelta,
    shown: Vec<(DateTime<Utc>, NaiveDateTime)>,
    changes: Vec<DateTime<Utc>>,
}

impl Walk {
    /// `days` count from `day`. The walk starts two days early, so that the clock's past is known in the window.
    fn new(zone: &str, day: &str, days: Range<i64>, step: i64) -> Walk {
        let zone: Tz = zone.parse().unwrap();
        let noon = day.parse::<NaiveDate>().unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc();
        // Where the walk is short, the change must still lie inside it, east of Greenwich as well as west.
        let margin = TimeDelta::hours(if step == 1 { 14 } else { 0 });
        let start = noon + TimeDelta::days(days.start) - margin;
        let end = noon + TimeDelta::days(days.end);
        let step = TimeDelta::seconds(step);
        let mut u = start - TimeDelta::days(2);
        let mut shown = Vec::new();
        while u < end {
            shown.push((u, u.with_timezone(&zone).naive_local()));
            u += step;
        }
        let changed = |pair: &&[(DateTime<Utc>, NaiveDateTime)]| pair[1].1 - pair[0].1 != step;
        let changes = shown.windows(2).filter(changed).map(|pair| pair[1].0);
        let changes = changes.filter(|change| *change > start + TimeDelta::hours(2)).collect();
        Walk { zone, start, end, step, shown, changes }
    }

    /// S3, told by what the wall clock does from one step to the next.
    fn slots(&self, oracle: &Oracle) -> Vec<DateTime<Utc>> {
        let mut slots = Vec::new();
        let mut farthest = self.shown[0].1;
        for (u, shown) in &self.shown {
            let due = if oracle.fixed_time {
                let mut due = false;
                while farthest < *shown {
                    farthest += self.step;
                    due |= oracle.matches(farthest);
                }
                due
            } else {
                oracle.matches(*shown)
            };
            if due && *u >= self.start {
                slots.push(*u);
            }
        }
        slots
    }
}

/// A naive reading of an expression: for each field, what each number of it is.
struct Oracle {
    fields: Vec<Vec<bool>>,
    either_day: bool,
    fixed_time: bool,
}

impl Oracle {
    fn new(expression: &str) -> Oracle {
        let mut texts: Vec<&str> = expression.split(' ').collect();
        if texts.len() == 5 {
            texts.insert(0, "0");
        }
        let ranges = [0..60, 0..60, 0..24, 1..32, 1..13, 0..8];
        let mut fields: Vec<Vec<bool>> =
            texts.iter().zip(ranges).map(|(text, range)| Oracle::field(text, range)).collect();
        fields[5][0] |= fields[5][7];
        let star = |index: usize| texts[index].as_bytes()[0] == b'*';
        Oracle { fields, either_day: !star(3) && !star(5), fixed_time: !star(1) && !star(2) }
    }

    fn field(text: &str, range: Range<usize>) -> Vec<bool> {
        let mut named = vec![false; range.end];
        for part in text.split(',') {
            let (base, step) = part.split_once('/').unwrap_or((part, "1"));
            let (low, high) = match base.split_once('-') {
                Some((low, high)) => (Oracle::number(low), Oracle::number(high)),
                None if base == "*" => (range.start, range.end - 1),
                None => (Oracle::number(base), Oracle::number(base)),
            };
            let step: usize = step.parse().unwrap();
            for (index, number) in named[low..=high].iter_mut().enumerate() {
                *number |= index % step == 0;
            }
        }
        named
    }

    fn number(text: &str) -> usize {
        let names = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
        match names.iter().position(|name| *name == text) {
            Some(number) => number,
            None => text.parse().unwrap(),
        }
    }

    fn matches(&self, w: NaiveDateTime) -> bool {
        let is = |index: usize, number: u32| self.fields[index][number as usize];
        if !(is(0, w.second()) && is(1, w.minute()) && is(2, w.hour()) && is(4, w.month())) {
            return false;
        }
        let (date, weekday) = (is(3, w.day()), is(5, w.weekday().num_days_from_sunday()));
        if self.either_day { date || weekday } else { date && weekday }
    }
}

/// A small generator with a seed, so that a failure comes again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Five fields, whose hours are mostly those in which clocks change.
    fn expression(&mut self) -> String {
        let minute = self.field(0..60, &[0, 1, 29, 30, 31, 59]);
        let hour = self.field(0..24, &[0, 1, 2, 3, 4, 23]);
        let day = match self.below(4) {
            0 => self.field(1..32, &[1, 8, 25, 29, 30]),
            _ => "*".to_owned(),
        };
        let month = match self.below(8) {
            0 => self.field(1..13, &[2, 3, 10, 12]),
            _ => "*".to_owned(),
        };
        let weekday = match self.below(4) {
            0 => self.field(0..8, &[0, 6, 7]),
            1 => self.pick(&["SUN", "SUN,MON", "FRI-SAT", "MON-FRI/2", "*/2"]).to_owned(),
            _ => "*".to_owned(),
        };
        format!("{minute} {hour} {day} {month} {weekday}")
    }

    /// Any form that a field may take, with a liking for some numbers.
    fn field(&mut self, range: Range<u64>, likes: &[u64]) -> String {
        let size = range.end - range.start;
        let any = |dice: &mut Dice| range.start + dice.below(size);
        match self.below(8) {
            0 => "*".to_owned(),
            1 => format!("*/{}", 1 + self.below(size + 3)),
            2 | 3 => self.pick(likes).to_string(),
            4 => format!("{},{}", self.pick(likes), any(self)),
            5 => {
                let (a, b) = (any(self), self.pick(likes));
                format!("{}-{}", a.min(b), a.max(b))
            }
            6 => {
                let (a, b) = (any(self), any(self));
                format!("{}-{}/{}", a.min(b), a.max(b), 1 + self.below(9))
            }
            _ => format!("{},*/{}", any(self), 2 + self.below(20)),
        }
    }
}
