//! What is measured, and how each of them is run and checked.

use std::env;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::Programs;
use super::stage::{JOB, Stage};
use super::watch::{self, Run};
use crate::limit::KEY;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Python: everything into memory, then the key made anew.
    OldWay,
    /// The same without a time-out, where the old way has failed: what it would take.
    Patient,
    /// MySQL's stream alone.
    Stream,
    /// Redis's comparison alone.
    Compare,
    /// recountd, with nothing to do.
    NoDrift,
    /// recountd, one of a thousand counters wrong.
    Drift,
    /// Redis's filling alone, by a script.
    Fill,
    /// The same by ZADD NX.
    Add,
    /// recountd, the key lost.
    Lost,
}

impl Subject {
    pub const ALL: [Self; 9] = [
        Self::OldWay,
        Self::Patient,
        Self::Stream,
        Self::Compare,
        Self::NoDrift,
        Self::Drift,
        Self::Fill,
        Self::Add,
        Self::Lost,
    ];

    /// Which process it is, and in which state the counters are before.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::OldWay => ("the old way", "any"),
            Self::Patient => ("the old way, no time-out", "any"),
            Self::Stream => ("MySQL's stream alone", "-"),
            Self::Compare => ("Redis's comparison alone", "no drift"),
            Self::NoDrift => ("recountd", "no drift"),
            Self::Drift => ("recountd", "0.1% drift"),
            Self::Fill => ("Redis's filling alone, script", "all lost"),
            Self::Add => ("Redis's filling alone, ZADD NX", "all lost"),
            Self::Lost => ("recountd", "all lost"),
        }
    }

    /// Brings the counters into its state, runs it, and checks what it did. All counters are true afterwards. None
    /// if its program is missing.
    pub fn run(self, programs: &Programs, stage: &mut Stage, bound: Duration) -> Option<Run> {
        let counters = stage.counters().to_string();
        let port = stage.redis_port().to_string();
        let run = match self {
            Self::OldWay => old_way(programs.python.as_deref()?, &[], stage, bound),
            Self::Patient => old_way(programs.python.as_deref()?, &["--patient"], stage, bound),
            Self::Stream => {
                let url = stage.mysql_url().to_owned();
                limit(&["mysql", &url], stage, stage.counters())
            }
            Self::Compare => limit(&["compare", &port, &counters], stage, 0),
            Self::NoDrift => recountd(programs, stage, "clean", 0),
            Self::Drift => {
                let drifted = stage.drift();
                recountd(programs, stage, "repaired", drifted)
            }
            Self::Fill | Self::Add => {
                stage.lose();
                let how = if self == Self::Fill { "fill" } else { "add" };
                limit(&[how, &port, &counters], stage, stage.counters())
            }
            Self::Lost => {
                stage.lose();
                recountd(programs, stage, "repaired", stage.counters())
            }
        };
        if run.failure.is_some() {
            stage.restore();
        } else {
            stage.check();
        }
        Some(run)
    }
}

/// The time is that of the work itself: a web app has started its Python long before.
fn old_way(python: &Path, more: &[&str], stage: &mut Stage, bound: Duration) -> Run {
    let mut command = Command::new(python);
    command.arg("scripts/bench-old-way.py").args(more).args([
        "--mysql",
        stage.mysql_url(),
        "--key",
        KEY,
    ]);
    command.args(["--port", &stage.redis_port().to_string()]);
    let (mut run, printed) = watch::run(&mut command, stage, bound);
    if run.failure.is_none() {
        let told: Value = serde_json::from_str(&printed).expect("it prints JSON");
        let seconds = told.get("seconds").and_then(Value::as_f64);
        run.seconds = seconds.expect("it prints how long it took");
        run.versions = told.get("versions").and_then(Value::as_str).map(str::to_owned);
        run.failure = told.get("error").and_then(Value::as_str).map(str::to_owned);
    }
    run
}

/// This program again, as one store's client; `figure` is what it has to print.
fn limit(arguments: &[&str], stage: &mut Stage, figure: u64) -> Run {
    let mut command = Command::new(env::current_exe().expect("the benchmark knows where it is"));
    command.arg("limit").args(arguments);
    let (run, printed) = watch::run(&mut command, stage, Duration::MAX);
    assert_eq!(run.failure, None, "a limit can be reached");
    assert_eq!(printed.trim(), figure.to_string(), "it did all");
    run
}

fn recountd(programs: &Programs, stage: &mut Stage, outcome: &str, drifted: u64) -> Run {
    let mut command = Command::new(&programs.recountd);
    command.args(["once", JOB, "--json", "-c"]).arg(stage.folder().join("jobs.toml"));
    command.env("RUST_LOG", "warn");
    let (run, printed) = watch::run(&mut command, stage, Duration::MAX);
    assert_eq!(run.failure, None, "recountd succeeds: {printed}");
    let told: Value = serde_json::from_str(&printed).expect("it prints JSON");
    let number = |name| told.get(name).and_then(Value::as_u64);
    assert_eq!(told.get("outcome").and_then(Value::as_str), Some(outcome), "{printed}");
    assert_eq!(number("counters"), Some(stage.counters()), "{printed}");
    assert_eq!(
        (number("drifted"), number("repaired")),
        (Some(drifted), Some(drifted)),
        "{printed}"
    );
    run
}
