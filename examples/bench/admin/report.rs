//! What the admin benchmark tells: its tables, and whether the expectation is met.

use recountd::clock;

use super::crowd::Done;
use super::phase::Phase;
use super::probe::Heard;
use crate::figures::Lateness;
use crate::table::{Table, number};

/// Slow clients make the p99 of the lateness at most so many times that without anybody.
const TIMES: f64 = 2.0;

/// A crowd and its turns.
pub struct Measured {
    pub phase: Phase,
    pub rounds: Vec<Round>,
}

/// What was measured in one turn.
pub struct Round {
    /// Slots whose run started, and those that came due.
    pub runs: u64,
    pub slots: u64,
    /// None if nothing started.
    pub late: Option<Lateness>,
    pub cpu_percent: f64,
    pub crowd_cpu_percent: f64,
    pub memory_mb: f64,
    pub peak_mb: f64,
    pub threads: u32,
    pub done: Done,
    pub tcp: Heard,
    pub unix: Heard,
}

impl Round {
    const fn health(&self, is_tcp: bool) -> &Heard {
        if is_tcp { &self.tcp } else { &self.unix }
    }
}

impl Measured {
    pub const fn new(phase: Phase) -> Self {
        Self { phase, rounds: Vec::new() }
    }

    fn sorted(&self, figure: impl Fn(&Round) -> f64) -> Vec<f64> {
        let mut figures: Vec<f64> = self.rounds.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures
    }

