//! Reads what a process prints, line by line, on a thread of its own: a full pipe would stop the process.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The lines of a stream so far, and a mark up to which they were waited for.
#[derive(Clone)]
pub struct Capture {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    mark: usize,
    closed: bool,
}

impl Capture {
    /// Starts to read `stream` until its end.
    pub fn of(stream: impl Read + Send + 'static) -> Self {
        let capture = Self { shared: Arc::default() };
        let reader = capture.clone();
        thread::spawn(move || reader.read(stream));
        capture
    }

    fn read(&self, stream: impl Read) {
        let mut stream = BufReader::new(stream);
        let mut bytes = Vec::new();
        while matches!(stream.read_until(b'\n', &mut bytes), Ok(1..)) {
            let line = String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned();
            bytes.clear();
            self.lock().lines.push(line);
            self.shared.changed.notify_all();
        }
        self.lock().closed = true;
        self.shared.changed.notify_all();
    }

    /// The next line after the mark that satisfies `wanted`, and moves the mark behind it. `None` when the stream
    /// ends or the deadline passes first; the mark then stays.
    pub fn next(&self, deadline: Duration, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let until = Instant::now() + deadline;
        let mut state = self.lock();
        loop {
            let mark = state.mark;
            if let Some(at) = state.lines[mark..].iter().position(|line| wanted(line)) {
                state.mark = mark + at + 1;
                return Some(state.lines[mark + at].clone());
            }
            let left = until.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                return None;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the stream ends, at most `deadline`, and returns all its lines.
    pub fn finish(&self, deadline: Duration) -> Vec<String> {
        let state = self.lock();
        let waited = self.shared.changed.wait_timeout_while(state, deadline, |state| !state.closed);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.lines.clone()
    }

    /// All the lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
