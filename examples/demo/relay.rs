//! Reads recountd's log while it runs, and tells of the repairs in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::support::Daemon;
use crate::tell;

/// How long to wait for a line before the demo looks at its clock again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Repairs that are shown of a run, as examples.
const SHOWN: usize = 5;

/// What the log has told so far.
pub struct Relay {
    began: Instant,
    /// Repairs of the run that is under way, by job.
    repairs: BTreeMap<String, Vec<String>>,
    /// Jobs of which it was told that they found nothing to do: once is enough.
    told_clean: BTreeSet<String>,
    runs: BTreeMap<String, u64>,
}

/// What a line of the log says.
#[derive(Debug, PartialEq)]
enum Line<'a> {
    /// `JOB: repaired id ID: FROM -> TO`
    Repair {
        job: &'a str,
        change: &'a str,
    },
    /// `JOB: OUTCOME; N counters, ...`
    Ended {
        job: &'a str,
        summary: &'a str,
    },
    /// A warning or an error.
    Trouble(&'a str),
    Other,
}

impl Relay {
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            repairs: BTreeMap::new(),
            told_clean: BTreeSet::new(),
            runs: BTreeMap::new(),
        }
    }

    /// Runs of this job that have ended.
    pub fn runs_of(&self, job: &str) -> u64 {
        self.runs.get(job).copied().unwrap_or(0)
    }

    /// Takes the next line, if one comes soon.
    pub fn next(&mut self, daemon: &Daemon) {
        let Some(line) = daemon.stderr.next(LOOK_AGAIN, |_| true) else {
            return;
        };
        match read(&line) {
            Line::Repair { job, change } => {
                self.repairs.entry(job.to_owned()).or_default().push(change.to_owned());
            }
            Line::Ended { job, summary } => self.ended(job, summary),
            Line::Trouble(text) => tell::moment(self.began.elapsed(), text),
            Line::Other => {}
        }
    }

    /// A run is told of when it has ended, in one line with a few of its repairs below.
    fn ended(&mut self, job: &str, summary: &str) {
        *self.runs.entry(job.to_owned()).or_default() += 1;
        let repairs = self.repairs.remove(job).unwrap_or_default();
        let clean = summary.starts_with("clean");
        if clean && !self.told_clean.insert(job.to_owned()) {
            return;
        }
        tell::moment(self.began.elapsed(), &format!("{job:<15}  {summary}"));
        for repair in repairs.iter().take(SHOWN) {
            tell::aside(&format!("user {repair}"));
        }
        if repairs.len() > SHOWN {
            tell::aside(&format!("and {} more", repairs.len() - SHOWN));
        }
    }
}

/// Understands a line of the log: `TIME LEVEL TEXT`.
fn read(line: &str) -> Line<'_> {
    let mut words = line.splitn(3, ' ');
    let (Some(_time), Some(level), Some(text)) = (words.next(), words.next(), words.next()) else {
        return Line::Other;
    };
    let text = text.trim_start();
    let Some((job, told)) = text.split_once(": ") else {
        return trouble(level, text);
    };
    if let Some(change) = told.strip_prefix("repaired id ") {
        return Line::Repair { job, change };
    }
    match told.split_once(" counters, ") {
        // Behind it stand the number and the slot of the run, which do not matter here.
        Some(_) => Line::Ended { job, summary: told.split(" (").next().unwrap_or(told) },
        None => trouble(level, text),
    }
}

fn trouble<'a>(level: &str, text: &'a str) -> Line<'a> {
    if ["WARN", "ERROR"].contains(&level) { Line::Trouble(text) } else { Line::Other }
}
