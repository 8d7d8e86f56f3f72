//! What Linux tells of a process: its CPU time, its memory, whether it has ended.

use std::fs;
use std::time::Duration;

/// The kernel counts a process's CPU time for its users in hundredths of a second, on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// The number of whoever asks, for all functions here.
pub const SELF: u32 = 0;

/// CPU time of a process so far, all its threads together. That of a process that has ended is told until its parent
/// has waited for it.
pub fn cpu_time(process: u32) -> Duration {
    let stat = read(process, "stat").expect("Linux tells of the process");
    // The second field is the name in brackets, which may hold anything; the 14th and 15th are the times.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    TICK * fields.map(|field| field.parse::<u32>().expect("a number")).sum()
}

/// Resident memory of a process in MB: now, and at its highest.
pub fn memory_mb(process: u32) -> (f64, f64) {
    let status = read(process, "status").expect("Linux tells of the process");
    let field = |name| field_mb(&status, name).expect("Linux tells of memory in kB");
    (field("VmRSS:"), field("VmHWM:"))
}

/// The highest resident memory of a process in MB; none once it has ended.
pub fn peak_mb(process: u32) -> Option<f64> {
    field_mb(&read(process, "status")?, "VmHWM:")
}

/// How many threads a process has.
pub fn threads(process: u32) -> u32 {
    let status = read(process, "status").expect("Linux tells of the process");
    let count = status.lines().find_map(|line| line.strip_prefix("Threads:"));
    count.and_then(|count| count.trim().parse().ok()).expect("Linux tells of threads")
}

/// Whether it has ended, and waits for its parent to take notice.
pub fn has_ended(process: u32) -> bool {
    let status = read(process, "status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && line.contains("zombie"))
}

/// From now on, the highest memory of a process is that from now on.
pub fn forget_peak(process: u32) {
    fs::write(path(process, "clear_refs"), "5").expect("Linux lets its owner reset the peak");
}

fn field_mb(status: &str, name: &str) -> Option<f64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u32 = value.split_whitespace().next()?.parse().ok()?;
    Some(f64::from(kibibytes) * 1024.0 / 1e6)
}

fn read(process: u32, file: &str) -> Option<String> {
    fs::read_to_string(path(process, file)).ok()
}

fn path(process: u32, file: &str) -> String {
    match process {
        SELF => format!("/proc/self/{file}"),
        number => format!("/proc/{number}/{file}"),
    }
}
