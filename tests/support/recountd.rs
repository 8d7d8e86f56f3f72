//! The real `recountd` binary, with a jobs.toml and a state of its own in a temporary folder.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::capture::Capture;
use super::guardian::Guardian;

/// How long [`Recountd::output`] waits for a command that shall end by itself.
const COMMAND_DEADLINE: Duration = Duration::from_secs(120);

/// How long the last lines may take once the process has ended.
const LAST_LINES: Duration = Duration::from_secs(5);

/// What the machine or a CI may set, and what would change how recountd behaves.
const CLEARED: [&str; 11] = [
    "RUST_LOG",
    "RUST_LOG_STYLE",
    "STATE_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "JOURNAL_STREAM",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "TZ",
    "RUNTIME_DIRECTORY",
    "RECOUNTD_URL",
    "RECOUNTD_TOKEN",
];

/// The `[mysql.main]` and `[redis.main]` tables with which most jobs.toml begin.
pub fn servers_toml(mysql_url: &str, redis_url: &str) -> String {
    format!("[mysql.main]\nurl = \"{mysql_url}\"\n\n[redis.main]\nurl = \"{redis_url}\"\n\n")
}

/// A place to run recountd from: a folder with a jobs.toml, to which `RECOUNTD_CONFIG` points.
pub struct Recountd {
    binary: PathBuf,
    environment: Vec<(OsString, OsString)>,
    guardian: Arc<Guardian>,
}

impl Recountd {
    /// Tests pass `env!("CARGO_BIN_EXE_recountd")` as the binary.
    pub fn new(binary: impl AsRef<Path>, jobs_toml: &str) -> Self {
        let recountd = Self {
            binary: binary.as_ref().to_owned(),
            environment: Vec::new(),
            guardian: Arc::new(Guardian::of_folder()),
        };
        recountd.write_jobs(jobs_toml);
        recountd
    }

    /// Sets an environment variable for the processes that are started from now on.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The folder of jobs.toml, in which recountd also keeps its state unless told otherwise.
    pub fn folder(&self) -> &Path {
        self.guardian.folder()
    }

    pub fn jobs_path(&self) -> PathBuf {
        self.folder().join("jobs.toml")
    }

    /// Replaces jobs.toml in one step, as an editor does: a daemon never reads half of it.
    pub fn write_jobs(&self, text: &str) {
        let draft = self.folder().join("jobs.toml.new");
        fs::write(&draft, text).expect("jobs.toml is written");
        fs::rename(&draft, self.jobs_path()).expect("jobs.toml is replaced");
    }

    /// Runs a command that ends by itself, such as `["once", "user-articles", "--json"]`.
    #[track_caller]
    pub fn output(&self, arguments: &[&str]) -> Output {
        let mut process = self.spawn(arguments);
        let status = process.wait_exit(COMMAND_DEADLINE);
        Output {
            status,
            stdout: join(&process.stdout.finish(LAST_LINES)),
            stderr: join(&process.stderr.finish(LAST_LINES)),
        }
    }

    /// Starts the daemon.
    pub fn spawn_run(&self) -> Daemon {
        self.spawn(&["run"])
    }

    /// Starts recountd with these arguments and returns at once.
    pub fn spawn(&self, arguments: &[&str]) -> Daemon {
        let mut command = Command::new(&self.binary);
        for name in CLEARED {
            command.env_remove(name);
        }
        let mut child = command
            .env("RECOUNTD_CONFIG", self.jobs_path())
            .envs(self.environment.iter().cloned())
            .args(arguments)
            .current_dir(self.folder())
            // A group of its own: the daemon shall not see the Ctrl-C that is meant for the demo.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", self.binary.display()));
        self.guardian.order(&format!("watch {}", child.id()));
        Daemon {
            stdout: Capture::of(child.stdout.take().expect("stdout is piped")),
            stderr: Capture::of(child.stderr.take().expect("stderr is piped")),
            child,
            status: None,
            guardian: Arc::clone(&self.guardian),
        }
    }
}

/// How a command ended, and what it printed.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// The exit code; a death by signal is -1.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not one JSON value: {error}\n{self:#?}"))
    }

    /// Standard output as one JSON value a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let parse = |line| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("not a JSON value: {error}\n{self:#?}"))
        };
        self.stdout.lines().map(parse).collect()
    }
}

/// A running recountd. It is killed when this value goes away, or with this process.
pub struct Daemon {
    child: Child,
    status: Option<ExitStatus>,
    pub stdout: Capture,
    pub stderr: Capture,
    guardian: Arc<Guardian>,
}

impl Daemon {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line on standard error that contains `text`, and returns it. Each call looks only at the lines
    /// after the one that the call before it returned, so the same text can be waited for again.
    #[track_caller]
    pub fn wait_for_line(&self, text: &str, deadline: Duration) -> String {
        let found = self.stderr.next(deadline, |line| line.contains(text));
        found.unwrap_or_else(|| {
            let log = join(&self.stderr.lines());
            panic!("recountd did not log {text:?} within {deadline:?} or before it ended:\n{log}")
        })
    }

    /// Sends a signal by its name without SIG, such as `"HUP"`.
    pub fn signal(&self, name: &str) {
        // The shell's kill: kill(1) itself is missing from small containers.
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "kill", name])
            .arg(self.pid().to_string())
            .status()
            .expect("sh starts");
        assert!(sent.success(), "SIG{name} could not be sent");
    }

    /// Kills it in this moment; a shell that sends the signal would leave it some milliseconds.
    pub fn kill(&mut self) {
        self.child.kill().expect("the child is ours");
        self.wait_exit(LAST_LINES);
    }

    /// As [`Self::signal`], for a process that may have ended by itself.
    pub fn signal_if_it_lives(&mut self, name: &str) {
        // Not waited for by anybody else, its number stays its own.
        if !self.has_exited() {
            self.signal(name);
        }
    }

    /// Whether the process has ended.
    pub fn has_exited(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("the child is ours");
            if self.status.is_some() {
                // Its number may soon be that of a stranger.
                self.guardian.order(&format!("forget {}", self.pid()));
            }
        }
        self.status.is_some()
    }

    /// Waits until the process ends by itself.
    #[track_caller]
    pub fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let began = Instant::now();
        while !self.has_exited() {
            let log = || join(&self.stderr.lines());
            assert!(
                began.elapsed() < deadline,
                "recountd did not end within {deadline:?}:\n{}",
                log()
            );
            thread::sleep(Duration::from_millis(5));
        }
        self.stderr.finish(LAST_LINES);
        self.status.expect("it has exited")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !self.has_exited() {
            let _ = self.child.kill();
            let _ = self.child.wait();
            self.guardian.order(&format!("forget {}", self.pid()));
        }
    }
}

fn join(lines: &[String]) -> String {
    let mut text = lines.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    text
}
