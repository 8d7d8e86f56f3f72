//! The machine that the figures hold for.

use std::fs;
use std::thread;

/// Its cores, CPU and kernel, in a line.
pub fn line() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let word = if cores == 1 { "core" } else { "cores" };
    format!("{cores} {word} of {}, Linux {}", cpu(), kernel())
}

fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    // Not every architecture names its model.
    let model = model.and_then(|model| model.split_once(": ")).map(|(_, model)| model.trim());
    model.unwrap_or(std::env::consts::ARCH).to_owned()
}

fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// How many threads wanted to run in the last minute, on average: what else the machine was at.
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("unknown").to_owned()
}
