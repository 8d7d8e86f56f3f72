//! What a crowd does to the whole process: a thousand clients that want nothing, and files that run out.
//! Each test is alone in a child, because threads and files are counted for all of a process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code)]
#[path = "admin_http/world.rs"]
mod world;

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use recountd::admin::limits::Limits;
use world::{Client, World};

/// Set in the child.
const CHILD: &str = "RECOUNTD_TEST_CHILD";

/// Runs the test in a child that may open so many files; true in that child.
fn alone(test: &str, files: u32) -> bool {
    if env::var_os(CHILD).is_some() {
        return true;
    }
    let run = format!("ulimit -n {files} && exec \"$0\" --exact {test} --nocapture");
    let this = env::current_exe().unwrap();
    let status = Command::new("sh").args(["-c", &run]).arg(this).env(CHILD, "1").status();
    assert!(status.unwrap().success());
    false
}

#[test]
fn a_thousand_idle_clients_keep_nobody_out_and_cost_no_more_than_64_threads() {
    let me = "a_thousand_idle_clients_keep_nobody_out_and_cost_no_more_than_64_threads";
    // The clients, those who come while they are there, and the daemon's side.
    if !alone(me, 4096) {
        return;
    }
    let world = world::world(Limits::default());
    for connect in [World::over_unix, World::over_tcp] {
        let crowd: Vec<Client> = (0..1000).map(|number| idler(&world, connect, number)).collect();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                // They keep coming.
                let mut more = Vec::new();
                while !done.load(Ordering::SeqCst) && more.len() < 1000 {
                    more.push(idler(&world, connect, more.len()));
                    thread::sleep(Duration::from_millis(2));
                }
            });
            for _ in 0..30 {
                let begun = Instant::now();
                let answer = connect(&world).ask(world.request("GET /echo", ""));
                assert_eq!(answer.status, 200);
                assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
                assert!(threads() <= 2 * 64, "{} threads for two listeners", threads());
            }
            done.store(true, Ordering::SeqCst);
        });
        drop(crowd);
    }
}

/// Counts what is logged about connections that cannot be accepted.
struct Complaints;

static COMPLAINTS: AtomicUsize = AtomicUsize::new(0);

impl log::Log for Complaints {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.args().to_string().contains("no connection can be accepted") {
            COMPLAINTS.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn flush(&self) {}
}

#[test]
fn when_the_files_run_out_it_says_so_once_and_goes_on_when_there_are_some_again() {
    let me = "when_the_files_run_out_it_says_so_once_and_goes_on_when_there_are_some_again";
    if !alone(me, 128) {
        return;
    }
    log::set_logger(&Complaints).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let world = world::world(Limits::default());
    assert_eq!(world.over_unix().ask(world.request("GET /echo", "")).status, 200);
    let (mut taken, mut clients) = (Vec::new(), Vec::new());
    // The system reserves the file for the next connection before it waits for one: so the client
    // that takes the last file is let in, and nobody after it.
    world::becomes("it complains", || {
        taken.extend(std::iter::from_fn(|| fs::File::open("/dev/null").ok()));
        taken.pop();
        let mut client = world.over_unix();
        client.send(world.request("GET /echo", ""));
        clients.push(client);
        thread::sleep(Duration::from_millis(50));
        COMPLAINTS.load(Ordering::SeqCst) > 0
    });
    // Time for a few more tries.
    thread::sleep(Duration::from_millis(500));
    taken.clear();
    assert!(clients.iter_mut().all(|client| client.answer().status == 200));
    assert_eq!(world.over_unix().ask(world.request("GET /echo", "")).status, 200);
    assert_eq!(COMPLAINTS.load(Ordering::SeqCst), 1);
}

/// Every second one has sent half a request.
fn idler(world: &World, connect: fn(&World) -> Client, number: usize) -> Client {
    let mut client = connect(world);
    if number.is_multiple_of(2) {
        client.try_send("GET /echo HTTP/1.1\r\nHost: ");
    }
    client
}

/// How many threads serve connections.
fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let serves = |name: &String| {
        name.trim().strip_prefix("admin-").is_some_and(|rest| rest.parse::<u64>().is_ok())
    };
    names.filter(serves).count()
}