    /// Of the middle round, the lower one of two.
    fn middle(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        let figures = self.sorted(figure);
        figures.get(figures.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
    }

    fn worst(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        self.sorted(figure).last().copied().unwrap_or(f64::NAN)
    }

    fn sum(&self, figure: impl Fn(&Round) -> u64) -> u64 {
        self.rounds.iter().map(figure).sum()
    }

    fn p99(&self) -> f64 {
        self.middle(|round| late(round, |late| late.p99_ms))
    }
}

/// A round in which nothing started was as late as can be.
fn late(round: &Round, figure: impl Fn(&Lateness) -> f64) -> f64 {
    round.late.as_ref().map_or(f64::INFINITY, figure)
}

/// Says how a turn went, while the others are still to come.
pub fn line(number: u32, phase: Phase, round: &Round) -> String {
    let Done { connected, unconnected, answered, refused } = round.done;
    format!(
        "round {number}, {}: p99 {:.2} ms, max {:.2} ms, {:.1}% CPU, {} threads; {connected} connections and \
         {unconnected} not, {answered} answers and {refused} refusals, {:.1}% CPU; /healthz {} and {} of {} not",
        phase.words(),
        late(round, |late| late.p99_ms),
        late(round, |late| late.max_ms),
        round.cpu_percent,
        round.threads,
        round.crowd_cpu_percent,
        round.tcp.refused,
        round.unix.refused,
        round.tcp.micros.len() as u64 + round.tcp.refused,
    )
}

/// Where and when the figures were made, and how to make them again.
pub fn origin(machine: &str, load: &str) -> String {
    let date = clock::wall().format("%Y-%m-%d");
    // Figures of a debug build would mislead; only a developer who starts the example by hand sees this.
    let build = if cfg!(debug_assertions) { " (debug build!)" } else { "" };
    format!("`scripts/bench admin` on {date}{build}: {machine}; load {load} at the start.")
}

pub fn text(seconds: u32, rounds: u32, measured: &[Measured]) -> String {
    let word = if rounds == 1 { "round" } else { "rounds" };
    format!(
        "100 jobs due together at each full second, {rounds} {word} of {seconds} s each:\n\n{}\n\
         What the crowd did, and what it cost:\n\n{}\n\
         `GET /healthz` meanwhile:\n\n{}\n\
         Expected of recountd:\n\n{}\n",
        lateness_table(measured),
        cost_table(measured, u64::from(seconds) * u64::from(rounds)),
        health_table(measured),
        expectations(measured).join("\n"),
    )
}

fn nobody(measured: &[Measured]) -> Option<f64> {
    measured.iter().find(|one| one.phase == Phase::Nobody).map(Measured::p99)
}

fn lateness_table(measured: &[Measured]) -> Table {
    let idle = nobody(measured).unwrap_or(f64::NAN);
    let mut table = Table::new(&[
        "at the control plane",
        "runs",
        "median ms",
        "p99 ms",
        "times nobody's",
        "worst round's p99 ms",
        "max ms",
    ]);
    for one in measured {
        let (runs, slots) = (one.sum(|round| round.runs), one.sum(|round| round.slots));
        let runs = if runs == slots {
            number(runs)
        } else {
            format!("{} of {}", number(runs), number(slots))
        };
        table.row(vec![
            one.phase.words().to_owned(),
            runs,
            format!("{:.2}", one.middle(|round| late(round, |late| late.median_ms))),
            format!("{:.2}", one.p99()),
            format!("{:.2}", one.p99() / idle),
            format!("{:.2}", one.worst(|round| late(round, |late| late.p99_ms))),
            format!("{:.2}", one.worst(|round| late(round, |late| late.max_ms))),
        ]);
    }
    table
}

fn cost_table(measured: &[Measured], seconds: u64) -> Table {
    let mut table = Table::new(&[
        "at the control plane",
        "what it got",
        "CPU %",
        "memory MB",
        "peak MB",
        "threads",
        "crowd's CPU %",
    ]);
    for one in measured {
        table.row(vec![
            one.phase.words().to_owned(),
            what_it_got(one, seconds),
            format!("{:.1}", one.middle(|round| round.cpu_percent)),
            format!("{:.1}", one.worst(|round| round.memory_mb)),
            format!("{:.1}", one.worst(|round| round.peak_mb)),
            number(one.rounds.iter().map(|round| u64::from(round.threads)).max().unwrap_or(0)),
            format!("{:.1}", one.middle(|round| round.crowd_cpu_percent)),
        ]);
    }
    table
}

/// In words, each per second; what there was none of is left out.
fn what_it_got(one: &Measured, seconds: u64) -> String {
    let each = [
        (one.sum(|round| round.done.connected), "connections"),
        (one.sum(|round| round.done.unconnected), "failed to connect"),
        (one.sum(|round| round.done.answered), "answers"),
        (one.sum(|round| round.done.refused), "refusals"),
    ];
    let some = each.into_iter().filter(|(count, _)| *count > 0);
    // Rounded up: a single one is not nothing.
    let words = some.map(|(count, what)| format!("{} {what}/s", number(count.div_ceil(seconds))));
    let words: Vec<String> = words.collect();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

fn health_table(measured: &[Measured]) -> Table {
    let mut table = Table::new(&[
        "at the control plane",
        "asked over",
        "asked",
        "not answered",
        "median ms",
        "p99 ms",
        "max ms",
    ]);
    for one in measured {
        for is_tcp in [true, false] {
            let micros =
                one.rounds.iter().flat_map(|round| round.health(is_tcp).micros.clone()).collect();
            let refused = one.sum(|round| round.health(is_tcp).refused);
            let asked = one.sum(|round| round.health(is_tcp).micros.len() as u64) + refused;
            let took = Lateness::of(micros);
            let ms = |figure: fn(&Lateness) -> f64| {
                took.as_ref().map_or("-".to_owned(), |took| format!("{:.2}", figure(took)))
            };
            table.row(vec![
                one.phase.words().to_owned(),
                (if is_tcp { "TCP" } else { "the Unix socket" }).to_owned(),
                number(asked),
                number(refused),
                ms(|took| took.median_ms),
                ms(|took| took.p99_ms),
                ms(|took| took.max_ms),
            ]);
        }
    }
    table
}

/// The expectation with its figure, and a mark where it is missed.
fn expectations(measured: &[Measured]) -> Vec<String> {
    let slow = measured.iter().find(|one| one.phase == Phase::Slow);
    let Some((slow, idle)) = slow.zip(nobody(measured)) else { return Vec::new() };
    let times = slow.p99() / idle;
    let (runs, slots) = (slow.sum(|round| round.runs), slow.sum(|round| round.slots));
    vec![
        mark(
            times <= TIMES,
            &format!(
                "1,000 slow clients make p99 at most {TIMES} times what it is without anybody"
            ),
            &format!("{times:.2} times, {:.2} ms and {idle:.2} ms", slow.p99()),
        ),
        mark(
            runs == slots,
            "1,000 slow clients do not keep a slot from running",
            &format!("{} of {} ran", number(runs), number(slots)),
        ),
    ]
}

fn mark(met: bool, what: &str, figure: &str) -> String {
    format!("- {}: {what}: {figure}", if met { "met" } else { "**missed**" })
}
