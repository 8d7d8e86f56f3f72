//! recountd's own loop, agenda and pool with no-op work, measured from inside its process.

use std::env;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Args;
use recountd::agenda::{Ended, Order};
use recountd::jobs::Cancel;
use recountd::report::Outcome;
use recountd::{clock, daemon, pool};
use signal_hook::consts::SIGTERM;

use crate::figures::{self, Figures, Lateness};
use crate::starts::Starts;
use crate::{jobs, process};

/// How long the daemon may take to get ready: reading 10,000 jobs needs less than a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// Warm-up and waiting take less than this many seconds beside the measurement.
const MARGIN: u32 = 10;

#[derive(Args)]
pub struct Options {
    /// So many jobs.
    #[arg(long)]
    jobs: u32,
    /// They are due at each full hour instead of each full second.
    #[arg(long)]
    idle: bool,
    /// How long to measure, in seconds.
    #[arg(long)]
    seconds: u32,
    /// A folder for jobs.toml and what the daemon leaves beside it.
    #[arg(long)]
    folder: PathBuf,
}

/// Runs the daemon on generated jobs, ends it by SIGTERM, and prints what was measured meanwhile.
pub fn measure(options: &Options) {
    env_logger::init();
    let trigger = if options.idle { jobs::EACH_HOUR } else { jobs::EACH_SECOND };
    let path = jobs::write(&options.folder, options.jobs, trigger);
    let room = if options.idle { 0 } else { options.jobs * (options.seconds + MARGIN) };
    let starts = Arc::new(Starts::with_room(room as usize));
    // It has to outlive the daemon, which says when it stops, too.
    let systemd = Arc::new(listen_as_systemd());
    let watcher = {
        let (systemd, starts) = (Arc::clone(&systemd), Arc::clone(&starts));
        let (due, seconds) = (if options.idle { 0 } else { options.jobs }, options.seconds);
        thread::spawn(move || watch(&systemd, &starts, due, seconds))
    };
    let work: Arc<pool::Work> = Arc::new(move |order: &Order, _: &Cancel| {
        starts.add(order.slot, clock::wall());
        Ended::Done { outcome: Outcome::Clean, reason: None, retry: false, report: None }
    });
    daemon::run_with(path, &work).expect("the daemon starts");
    let figures = watcher.join().expect("the measurement succeeds");
    println!("{}", serde_json::to_string(&figures).expect("figures are JSON"));
}

/// The socket by which the daemon tells systemd that its schedule runs; here it tells us.
pub fn listen_as_systemd() -> UnixDatagram {
    let path = env::var_os("NOTIFY_SOCKET").expect("NOTIFY_SOCKET names a socket to be made");
    let socket = UnixDatagram::bind(path).expect("the socket can be made");
    socket.set_read_timeout(Some(PATIENCE)).expect("the socket takes a time-out");
    socket
}

/// Measures while the daemon runs, then ends it.
fn watch(systemd: &UnixDatagram, starts: &Starts, due: u32, seconds: u32) -> Figures {
    systemd.recv(&mut [0; 512]).expect("the daemon gets ready");
    thread::sleep(figures::WARM_UP);
    thread::sleep(figures::until_half_second(clock::wall()));
    let (from, length) = (clock::wall(), Duration::from_secs(u64::from(seconds)));
    let cpu_before = process::cpu_time(process::SELF);
    thread::sleep(length);
    let cpu = process::cpu_time(process::SELF) - cpu_before;
    let (memory_mb, peak_mb) = process::memory_mb(process::SELF);
    thread::sleep(figures::STRAGGLERS);
    let late = starts.lateness_of_slots(from, from + length);
    signal_hook::low_level::raise(SIGTERM).expect("a process can signal itself");
    Figures {
        scheduler: "recountd".to_owned(),
        runs: late.len() as u64,
        slots: u64::from(due) * u64::from(seconds),
        lateness: Lateness::of(late),
        cpu_percent: cpu.as_secs_f64() / length.as_secs_f64() * 100.0,
        memory_mb,
        peak_mb,
    }
}
