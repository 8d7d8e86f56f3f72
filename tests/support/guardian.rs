//! A guardian per server: whatever happens to this process, its servers are killed and their folders removed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What the shell does once the server's `prepare` and `serve` are defined.
const SCRIPT: &str = include_str!("guardian.sh");

/// How long a server may take until it answers, on a machine that is busy with other tests.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// How often a start may meet a port that somebody else took first.
const PORT_TRIES: usize = 10;

/// A shell that holds a temporary folder, at most one server, and any number of watched processes. It ends with this
/// value, or with this process.
pub struct Guardian {
    shell: Child,
    pipes: Mutex<Option<Pipes>>,
    folder: PathBuf,
}

struct Pipes {
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What a look at a server's port found.
pub enum Answer {
    Ours,
    Foreign,
    Nothing,
}

/// Somebody else listens on the port that was thought to be free.
pub struct PortTaken;

impl Guardian {
    /// A guardian of a folder and of watched processes, without a server.
    pub fn of_folder() -> Self {
        Self::new("prepare() { :; }\nserve() { :; }\n", &[])
    }

    /// `definitions` is shell text that defines `prepare` and `serve`; both get `arguments` and may use `$folder`.
    /// `serve` must `exec` the server, so that the server's process is the one that the shell kills.
    pub fn new(definitions: &str, arguments: &[String]) -> Self {
        let mut shell = Command::new("sh")
            .arg("-c")
            .arg(format!("{definitions}\n{SCRIPT}"))
            .arg("guardian")
            .args(arguments)
            // A group of its own: Ctrl-C in a terminal reaches neither the guardian nor the servers below it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        let orders = shell.stdin.take().expect("stdin is piped");
        let mut answers = BufReader::new(shell.stdout.take().expect("stdout is piped"));
        let folder = read_line(&mut answers);
        assert!(!folder.is_empty(), "the guardian could not make a folder");
        Self {
            shell,
            pipes: Mutex::new(Some(Pipes { orders, answers })),
            // A server reports its folder with symbolic links resolved, and is recognised by it.
            folder: fs::canonicalize(folder).expect("the guardian's folder exists"),
        }
    }

    /// The folder that goes away with the guardian.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives an order (see `guardian.sh`) and waits until it is carried out.
    pub fn order(&self, order: &str) {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let pipes = pipes.as_mut().expect("only drop closes the pipes");
        writeln!(pipes.orders, "{order}").expect("the guardian listens");
        let answer = read_line(&mut pipes.answers);
        assert!(
            !answer.is_empty() && order.starts_with(&answer),
            "the guardian answered {answer:?} to {order:?}"
        );
    }

    /// What the server has printed since its last start.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.folder.join("server.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until `look` finds our own server. Panics with the server's log when it gives up or takes too long.
    pub fn await_server(&self, look: impl Fn() -> Answer) -> Result<(), PortTaken> {
        let began = Instant::now();
        loop {
            match look() {
                Answer::Ours => return Ok(()),
                Answer::Foreign => return Err(PortTaken),
                Answer::Nothing => {}
            }
            let log = self.log();
            if log.contains("Address already in use") {
                return Err(PortTaken);
            }
            let gave_up =
                ["Aborting", "FATAL CONFIG", "exec: "].iter().any(|sign| log.contains(sign));
            assert!(
                !gave_up && began.elapsed() < START_DEADLINE,
                "a private server did not start; is scripts/setup done? Its log:\n{log}"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills the server and starts it again on the same folder and port, patiently: another process may have used
    /// the port for a moment.
    pub fn restart(&self, look: impl Fn() -> Answer) {
        for _ in 0..PORT_TRIES {
            self.order("kill");
            self.order("start");
            if self.await_server(&look).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(200));
        }
        panic!("the port of a private server did not become free again");
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        // Closing the pipes is the order to clean up; afterwards nothing of the server is left.
        self.pipes.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let _ = self.shell.wait();
    }
}

/// Tries `start` with ports that are free now, until one still is when the server binds it.
pub fn on_a_free_port<T>(start: impl Fn(u16) -> Result<T, PortTaken>) -> T {
    (0..PORT_TRIES)
        .find_map(|_| start(free_port()).ok())
        .expect("a free port is found within a few tries")
}

/// A loopback port that nobody listens on, below the range (32768 and up) from which Linux takes the local ports of
/// outgoing connections: those could take the port of a server that is down between kill and restart.
pub fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(12_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn read_line(answers: &mut impl BufRead) -> String {
    let mut line = String::new();
    answers.read_line(&mut line).expect("the guardian answers");
    line.trim_end().to_owned()
}
