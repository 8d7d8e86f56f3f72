//! The daemon that has a crowd at its control plane: its own loop, agenda, pool and sockets, with no-op work.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use chrono::DateTime;
use clap::Args;
use recountd::agenda::{Cause, Ended, Order};
use recountd::jobs::Cancel;
use recountd::report::Outcome;
use recountd::{clock, daemon, pool};
use signal_hook::consts::SIGTERM;

use super::TOKEN;
use crate::jobs;
use crate::scheduler::listen_as_systemd;
use crate::starts::Starts;

#[derive(Args)]
pub struct Options {
    /// So many jobs, due at each full second.
    #[arg(long)]
    jobs: u32,
    /// The slots of so many seconds are remembered.
    #[arg(long)]
    seconds: u32,
    /// The port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// A folder for jobs.toml, the Unix socket, and what the daemon leaves beside it.
    #[arg(long)]
    folder: PathBuf,
}

/// Where its Unix socket is.
pub fn socket(folder: &Path) -> PathBuf {
    folder.join("admin.sock")
}

/// Runs until its input ends. Each line of that asks for the slots from one second to another, and is answered with how
/// late each of them started, in microseconds, as JSON in a line.
pub fn run(options: &Options) {
    env_logger::init();
    let path = jobs::write(&options.folder, options.jobs, jobs::EACH_SECOND);
    let listen = [
        format!("127.0.0.1:{}", options.port),
        format!("unix:{}", socket(&options.folder).display()),
    ];
    let mut file = OpenOptions::new().append(true).open(&path).expect("jobs.toml can be opened");
    writeln!(file, "[admin]\nlisten = {listen:?}\ntoken = \"${{{TOKEN}}}\"")
        .expect("jobs.toml can be written to");
    let room = u64::from(options.jobs) * u64::from(options.seconds);
    let starts = Arc::new(Starts::with_room(usize::try_from(room).expect("it fits in memory")));
    // It has to outlive the daemon, which says when it stops, too.
    let systemd = Arc::new(listen_as_systemd());
    let (told, asked) = (Arc::clone(&systemd), Arc::clone(&starts));
    thread::spawn(move || {
        told.recv(&mut [0; 512]).expect("the daemon gets ready");
        println!("ready");
        answer(&asked);
        signal_hook::low_level::raise(SIGTERM).expect("a process can signal itself");
    });
    let work: Arc<pool::Work> = Arc::new(move |order: &Order, _: &Cancel| {
        if order.cause == Cause::Slot {
            starts.add(order.slot, clock::wall());
        }
        Ended::Done { outcome: Outcome::Clean, reason: None, retry: false, report: None }
    });
    daemon::run_with(path, &work).expect("the daemon starts");
}

fn answer(starts: &Starts) {
    for line in io::stdin().lines().map_while(Result::ok) {
        let mut times = line
            .split_whitespace()
            .map_while(|second| DateTime::from_timestamp(second.parse().ok()?, 0));
        let from = times.next().expect("a line is two seconds");
        let to = times.next().expect("a line is two seconds");
        let late = starts.lateness_of_slots(from, to);
        println!("{}", serde_json::to_string(&late).expect("numbers are JSON"));
    }
}
