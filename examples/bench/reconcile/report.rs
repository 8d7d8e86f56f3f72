//! What the reconcile benchmark tells: a table for each number of counters, and which expectations it meets.

use std::thread;

use recountd::clock;

use super::stage::{SETTLE, Stage};
use super::subject::Subject;
use super::watch::Run;
use crate::figures::Lateness;
use crate::table::{Table, number};

/// recountd is so many times as fast as the old way, at least.
const FASTER: f64 = 8.0;
/// It takes so many times as long as the slower of its limits, at most.
const OF_LIMIT: f64 = 1.25;
/// So much memory, at most, where it has no ids to remember.
const PEAK_MB: f64 = 32.0;
/// So long does another client wait for a PONG, at most.
const PING_MS: f64 = 10.0;

/// All that was measured on so many counters.
pub struct Size {
    counters: u64,
    rounds: u32,
    versions: String,
    measured: Vec<(Subject, Vec<Run>)>,
}

impl Size {
    pub fn new(counters: u64, rounds: u32, stage: &mut Stage) -> Self {
        Self { counters, rounds, versions: stage.versions(), measured: Vec::new() }
    }

    pub fn add(&mut self, subject: Subject, run: Run) {
        match self.measured.iter_mut().find(|(other, _)| *other == subject) {
            Some((_, runs)) => runs.push(run),
            None => self.measured.push((subject, vec![run])),
        }
    }

    pub fn failed(&self, subject: Subject) -> bool {
        self.of(subject).is_some_and(|run| run.failure.is_some())
    }

    /// What the rounds come to.
    fn of(&self, subject: Subject) -> Option<Run> {
        let (_, runs) = self.measured.iter().find(|(other, _)| *other == subject)?;
        sum_up(runs)
    }
}

/// The median of what differs by chance, the worst of what must not happen.
fn sum_up(runs: &[Run]) -> Option<Run> {
    let first = runs.first()?;
    let median = |of: fn(&Run) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get((values.len() - 1) / 2).copied().unwrap_or_default()
    };
    let worst = |of: fn(&Run) -> f64| runs.iter().map(of).fold(0.0, f64::max);
    let longest = worst(|run| run.longest_command_ms.unwrap_or_default());
    Some(Run {
        seconds: median(|run| run.seconds),
        failure: runs.iter().find_map(|run| run.failure.clone()),
        versions: first.versions.clone(),
        cpu: median(|run| run.cpu),
        redis_cpu: median(|run| run.redis_cpu),
        mysql_cpu: median(|run| run.mysql_cpu),
        peak_mb: worst(|run| run.peak_mb),
        redis_peak_mb: worst(|run| run.redis_peak_mb),
        longest_command_ms: Some(longest).filter(|ms| *ms > 0.0),
        ping: Lateness {
            median_ms: median(|run| run.ping.median_ms),
            p99_ms: median(|run| run.ping.p99_ms),
            max_ms: worst(|run| run.ping.max_ms),
        },
    })
}

/// Says how a process did, while the others are still to come.
pub fn line(subject: Subject, run: &Run) -> String {
    let ((process, counters), Run { seconds, peak_mb, redis_cpu, ping, .. }) =
        (subject.words(), run);
    let (max, p99) = (milliseconds(ping.max_ms), milliseconds(ping.p99_ms));
    let failure = run.failure.iter().map(|failure| format!("; {failure}")).collect::<String>();
    format!(
        "{process}, {counters}: {seconds:.2} s, {peak_mb:.1} MB, Redis CPU {redis_cpu:.2} s, \
         PING p99 {p99} ms, max {max} ms{failure}"
    )
}

/// Where and when the figures were made, and how to make them again.
pub fn origin(machine: &str, load: &str, sizes: &[Size]) -> String {
    let (date, own) = (clock::wall().format("%Y-%m-%d"), env!("CARGO_PKG_VERSION"));
    let versions = sizes.first().map(|size| size.versions.clone()).unwrap_or_default();
    let old_way = sizes.iter().find_map(|size| size.of(Subject::OldWay)?.versions);
    let libraries = old_way.map_or(String::new(), |libraries| format!(", {libraries}"));
    format!(
        "`scripts/bench reconcile` on {date}: {machine}; load {load} at the start. recountd {own}, \
         {versions}{libraries}."
    )
}

pub fn text(sizes: &[Size]) -> String {
    sizes.iter().map(section).collect::<Vec<_>>().join("\n\n")
}

fn section(size: &Size) -> String {
    let rounds = if size.rounds == 1 { "one round" } else { &format!("{} rounds", size.rounds) };
    let head = format!("{} counters, {rounds}:", number(size.counters));
    let lines = expectations(size).join("\n");
    format!("{head}\n\n{}\nExpected of recountd, and what bounds it:\n\n{lines}", table(size))
}

