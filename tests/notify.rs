//! What systemd is told, over a real socket. The environment of a process cannot be changed safely, so each test
//! starts this binary again with the environment that it needs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use recountd::notify::{self, Notice};

/// Says in the process that a test has started what to do there.
const TASK: &str = "RECOUNTD_TEST_TASK";

/// Runs `task` (see below) in a process of its own and gives what it says.
#[track_caller]
fn with_environment(task: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "task", "--nocapture"]).env(TASK, task);
    command.env_remove("WATCHDOG_USEC").env_remove("WATCHDOG_PID").env_remove("NOTIFY_SOCKET");
    let output = command.envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// No test: what the tests run in another process.
#[test]
fn task() {
    match std::env::var(TASK).as_deref() {
        Ok("interval") => println!("<{:?}>", notify::watchdog_interval()),
        Ok("tell") => {
            for notice in [Notice::Ready("3 jobs"), Notice::Watchdog, Notice::Stopping] {
                notify::tell(notice);
            }
        }
        _ => {}
    }
}

#[test]
fn the_loop_tells_twice_in_the_time_that_systemd_waits() {
    for (variables, interval) in [
        (&[("WATCHDOG_USEC", "120000000")][..], Some(Duration::from_secs(60))),
        (&[("WATCHDOG_USEC", "3000")], Some(Duration::from_micros(1500))),
        // It is another process that systemd watches.
        (&[("WATCHDOG_USEC", "120000000"), ("WATCHDOG_PID", "1")], None),
        (&[("WATCHDOG_USEC", "0")], None),
        (&[("WATCHDOG_USEC", "soon")], None),
        (&[], None),
    ] {
        let said = with_environment("interval", variables);
        assert!(said.contains(&format!("<{interval:?}>")), "{variables:?}: {said}");
    }
}

#[test]
fn each_notice_is_what_systemd_understands() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    with_environment("tell", &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    for want in ["READY=1\nSTATUS=3 jobs\n", "WATCHDOG=1\n", "STOPPING=1\n"] {
        let mut message = [0; 100];
        let length = socket.recv(&mut message).unwrap();
        assert_eq!(String::from_utf8_lossy(&message[..length]), want);
    }
}
