//! The admin benchmark: how late jobs start while a crowd is at the control plane. One daemon; the crowds take turns.

pub mod besieged;
pub mod crowd;
mod helper;
mod line;
mod phase;
mod probe;
mod report;

use std::env;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use recountd::clock;

use crate::figures::{self, Lateness};
use crate::{jobs, machine, page, process};
use crowd::Done;
use helper::Helper;
use phase::Phase;
use report::{Measured, Round};

/// Jobs that are due together at each full second.
const JOBS: u32 = 100;

/// The variable that holds the token of the control plane.
pub const TOKEN: &str = "RECOUNTD_BENCH_TOKEN";

/// Warm-up and waiting take less than this many seconds beside the measurement of each phase.
const MARGIN: u32 = 30;

/// How long the threads of a crowd that has left may take to end.
const LEAVE: Duration = Duration::from_secs(15);

#[derive(Args)]
pub struct Options {
    /// How long each crowd is measured in each round, in seconds, after two of warm-up.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// How often each crowd has its turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Where generated files may lie.
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
    /// The page whose section is rewritten.
    #[arg(long)]
    page: Option<PathBuf>,
}

/// What every phase needs.
struct Stage {
    daemon: Helper,
    address: SocketAddr,
    folder: PathBuf,
    token: String,
    /// Threads of the daemon while nobody is there.
    threads: u32,
}

pub fn measure(options: &Options) {
    let (machine, load) = (machine::line(), machine::load());
    println!("{machine}; load {load}\n");
    let folder = options.folder.join("admin");
    jobs::fresh(&folder);
    let folder = folder.canonicalize().expect("the folder is there");
    let mut stage = Stage::set(options, folder);
    let mut measured: Vec<Measured> = Phase::ALL.into_iter().map(Measured::new).collect();
    for number in 1..=options.rounds {
        for one in &mut measured {
            let round = stage.measure(one.phase, options.seconds);
            println!("{}", report::line(number, one.phase, &round));
            one.rounds.push(round);
        }
    }
    let log = stage.log();
    drop(stage);
    log.iter().for_each(|line| println!("it logged: {line}"));
    let text = report::text(options.seconds, options.rounds, &measured);
    println!("\n{text}");
    if let Some(path) = &options.page {
        page::rewrite(path, "admin", &format!("{}\n\n{text}", report::origin(&machine, &load)));
        println!("written to {}", path.display());
    }
}

impl Stage {
    /// Starts the daemon.
    fn set(options: &Options, folder: PathBuf) -> Self {
        let address = free_address();
        let token = format!("{:032x}", fastrand::u128(..));
        let phases = u32::try_from(Phase::ALL.len()).unwrap_or_default();
        let seconds = (options.seconds + MARGIN) * phases * options.rounds;
        let log = File::create(folder.join("log")).expect("the folder can be written to");
        let mut command = myself(&[]);
        command.args(["besieged", "--jobs", &JOBS.to_string(), "--seconds", &seconds.to_string()]);
        command.args(["--port", &address.port().to_string(), "--folder"]).arg(&folder);
        command.env("NOTIFY_SOCKET", folder.join("notify")).env(TOKEN, &token);
        command.env("RUST_LOG", "warn").stderr(log);
        let mut daemon = Helper::start(&mut command);
        daemon.hear();
        let threads = process::threads(daemon.process());
        Self { daemon, address, folder, token, threads }
    }

    /// Lets a crowd in, measures, and waits until nothing is left of it.
    fn measure(&mut self, phase: Phase, seconds: u32) -> Round {
        let process = self.daemon.process();
        let mut crowd = Helper::start(&mut self.crowd(phase));
        thread::sleep(figures::WARM_UP);
        thread::sleep(figures::until_half_second(clock::wall()));
        process::forget_peak(process);
        let length = Duration::from_secs(u64::from(seconds));
        let (from, before) = (clock::wall(), done(&mut crowd));
        let cpu_before = [process, crowd.process()].map(process::cpu_time);
        let until = clock::monotonic() + length;
        let (tcp, unix) = self.probe_until(until);
        thread::sleep(until.saturating_duration_since(clock::monotonic()));
        let cpu_after = [process, crowd.process()].map(process::cpu_time);
        let [cpu_percent, crowd_cpu_percent] = [0, 1].map(|at: usize| {
            let (before, after) = (cpu_before.get(at), cpu_after.get(at));
            let spent = after.zip(before).map(|(after, before)| after.saturating_sub(*before));
            spent.unwrap_or_default().as_secs_f64() / length.as_secs_f64() * 100.0
        });
        let (memory_mb, peak_mb) = process::memory_mb(process);
        let threads = process::threads(process);
        let (after, to) = (done(&mut crowd), from + length);
        thread::sleep(figures::STRAGGLERS);
        let late = self.daemon.ask(&format!("{} {}", from.timestamp(), to.timestamp()));
        let late: Vec<u32> = serde_json::from_str(&late).expect("the daemon answers in JSON");
        drop(crowd);
        self.wait_for_calm();
        Round {
            runs: late.len() as u64,
            slots: u64::from(JOBS) * u64::from(seconds),
            late: Lateness::of(late),
            cpu_percent,
            crowd_cpu_percent,
            memory_mb,
            peak_mb,
            threads,
            done: Done {
                connected: after.connected - before.connected,
                unconnected: after.unconnected - before.unconnected,
                answered: after.answered - before.answered,
                refused: after.refused - before.refused,
            },
            tcp,
            unix,
        }
    }

    /// The crowd has the lowest priority, as if it were on other machines: what it needs of the cores is what the
    /// daemon leaves.
    fn crowd(&self, phase: Phase) -> Command {
        let mut command = myself(&["nice", "-n", "19"]);
        command.args(["crowd", "--phase", phase.name(), "--jobs", &JOBS.to_string()]);
        command.args(["--port", &self.address.port().to_string()]).env(TOKEN, &self.token);
        command
    }

    fn probe_until(&self, until: Instant) -> (probe::Heard, probe::Heard) {
        let (address, socket) = (self.address, besieged::socket(&self.folder));
        thread::scope(|scope| {
            let tcp = scope.spawn(move || probe::over_tcp(address, until));
            let unix = probe::over_unix(&socket, until);
            (tcp.join().expect("the probe ends"), unix)
        })
    }

    fn wait_for_calm(&self) {
        let deadline = clock::monotonic() + LEAVE;
        while process::threads(self.daemon.process()) > self.threads {
            assert!(clock::monotonic() < deadline, "threads of a crowd that has left live on");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The last of what the daemon said.
    fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines = log.lines().count();
        log.lines().skip(lines.saturating_sub(5)).map(str::to_owned).collect()
    }
}

/// This program again, by another that starts it, if there is to be one.
fn myself(through: &[&str]) -> Command {
    let path = env::current_exe().expect("the benchmark knows where it is");
    let [program, arguments @ ..] = through else { return Command::new(path) };
    let mut command = Command::new(program);
    command.args(arguments).arg(path);
    command
}

fn done(crowd: &mut Helper) -> Done {
    serde_json::from_str(&crowd.ask("")).expect("the crowd answers in JSON")
}

/// The daemon is told where to listen, so a port is looked for before it starts.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("a listener has an address")
}
