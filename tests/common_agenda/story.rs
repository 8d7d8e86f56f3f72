//! Random stories of a daemon: its jobs, what befalls it, and how its runs go.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::sample::select;
use recountd::agenda::Ended;
use recountd::config::Limits;
use recountd::schedule::{Cron, Interval, Trigger};

use super::{at, clean, failed};

/// When every story begins: before a night with two passes of one hour in Berlin.
pub const BEGIN: &str = "2026-10-23T00:00:00Z";
pub const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// Those that are added while the daemon runs; the file may have the first of them.
pub const ADDED: [&str; 3] = ["d", "e", "f"];

/// What can befall the daemon.
#[derive(Debug, Clone)]
pub enum Deed {
    /// The loop waits, and wakes at each timer and answer.
    Wait(TimeDelta),
    /// The loop does not wake in time: the machine was asleep or busy.
    Sleep(TimeDelta),
    /// The wall clock steps, and the loop notices.
    Step(TimeDelta),
    /// The wall clock is off by less than what counts as a step.
    Creep(TimeDelta),
    /// The loop sleeps until the grace of the next slot is over by so much, to the millisecond.
    Brink(TimeDelta),
    /// SIGHUP with an edited jobs.toml, while the loop is so late that slots are due.
    Reload(TimeDelta, Vec<Edit>),
    /// It ends, by kill -9 or after all runs have ended, and starts again some time later with the clock set.
    /// Meanwhile, somebody still asks for things. `on_time`: it ends just when the next slot is due.
    Restart {
        killed: bool,
        on_time: bool,
        asks: Vec<Ask>,
        down: TimeDelta,
        step: TimeDelta,
        edits: Vec<Edit>,
    },
    /// Somebody asks for something, while the loop is so late that slots may be due.
    Ask(TimeDelta, Ask),
}

/// What people and programs ask for, by the place of the job among those that there are; one more is a wrong name.
#[derive(Clone)]
pub enum Ask {
    Pause(usize),
    Resume(usize),
    Trigger(usize, bool),
    /// One of [`ADDED`], new or with another definition; `None`: the one that it has. It is valid from then on.
    Put(usize, Option<(Trigger, Limits)>),
    /// One of [`ADDED`], for one time only, so long after now.
    Once(usize, TimeDelta, Limits),
    /// One of those that were added.
    Remove(usize),
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pause(i) => write!(f, "pause #{i}"),
            Self::Resume(i) => write!(f, "resume #{i}"),
            Self::Trigger(i, dry) => write!(f, "trigger #{i}, dry: {dry}"),
            Self::Put(i, Some((t, l))) => write!(f, "put {} {} {l:?}", ADDED[*i], t.identity()),
            Self::Put(i, None) => write!(f, "put {} as it is", ADDED[*i]),
            Self::Once(i, after, l) => write!(f, "put {} once, after {after} {l:?}", ADDED[*i]),
            Self::Remove(i) => write!(f, "take out the added #{i}"),
        }
    }
}

/// What becomes of one job in jobs.toml.
#[derive(Clone)]
pub enum Edit {
    Remove(usize),
    Limits(usize, Limits),
    Define(usize, Trigger, Limits),
    /// One of [`ADDED`] is not valid beside jobs.toml from now on, or is again.
    Turn(usize),
}

impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remove(i) => write!(f, "remove {}", NAMES[*i]),
            Self::Limits(i, limits) => write!(f, "{} {limits:?}", NAMES[*i]),
            Self::Turn(i) => write!(f, "{} becomes invalid, or valid again", ADDED[*i]),
            Self::Define(i, t, limits) => write!(f, "{} {} {limits:?}", NAMES[*i], t.identity()),
        }
    }
}

/// A story: the jobs it begins with, what befalls them, and how runs go.
#[derive(Debug, Clone)]
pub struct Story {
    pub jobs: Vec<Edit>,
    pub deeds: Vec<Deed>,
    pub places: usize,
    /// How long an attempt takes and how it ends, by turns.
    pub attempts: Vec<(TimeDelta, Ended)>,
}

/// From `range` in milliseconds; short times come up as often as long ones.
fn length(range: Range<u32>) -> impl Strategy<Value = TimeDelta> {
    let (low, high) = (f64::from(range.start.max(1)).ln(), f64::from(range.end).ln());
    (low..high).prop_map(|exponent| TimeDelta::milliseconds(exponent.exp() as i64))
}

fn triggers() -> impl Strategy<Value = Trigger> {
    let cron = |(text, zone): (&str, &str)| {
        Trigger::Cron(Cron::parse(text, zone.parse().unwrap()).unwrap())
    };
    let expressions = [
        ("*/20 * * * * *", "UTC"),
        ("* * * * *", "Asia/Shanghai"),
        ("*/7 * * * *", "Europe/Berlin"),
        ("30 2 * * *", "Europe/Berlin"),
        ("15 1-4 * * *", "America/New_York"),
    ];
    let every = |(ms, anchor): (u64, bool)| {
        let anchor = anchor.then(|| at(BEGIN) + TimeDelta::milliseconds(12_345));
        Trigger::Interval(Interval::new(Duration::from_millis(ms), anchor))
    };
    let periods = [2_500, 20_000, 60_000, 90_000, 600_000, 3_600_000, 86_400_000];
    prop_oneof![
        3 => select(expressions.to_vec()).prop_map(cron),
        5 => (select(periods.to_vec()), any::<bool>()).prop_map(every),
        2 => length(1..1_000_000_000).prop_map(|after| Trigger::Date(at(BEGIN) + after)),
    ]
}

