//! A process under watch: how long it takes, what it costs itself and the servers, what another client feels of it.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::ping::Pinging;
use super::stage::Stage;
use crate::figures::Lateness;
use crate::process;

/// How often a process is looked at; also how exact its time is.
const LOOK: Duration = Duration::from_millis(4);

/// What was measured of one process. Memory in MB (10^6 bytes).
#[derive(Debug, Clone)]
pub struct Run {
    pub seconds: f64,
    /// Why it did not succeed.
    pub failure: Option<String>,
    /// Of its libraries, if it tells.
    pub versions: Option<String>,
    /// CPU seconds of the process, of redis-server and of mariadbd meanwhile.
    pub cpu: f64,
    pub redis_cpu: f64,
    pub mysql_cpu: f64,
    /// The most resident memory of the process, and of redis-server meanwhile.
    pub peak_mb: f64,
    pub redis_peak_mb: f64,
    /// The longest command of Redis, if it took more than a millisecond.
    pub longest_command_ms: Option<f64>,
    /// How long another client waited for the reply to a PING.
    pub ping: Lateness,
}

/// Runs a command to its end, or kills it after `bound`; gives what it printed, too.
pub fn run(command: &mut Command, stage: &mut Stage, bound: Duration) -> (Run, String) {
    let log = stage.folder().join("log");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(File::create(&log).expect("the folder can be written to"));
    let (redis, mysql) = (stage.redis_process(), stage.mysql_process());
    stage.forget_slow_commands();
    process::forget_peak(redis);
    let cpu_of = |server| process::cpu_time(server);
    let (redis_cpu, mysql_cpu) = (cpu_of(redis), cpu_of(mysql));
    let pinging = Pinging::start(stage.redis_port());
    let begin = Instant::now();
    let child = command.spawn().expect("the process can be started");
    let (seconds, peak_mb, in_time) = watch(&child, begin, bound);
    let cpu = process::cpu_time(child.id());
    let (redis_cpu, mysql_cpu) = (cpu_of(redis) - redis_cpu, cpu_of(mysql) - mysql_cpu);
    let ping = pinging.stop();
    let output = end(child, in_time);
    let failure = if !in_time {
        Some(format!("ended after {} s", bound.as_secs()))
    } else if !output.status.success() {
        let log = fs::read_to_string(&log).unwrap_or_default();
        Some(format!("{}: {}", output.status, log.lines().last().unwrap_or_default()))
    } else {
        None
    };
    let run = Run {
        seconds,
        failure,
        versions: None,
        cpu: cpu.as_secs_f64(),
        redis_cpu: redis_cpu.as_secs_f64(),
        mysql_cpu: mysql_cpu.as_secs_f64(),
        peak_mb,
        redis_peak_mb: process::memory_mb(redis).1,
        longest_command_ms: stage.longest_command_ms(),
        ping,
    };
    (run, String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Until the process ends, or the time is over: its time, its peak of memory, whether it ended.
fn watch(child: &Child, begin: Instant, bound: Duration) -> (f64, f64, bool) {
    let mut peak_mb = 0.0_f64;
    loop {
        peak_mb = peak_mb.max(process::peak_mb(child.id()).unwrap_or_default());
        // Only looked at and not waited for: its CPU time is gone after that.
        let ended = process::has_ended(child.id());
        let time = begin.elapsed();
        if ended || time >= bound {
            return (time.as_secs_f64(), peak_mb, ended);
        }
        thread::sleep(LOOK);
    }
}

fn end(mut child: Child, in_time: bool) -> std::process::Output {
    if !in_time {
        child.kill().expect("a child can be killed");
    }
    child.wait_with_output().expect("a child can be waited for")
}
