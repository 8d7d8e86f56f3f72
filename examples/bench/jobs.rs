//! The jobs that are measured. Their servers do not exist, since their work never asks for them.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use recountd::clock;
use recountd::config::Job;
use recountd::load;

const SERVERS: &str = r#"
[mysql.none]
url = "mysql://nobody@127.0.0.1:1/nothing"
[redis.none]
url = "redis://127.0.0.1:1/0"
"#;

/// The trigger of jobs that are all due at each full second.
pub const EACH_SECOND: &str = r#"interval = "1s""#;

/// The trigger of jobs that are all due at each full hour.
pub const EACH_HOUR: &str = r#"interval = "1h""#;

/// Waits until no full hour comes within `time`.
pub fn wait_for_no_hour_within(time: Duration) {
    let hour = Duration::from_secs(3600);
    let past = Duration::from_secs(u64::try_from(clock::wall().timestamp()).unwrap_or_default());
    let left = hour - Duration::from_secs(past.as_secs() % hour.as_secs());
    if left <= time {
        thread::sleep(left);
    }
}

/// Writes a jobs.toml into `folder` with so many jobs of this trigger.
pub fn write(folder: &Path, jobs: u32, trigger: &str) -> PathBuf {
    let mut text = SERVERS.to_owned();
    for number in 1..=jobs {
        writeln!(
            text,
            "[jobs.job-{number}]\n{trigger}\nquery = \"SELECT 1, 1\"\ntarget = {{ zset = \"none\" }}"
        )
        .expect("a text can be written to");
    }
    let path = folder.join("jobs.toml");
    fs::write(&path, text).expect("the folder can be written to");
    path
}

/// One job as the daemon would have it; the others are made from it by another name and trigger.
pub fn template(folder: &Path) -> Arc<Job> {
    let config = load::load(&write(folder, 1, EACH_SECOND)).expect("the jobs.toml is valid");
    config.jobs.into_values().next().expect("it has one job")
}

/// Makes the folder, or makes it empty, so that no earlier run is remembered in it.
pub fn fresh(folder: &Path) {
    if folder.exists() {
        fs::remove_dir_all(folder).expect("the folder of an earlier benchmark can be removed");
    }
    fs::create_dir_all(folder).expect("a folder can be made");
}