prop_compose! {
    fn limits()(
        misfire_grace in select(vec![1, 2_000, 60_000, 600_000, 86_400_000]),
        coalesce in any::<bool>(),
        max_instances in select(vec![1, 1, 2, 3, 150]),
        retries in 0..4_u32,
        backoff in select(vec![0, 1, 1_000, 45_000]),
        max_backoff in select(vec![1_000, 60_000]),
        jitter in select(vec![0, 0, 500, 30_000, 300_000]),
    ) -> Limits {
        let [misfire_grace, backoff, max_backoff, jitter] =
            [misfire_grace, backoff, max_backoff, jitter].map(Duration::from_millis);
        Limits {
            misfire_grace, coalesce, max_instances, retries, backoff, max_backoff, jitter,
            ..Limits::default()
        }
    }
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let which = 0..NAMES.len();
    let edit = prop_oneof![
        2 => which.clone().prop_map(Edit::Remove),
        2 => (which.clone(), limits()).prop_map(|(i, limits)| Edit::Limits(i, limits)),
        2 => (which, triggers(), limits()).prop_map(|(i, t, limits)| Edit::Define(i, t, limits)),
        8 => (0..ADDED.len()).prop_map(Edit::Turn),
    ];
    prop::collection::vec(edit, 0..4)
}

fn steps() -> impl Strategy<Value = TimeDelta> {
    let (hours, day) = (10_800_000, 86_400_000);
    prop_oneof![
        length(1_001..hours),
        length(1_001..hours + 1).prop_map(|back| -back),
        length(hours..day),
        length(hours + 1..day).prop_map(|back| -back),
    ]
}

fn asks() -> impl Strategy<Value = Ask> {
    let which = 0..2 * NAMES.len();
    let definition = prop::option::weighted(0.5, (triggers(), limits()));
    let once = (0..ADDED.len(), length(1..1_200_000), limits());
    prop_oneof![
        6 => which.clone().prop_map(Ask::Pause),
        3 => which.clone().prop_map(Ask::Resume),
        10 => (which.clone(), any::<bool>()).prop_map(|(i, dry)| Ask::Trigger(i, dry)),
        4 => (0..ADDED.len(), definition).prop_map(|(i, to)| Ask::Put(i, to)),
        8 => once.prop_map(|(i, after, limits)| Ask::Once(i, after, limits)),
        3 => which.prop_map(Ask::Remove),
    ]
}

/// The loop waits for at most `most` ms, and sleeps for half as long; reloads and ends come `often`.
fn deeds(most: u32, often: u32) -> impl Strategy<Value = Deed> {
    let step = prop_oneof![3 => Just(TimeDelta::zero()), 1 => steps()];
    let asks_then = prop::collection::vec(asks(), 0..3);
    let restart = (any::<bool>(), any::<bool>(), asks_then, length(1..86_400_000), step, edits())
        .prop_map(|(killed, on_time, asks, down, step, edits)| Deed::Restart {
            killed,
            on_time,
            asks,
            down,
            step,
            edits,
        });
    prop_oneof![
        10 => length(1..most).prop_map(Deed::Wait),
        5 => length(1..most / 2).prop_map(Deed::Sleep),
        1 => length(3_600_000..100_000_000).prop_map(Deed::Sleep),
        2 => steps().prop_map(Deed::Step),
        1 => (-900_i64..900).prop_map(|ms| Deed::Creep(TimeDelta::milliseconds(ms))),
        1 => (0_i64..2).prop_map(|ms| Deed::Brink(TimeDelta::milliseconds(ms))),
        2 + often => (length(1..300_000), edits()).prop_map(|(late, edits)| Deed::Reload(late, edits)),
        often => restart,
        18 => (length(1..300_000), asks()).prop_map(|(late, ask)| Deed::Ask(late, ask)),
    ]
}

pub fn stories() -> impl Strategy<Value = Story> {
    let ended = prop_oneof![
        4 => Just(clean()),
        3 => Just(failed(true)),
        1 => Just(failed(false)),
        1 => Just(Ended::Expired { waited: Duration::from_secs(61) }),
        1 => Just(Ended::NotStarted),
    ];
    let attempt = (length(1..1_800_000), ended);
    let define = |i| (triggers(), limits()).prop_map(move |(t, l)| Edit::Define(i, t, l));
    // In the second kind nearly all that happens is about jobs that were added.
    let jobs_and_deeds = prop_oneof![
        (
            (define(0), define(1), define(2)).prop_map(|(a, b, c)| vec![a, b, c]),
            prop::collection::vec(deeds(7_200_000, 2), 1..50),
        ),
        (Just(Vec::new()), prop::collection::vec(deeds(1_200_000, 6), 1..100),),
    ];
    (jobs_and_deeds, 1..5_usize, prop::collection::vec(attempt, 1..8))
        .prop_map(|((jobs, deeds), places, attempts)| Story { jobs, deeds, places, attempts })
}
