//! The schedule benchmark: recountd and APScheduler by turns with the same no-op jobs, then the agenda alone.

mod report;

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;

use crate::figures::Figures;
use crate::{jobs, machine, page, table, turn};
use report::{Measured, Turn};

/// Jobs that are due together at each full second.
const DUE: [u32; 4] = [1, 100, 1_000, 10_000];

/// Jobs that wait for the next full hour.
const IDLE: u32 = 10_000;

/// What starting and ending a scheduler takes at most, beside the measurement.
const MARGIN: Duration = Duration::from_secs(60);

/// Jobs on the agenda whose turn is measured.
const AGENDAS: [u32; 3] = [100, 10_000, 100_000];

#[derive(Args)]
pub struct Options {
    /// How long each scheduler is measured, in seconds, after two of warm-up.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// A Python that has APScheduler 3; without one, recountd is measured alone.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Where generated files may lie.
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
    /// The page whose section is rewritten.
    #[arg(long)]
    page: Option<PathBuf>,
}

pub fn measure(options: &Options) {
    let (machine, load) = (machine::line(), machine::load());
    println!("{machine}; load {load}\n");
    let folder = options.folder.join("schedule");
    let mut measured = Vec::new();
    for (jobs, idle) in DUE.map(|jobs| (jobs, false)).into_iter().chain([(IDLE, true)]) {
        let commands = [Some(recountd(&folder)), options.python.as_deref().map(apscheduler)];
        for command in commands.into_iter().flatten() {
            jobs::fresh(&folder);
            if idle {
                let length = Duration::from_secs(u64::from(options.seconds));
                jobs::wait_for_no_hour_within(length + MARGIN);
            }
            let figures = run(command, &folder, jobs, idle, options.seconds);
            println!("{}", report::line(jobs, idle, &figures));
            tell_of_log(&folder);
            measured.push(Measured { jobs, idle, figures });
        }
    }
    jobs::fresh(&folder);
    let costs = turn::measure(&folder, &AGENDAS);
    let turns: Vec<Turn> =
        AGENDAS.into_iter().zip(costs).map(|(jobs, cost)| Turn { jobs, cost }).collect();
    let text = report::text(options.seconds, &measured, &turns);
    println!("\n{text}");
    if let Some(path) = &options.page {
        page::rewrite(path, "schedule", &format!("{}\n\n{text}", report::origin(&machine, &load)));
        println!("written to {}", path.display());
    }
}

/// This program again, as a scheduler.
fn recountd(folder: &Path) -> Command {
    let mut command = Command::new(env::current_exe().expect("the benchmark knows where it is"));
    command.arg("scheduler").arg("--folder").arg(folder);
    command.env("NOTIFY_SOCKET", folder.join("notify"));
    command
}

fn apscheduler(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.arg("scripts/bench-apscheduler.py");
    command
}

/// Lets a scheduler measure itself; what it logs goes into a file, as it would into the journal.
fn run(mut command: Command, folder: &Path, jobs: u32, idle: bool, seconds: u32) -> Figures {
    let log = File::create(log_of(folder)).expect("the folder can be written to");
    command.args(["--jobs", &jobs.to_string(), "--seconds", &seconds.to_string()]);
    command.args(idle.then_some("--idle"));
    // Both log warnings and errors alone.
    command.env("RUST_LOG", "warn").stdout(Stdio::piped()).stderr(log);
    let child = command.spawn().expect("the scheduler can be started");
    let output = child.wait_with_output().expect("the scheduler can be waited for");
    if !output.status.success() {
        tell_of_log(folder);
    }
    serde_json::from_slice(&output.stdout).expect("the scheduler prints its figures")
}

fn log_of(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// A scheduler that had something to say did not do all that it was told.
fn tell_of_log(folder: &Path) {
    let log = fs::read_to_string(log_of(folder)).unwrap_or_default();
    let lines = log.lines().count();
    if lines > 0 {
        println!("  it logged {} lines, the last of them:", table::number(lines as u64));
        log.lines().skip(lines.saturating_sub(3)).for_each(|line| println!("  {line}"));
    }
}
