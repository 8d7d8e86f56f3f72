//! A thousand clients that want nothing, and one that does. Alone in its process, because it counts
//! threads.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code)]
#[path = "admin_http/world.rs"]
mod world;

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use recountd::admin::limits::Limits;
use world::{Client, World};

/// Whether this is the child that may open enough files: 1,000 clients and the daemon's side of some.
const CHILD: &str = "RECOUNTD_TEST_MANY_FILES";

#[test]
fn a_thousand_idle_clients_keep_nobody_out_and_cost_no_more_than_64_threads() {
    if env::var_os(CHILD).is_none() {
        let this = env::current_exe().unwrap();
        let child = "ulimit -n 4096 || ulimit -n $(ulimit -Hn); exec \"$0\" --nocapture";
        let status = Command::new("sh").args(["-c", child]).arg(this).env(CHILD, "1").status();
        assert!(status.unwrap().success());
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
