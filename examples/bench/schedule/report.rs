//! What the schedule benchmark tells: its tables, and which expectations they meet.

use std::fmt::Write;
use std::time::Duration;

use recountd::clock;

use crate::figures::{Figures, Lateness};
use crate::table::{Table, number};

/// recountd starts 1,000 jobs that are due together within this, 99 of 100 of them.
const P99_MS: f64 = 2.0;
const P99_JOBS: u32 = 1_000;

/// 10,000 idle jobs need no more than this.
const IDLE_MB: f64 = 40.0;
/// What is printed as 0.0%.
const IDLE_CPU_PERCENT: f64 = 0.05;

/// A scheduler with so many jobs.
pub struct Measured {
    pub jobs: u32,
    /// Whether none of them was due.
    pub idle: bool,
    pub figures: Figures,
}

/// The cost of a turn with so many jobs.
pub struct Turn {
    pub jobs: u32,
    pub cost: Duration,
}

/// Says how a scheduler did, while the others are still to come.
pub fn line(jobs: u32, idle: bool, figures: &Figures) -> String {
    let Figures { scheduler, cpu_percent, memory_mb, lateness, .. } = figures;
    let (jobs, due) = (number(u64::from(jobs)), if idle { "idle" } else { "due each second" });
    let p99 = lateness.map_or(String::new(), |late| format!("p99 {:.2} ms, ", late.p99_ms));
    format!("{jobs} jobs {due}, {scheduler}: {p99}{cpu_percent:.1}% CPU, {memory_mb:.1} MB")
}

/// Where and when the figures were made, and how to make them again.
pub fn origin(machine: &str, load: &str) -> String {
    let (date, profile) = (clock::wall().format("%Y-%m-%d"), build());
    format!("`scripts/bench schedule` on {date}{profile}: {machine}; load {load} at the start.")
}

/// Figures of a debug build would mislead; only a developer who starts the example by hand sees this.
fn build() -> &'static str {
    if cfg!(debug_assertions) { " (debug build!)" } else { "" }
}

pub fn text(seconds: u32, measured: &[Measured], turns: &[Turn]) -> String {
    let mut text = format!("Due together at each full second, for {seconds} s:\n\n");
    let due = table(measured.iter().filter(|one| !one.idle));
    write!(text, "{due}\nDue at the next full hour, until then idle:\n\n")
        .expect("a text can be written to");
    let idle = table(measured.iter().filter(|one| one.idle));
    write!(text, "{idle}\nOne turn of the agenda: one slot comes due, its run ends:\n\n{}\n", {
        turn_table(turns)
    })
    .expect("a text can be written to");
    text + "Expected of recountd:\n\n" + &expectations(measured, turns).join("\n")
}

fn table<'a>(measured: impl Iterator<Item = &'a Measured>) -> Table {
    let mut table = Table::new(&[
        "jobs",
        "scheduler",
        "runs",
        "median ms",
        "p99 ms",
        "max ms",
        "CPU %",
        "memory MB",
        "peak MB",
    ]);
    for Measured { jobs, figures, .. } in measured {
        let Figures { scheduler, runs, slots, lateness, .. } = figures;
        let ms = |which: fn(&Lateness) -> f64| {
            lateness.as_ref().map_or("-".to_owned(), |late| format!("{:.2}", which(late)))
        };
        let ran = if runs == slots {
            number(*runs)
        } else {
            format!("{} of {}", number(*runs), number(*slots))
        };
        table.row(vec![
            number(u64::from(*jobs)),
            scheduler.clone(),
            ran,
            ms(|late| late.median_ms),
            ms(|late| late.p99_ms),
            ms(|late| late.max_ms),
            format!("{:.1}", figures.cpu_percent),
            format!("{:.1}", figures.memory_mb),
            format!("{:.1}", figures.peak_mb),
        ]);
    }
    table
}

fn turn_table(turns: &[Turn]) -> Table {
    let mut table = Table::new(&["jobs", "turn", "times the first", "times by log n"]);
    for (turn, growth) in turns.iter().zip(growths(turns)) {
        table.row(vec![
            number(u64::from(turn.jobs)),
            format!("{:.2} µs", turn.cost.as_secs_f64() * 1e6),
            format!("{:.2}", growth.of_cost),
            format!("{:.2}", growth.of_log),
        ]);
    }
    table
}

/// How much more a turn costs than with the fewest jobs, and how much larger the logarithm is.
struct Growth {
    of_cost: f64,
    of_log: f64,
}

fn growths(turns: &[Turn]) -> Vec<Growth> {
    let Some(first) = turns.first() else { return Vec::new() };
    let growth = |turn: &Turn| Growth {
        of_cost: turn.cost.as_secs_f64() / first.cost.as_secs_f64(),
        of_log: f64::from(turn.jobs).ln() / f64::from(first.jobs).ln(),
    };
    turns.iter().map(growth).collect()
}

/// Each expectation with the figure, and a mark where it is missed.
fn expectations(measured: &[Measured], turns: &[Turn]) -> Vec<String> {
    let own = || measured.iter().filter(|one| one.figures.scheduler == "recountd");
    let mut lines = Vec::new();
    if let Some(late) =
        own().find(|one| one.jobs == P99_JOBS && !one.idle).and_then(|one| one.figures.lateness)
    {
        let what = format!(
            "{} jobs due together start within {P99_MS} ms p99",
            number(u64::from(P99_JOBS))
        );
        lines.push(mark(late.p99_ms <= P99_MS, &what, &format!("{:.2} ms", late.p99_ms)));
    }
    if let Some(Measured { jobs, figures, .. }) = own().find(|one| one.idle) {
        let jobs = number(u64::from(*jobs));
        let (cpu, memory) = (figures.cpu_percent, figures.memory_mb);
        let what = format!("{jobs} idle jobs take 0.0% CPU");
        lines.push(mark(cpu < IDLE_CPU_PERCENT, &what, &format!("{cpu:.1}%")));
        let what = format!("{jobs} idle jobs take less than {IDLE_MB} MB");
        lines.push(mark(memory < IDLE_MB, &what, &format!("{memory:.1} MB")));
    }
    let grown = growths(turns);
    if let Some(most) = grown.last() {
        let met = grown.iter().all(|growth| growth.of_cost <= growth.of_log);
        let figure = format!("{:.2} times, the logarithm {:.2} times", most.of_cost, most.of_log);
        lines.push(mark(met, "a turn's cost grows no faster than log n", &figure));
    }
    lines
}

fn mark(met: bool, what: &str, figure: &str) -> String {
    format!("- {}: {what}: {figure}", if met { "met" } else { "**missed**" })
}