fn table(size: &Size) -> Table {
    let mut table = Table::new(&[
        "process",
        "counters",
        "s",
        "CPU s",
        "peak MB",
        "Redis CPU s",
        "Redis peak MB",
        "MySQL CPU s",
        "longest command ms",
        "PING median ms",
        "p99 ms",
        "max ms",
    ]);
    for (subject, run) in Subject::ALL.iter().filter_map(|s| Some((s, size.of(*s)?))) {
        let (process, counters) = subject.words();
        let failed = if run.failure.is_some() { " (failed)" } else { "" };
        table.row(vec![
            process.to_owned(),
            counters.to_owned(),
            format!("{:.2}{failed}", run.seconds),
            format!("{:.2}", run.cpu),
            format!("{:.1}", run.peak_mb),
            format!("{:.2}", run.redis_cpu),
            format!("{:.0}", run.redis_peak_mb),
            format!("{:.2}", run.mysql_cpu),
            run.longest_command_ms.map_or("-".to_owned(), milliseconds),
            milliseconds(run.ping.median_ms),
            milliseconds(run.ping.p99_ms),
            milliseconds(run.ping.max_ms),
        ]);
    }
    table
}

/// Each expectation with the figure, and a mark where it is missed.
fn expectations(size: &Size) -> Vec<String> {
    let mut lines = Vec::new();
    for subject in [Subject::NoDrift, Subject::Drift, Subject::Lost] {
        let Some(run) = size.of(subject) else { continue };
        let (_, state) = subject.words();
        let old = size.of(Subject::Patient).or_else(|| size.of(Subject::OldWay));
        lines.extend(old.map(|old| faster(state, &run, &old)));
        lines.extend(of_limit(size, subject, &run));
        if subject != Subject::Drift {
            let what = format!("{state}: at most {PEAK_MB} MB of memory");
            lines.push(mark(run.peak_mb <= PEAK_MB, &what, &format!("{:.1} MB", run.peak_mb)));
        }
        lines.push(ping(size, state, &run));
    }
    lines.extend(
        size.of(Subject::OldWay)
            .and_then(|old| Some(format!("- the old way failed: {}", old.failure?))),
    );
    lines
}

fn faster(state: &str, run: &Run, old: &Run) -> String {
    let times = old.seconds / run.seconds;
    let what = format!("{state}: at least {FASTER} times as fast as the old way");
    // What failed has not done it in that time.
    let note = if old.failure.is_some() { ", and the old way failed in that time" } else { "" };
    mark(times >= FASTER, &what, &format!("{times:.1} times{note}"))
}

/// A run cannot be faster than the slower of the two stores alone, and not faster than all that it needs of the cores.
fn of_limit(size: &Size, subject: Subject, run: &Run) -> Option<String> {
    let (_, state) = subject.words();
    // A drift is watched for two settles; a lost key only has to be settled before the first write.
    let (redis, waits) = match subject {
        Subject::Lost => (Subject::Add, 1),
        Subject::Drift => (Subject::Compare, 2),
        _ => (Subject::Compare, 0),
    };
    let (stream, redis) = (size.of(Subject::Stream)?.seconds, size.of(redis)?.seconds);
    let limit = stream.max(redis);
    let waited = SETTLE.as_secs_f64() * f64::from(waits);
    let times = (run.seconds - waited) / limit;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let cpu = run.cpu + run.redis_cpu + run.mysql_cpu;
    let mut figure = format!(
        "{times:.2} times {limit:.2} s; MySQL {stream:.2} s, Redis {redis:.2} s; all three processes take {cpu:.2} s \
         of CPU, on {cores} cores {:.2} s at best",
        cpu / cores as f64
    );
    if waits > 0 {
        figure += &format!("; {waited:.1} s of settle are not counted");
    }
    if let Some(script) = size.of(Subject::Fill).filter(|_| subject == Subject::Lost) {
        figure += &format!("; the script of 50 alone takes {:.2} s", script.seconds);
    }
    let what = format!("{state}: at most {OF_LIMIT} times the larger limit");
    Some(mark(times <= OF_LIMIT, &what, &figure))
}

fn ping(size: &Size, state: &str, run: &Run) -> String {
    let max = run.ping.max_ms;
    let mut figure = format!("{} ms", milliseconds(max));
    // Redis has nothing else to do then, so what a PING waits for is a core.
    if let Some(idle) = size.of(Subject::Stream) {
        figure += &format!("; while only MySQL streams {} ms", milliseconds(idle.ping.max_ms));
    }
    let command = run.longest_command_ms;
    figure += &command.map_or("; no command took 1 ms".to_owned(), |ms| {
        format!("; the longest command took {} ms", milliseconds(ms))
    });
    mark(max <= PING_MS, &format!("{state}: a PING waits at most {PING_MS} ms"), &figure)
}

/// Two digits are enough of a wait, be it of microseconds or of minutes.
fn milliseconds(ms: f64) -> String {
    if ms < 100.0 { format!("{ms:.2}") } else { number(ms.round() as u64) }
}

fn mark(met: bool, what: &str, figure: &str) -> String {
    format!("- {}: {what}: {figure}", if met { "met" } else { "**missed**" })
}
