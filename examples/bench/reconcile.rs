//! The reconcile benchmark: recountd, the old way and the limits by turns, on one table and one key.

mod ping;
mod report;
mod stage;
mod subject;
mod watch;

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::{jobs, machine, page, table};
use report::Size;
use stage::Stage;
use subject::Subject;

/// Counters, if nobody says how many.
const COUNTERS: [u64; 2] = [1_000_000, 10_000_000];

/// Above this, one round takes so long that it stands for itself.
const LARGE: u64 = 2_000_000;
const ROUNDS: u32 = 3;

/// A process that takes longer is ended, and that is its figure.
const BOUND: Duration = Duration::from_secs(300);

#[derive(Args)]
pub struct Options {
    /// How many counters; each number is a table of its own.
    #[arg(default_values_t = COUNTERS, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    counters: Vec<u64>,
    /// How often everything is measured; by default 3 times, and once above 2,000,000 counters.
    #[arg(long)]
    rounds: Option<u32>,
    /// A Python that has SQLAlchemy, PyMySQL and redis-py; without one, the old way is left out.
    #[arg(long)]
    python: Option<PathBuf>,
    /// The recountd binary; by default the one that was built beside this program.
    #[arg(long)]
    recountd: Option<PathBuf>,
    /// Where generated files may lie.
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
    /// The page whose section is rewritten.
    #[arg(long)]
    page: Option<PathBuf>,
}

/// The programs that are measured, beside this one.
pub struct Programs {
    pub recountd: PathBuf,
    pub python: Option<PathBuf>,
}

pub fn measure(options: &Options) {
    let (machine, load) = (machine::line(), machine::load());
    progress(&format!("{machine}; load {load}"));
    let recountd = options.recountd.clone().unwrap_or_else(built_beside);
    let programs = Programs {
        recountd: recountd.canonicalize().expect("recountd is built; scripts/bench does that"),
        python: options.python.clone(),
    };
    let sizes: Vec<Size> = options
        .counters
        .iter()
        .map(|counters| {
            let rounds = if *counters > LARGE { 1 } else { ROUNDS };
            measure_size(&programs, &options.folder, *counters, options.rounds.unwrap_or(rounds))
        })
        .collect();
    let text = report::text(&sizes);
    println!("{text}");
    if let Some(path) = &options.page {
        let origin = report::origin(&machine, &load, &sizes);
        page::rewrite(path, "reconcile", &format!("{origin}\n\n{text}"));
        println!("written to {}", path.display());
    }
}

/// All that is measured takes turns, so that whatever else the machine does is spread over all of it.
fn measure_size(programs: &Programs, folder: &Path, counters: u64, rounds: u32) -> Size {
    let folder = folder.join("reconcile");
    jobs::fresh(&folder);
    progress(&format!("{} counters: filling MySQL and Redis", table::number(counters)));
    let mut stage = Stage::set(counters, &folder);
    let mut size = Size::new(counters, rounds, &mut stage);
    for round in 1..=rounds {
        for subject in Subject::ALL {
            if subject == Subject::Patient && !size.failed(Subject::OldWay) {
                continue;
            }
            let Some(run) = subject.run(programs, &mut stage, BOUND) else { continue };
            progress(&format!("  round {round} of {rounds}: {}", report::line(subject, &run)));
            size.add(subject, run);
        }
    }
    size
}

/// What is under way goes to standard error; standard output has the tables.
#[expect(clippy::print_stderr, reason = "a benchmark of minutes has to show that it lives")]
fn progress(line: &str) {
    eprintln!("bench: {line}");
}

/// Cargo puts examples into a folder beside the binaries.
fn built_beside() -> PathBuf {
    let mut path = env::current_exe().expect("the benchmark knows where it is");
    path.pop();
    path.pop();
    path.join("recountd")
}
