//! The report of `once` for people.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::grid::printable;
use crate::reconcile::{Amount, Id};
use crate::report::{Report, Sample};
use crate::state::{History, RunNumber, StateError};

/// What the state knows of earlier runs.
#[derive(Debug, Default)]
pub(super) struct Past {
    run: Option<RunNumber>,
    /// When the last clean run ended; the outer `None`: the state is not known.
    last_clean: Option<Option<DateTime<Utc>>>,
    /// For each sample, in how many earlier runs it was repaired.
    repaired: Vec<u64>,
}

impl Past {
    /// Asks the state; where there is none, nothing is known.
    pub(super) fn of(state: &Path, report: &Report, run: Option<RunNumber>) -> Self {
        Self::ask(state, report, run).unwrap_or(Self { run, ..Self::default() })
    }

    fn ask(state: &Path, report: &Report, run: Option<RunNumber>) -> Result<Self, StateError> {
        let history = History::open(state)?;
        let earlier = |sample: &Sample| {
            let id = Id::from_bytes(sample.id.as_bytes());
            history.runs_that_repaired(&report.job, &sample.target, &id, run)
        };
        let repaired = report.findings.samples.iter().map(earlier).collect::<Result<_, _>>()?;
        Ok(Self { run, last_clean: Some(history.last_clean(&report.job)?), repaired })
    }
}

/// Prints it, with all that is known here.
pub(super) fn print(
    report: &Report,
    past: &Past,
    now: DateTime<Utc>,
    out: &mut impl Write,
) -> io::Result<()> {
    let found = &report.findings;
    let (words, of) = (found.drift_in_words(), found.in_all());
    let drift = format!("of {of}, {words}; {}", sums(report));
    let run = past.run.map(|run| run.to_string());
    let clean = match past.last_clean {
        None => String::new(),
        Some(None) => "; no clean run yet".to_owned(),
        Some(Some(at)) => format!("; last clean run {} ago", age((now - at).to_std().ok())),
    };
    lines(report, run.as_deref(), &clean, &drift, past, out)
}

/// Prints it as far as the daemon tells, which knows of it what is in its JSON.
pub(super) fn print_told(report: &Report, run: &str, out: &mut impl Write) -> io::Result<()> {
    lines(report, Some(run), "", &sums(report), &Past::default(), out)
}

fn sums(report: &Report) -> String {
    let found = &report.findings;
    format!("sum {}, of sizes {}", found.drift_sum, found.drift_abs_sum)
}

fn lines(
    report: &Report,
    run: Option<&str>,
    clean: &str,
    drift: &str,
    past: &Past,
    out: &mut impl Write,
) -> io::Result<()> {
    let found = &report.findings;
    let dry = if report.dry_run { " (dry run: nothing was written)" } else { "" };
    let seconds = Duration::from_millis(report.duration_ms).as_secs_f64();
    let run = run.map(|run| format!(", run {run}")).unwrap_or_default();
    let (job, outcome) = (printable(&report.job), report.outcome.word());
    writeln!(out, "{job}: {outcome}{dry} in {seconds:.1} s{run}{clean}")?;
    if let Some(reason) = &report.reason {
        writeln!(out, "  {}", printable(reason))?;
    }
    if found.is_empty() {
        return Ok(());
    }
    for (name, number, note) in [
        ("counters", found.counters, ""),
        ("drifted", found.drifted, drift),
        ("missing", found.missing, "of the drifted, absent in Redis"),
        ("ghosts", found.ghosts, "in Redis only"),
        ("repaired", found.repaired, ""),
        ("unproven", found.unproven, "kept moving, left alone"),
    ] {
        let note = if number == 0 { "" } else { note };
        writeln!(out, "{}", format!("  {name:<9} {number:>10}  {note}").trim_end())?;
    }
    samples(&found.samples, past, out)
}

fn samples(samples: &[Sample], past: &Past, out: &mut impl Write) -> io::Result<()> {
    if samples.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n  {:<24} {:>14} {:>14} {:>11}", "id", "Redis", "MySQL", "drift")?;
    let earlier = past.repaired.iter().copied().chain(std::iter::repeat(0));
    for (sample, earlier) in samples.iter().zip(earlier) {
        let (redis, mysql) = (amount(sample.redis), amount(sample.mysql));
        let drift = signed(sample.drift());
        let note = match earlier {
            0 => String::new(),
            1 => "repaired in 1 earlier run".to_owned(),
            runs => format!("repaired in {runs} earlier runs"),
        };
        let id = match sample.target.as_str() {
            "" => sample.id.clone(),
            target => format!("{} ({target})", sample.id),
        };
        let id = printable(&id);
        let line = format!("  {id:<24} {redis:>14} {mysql:>14} {drift:>11}  {note}");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// An amount, or `-` where there is none.
pub(super) fn amount(amount: Option<Amount>) -> String {
    amount.map_or_else(|| "-".to_owned(), |amount| amount.to_string())
}

/// A drift, with its sign.
pub(super) fn signed(amount: Amount) -> String {
    if amount.to_f64() > 0.0 { format!("+{amount}") } else { amount.to_string() }
}

/// How old something is, to its largest unit; a clock that stepped back makes it 0 s.
fn age(age: Option<Duration>) -> String {
    let seconds = age.unwrap_or_default().as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_to_its_largest_unit() {
        for (seconds, text) in
            [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (200_000, "2 days")]
        {
            assert_eq!(age(Some(Duration::from_secs(seconds))), text);
        }
    }
}
