//! The loop: sleeps until the next timer or message, feeds the agenda, performs its actions. It
//! never waits for the pool, a store or a client.

mod answer;
mod control;
mod jobs;
mod perform;

use std::collections::BTreeMap;
use std::io;
use std::path::{self, Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use thiserror::Error;

use crate::agenda::{Agenda, CommandError, Ended, Event, Order, RunId};
use crate::api::Api;
use crate::ask::{Asked, Hotline};
use crate::board::{About, Board, News, Teller};
use crate::clock;
use crate::config::{Config, duration};
use crate::jobs::{self as work, Cancel, Context, Mode};
use crate::journal;
use crate::load::{self, LoadError};
use crate::notify::{self, Notice};
use crate::pool::{self, Pool};
use crate::signals::{self, Signal};
use crate::state::{Added, Recorder, State, StateError};
use control::ControlError;

/// The longest sleep: a stepped clock is noticed after this at the latest (S12).
const SLICE: Duration = Duration::from_secs(60);
/// A difference between the two clocks that is called a step (S12).
const STEP: TimeDelta = TimeDelta::seconds(1);
/// Messages that are taken between two looks at what is due.
const MESSAGES: usize = 256;
/// How long cancelled runs may take to answer before the daemon ends without them (S10, S15).
const CANCEL_GRACE: Duration = Duration::from_secs(8);

/// Why the daemon could not start.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// jobs.toml is missing or wrong.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The state is foreign, newer, damaged or in use.
    #[error(transparent)]
    State(#[from] StateError),
    /// The control plane cannot be opened where jobs.toml wants it.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The system gives no threads or no signals.
    #[error("cannot start: {0}; raise TasksMax, or lower workers")]
    System(#[from] io::Error),
}

/// What wakes the loop, beside the time.
#[derive(Debug)]
enum Message {
    Finished(RunId, Ended),
    Signal(Signal),
    Asked(Asked),
}

/// The daemon. It owns all that changes, so nothing of it needs a lock.
struct Daemon {
    path: PathBuf,
    config: Config,
    /// The jobs that were added at run time, valid or not.
    added: BTreeMap<Arc<str>, Added>,
    agenda: Agenda,
    pool: Pool,
    state: State,
    board: Teller,
    /// What the agenda answered to the command that is being carried out.
    verdict: Option<Result<Option<RunId>, CommandError>>,
    inbox: Receiver<Message>,
    cancels: BTreeMap<RunId, Cancel>,
    clocks: (DateTime<Utc>, Instant),
    /// How often systemd wants to hear that the loop turns, and when it last did.
    watchdog: Option<(Duration, Instant)>,
    stopping: Option<Stopping>,
}

/// How far the end has come (S15).
#[derive(Debug, Clone, Copy)]
enum Stopping {
    /// The running runs may go on until then.
    Finishing(Instant),
    /// They were cancelled, and have until then to answer.
    Cancelling(Instant),
}

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// It could not start. Once it has started, nothing but a signal ends it.
pub fn run(path: PathBuf) -> Result<(), DaemonError> {
    start(path, |state| {
        let state = state.to_owned();
        Arc::new(move |order: &Order, cancel: &Cancel| attempt(order, cancel, &state))
    })
}

/// The same with another work for the workers; benchmarks use it to measure the schedule alone.
///
/// # Errors
/// It could not start.
pub fn run_with(path: PathBuf, work: &Arc<pool::Work>) -> Result<(), DaemonError> {
    start(path, |_| Arc::clone(work))
}

/// Starts with the work that `work` makes for the state file.
fn start(path: PathBuf, work: impl FnOnce(&Path) -> Arc<pool::Work>) -> Result<(), DaemonError> {
    let (sender, inbox) = unbounded();
    // Before anything else: a signal that comes early must not kill us half-way.
    let signals = sender.clone();
    signals::listen(move |signal| {
        signals.send(Message::Signal(signal)).ok();
    })?;
    let config = load::load(&path)?;
    let now = clock::wall();
    let file = load::state_file(&path, &config);
    let (state, mut memory) = State::open(&file, config.daemon.keep, now)?;
    let workers = config.daemon.workers;
    let about = About {
        started: now,
        file: path::absolute(&path).unwrap_or_else(|_| path.clone()),
        state: path::absolute(&file).unwrap_or_else(|_| file.clone()),
        workers,
        zone: config.daemon.timezone,
        written: state.written(),
        on_disk: state.on_disk(),
        lost: state.lost(),
    };
    let (board, shown) = Board::start(about)?;
    let questions = sender.clone();
    let hotline = Hotline::new(move |asked| {
        questions.send(Message::Asked(asked)).ok();
    });
    let admin = control::open(&path, &config, Api::new(shown, hotline))?;
    let pool = start_pool(workers, &work(&file), sender)?;
    let added = jobs::recall(&file, &mut memory);
    let (jobs, broken) = jobs::all(&config, &added);
    let agenda = Agenda::new(jobs, &memory, pool::places(workers), now, fastrand::u64(..));
    let clocks = (now, clock::monotonic());
    let mut daemon = Daemon {
        path,
        config,
        added,
        agenda,
        pool,
        state,
        board,
        verdict: None,
        inbox,
        cancels: BTreeMap::new(),
        clocks,
        watchdog: notify::watchdog_interval().map(|every| (every, clocks.1)),
        stopping: None,
    };
    daemon.board.tell(News::Broken(broken));
    daemon.announce();
    daemon.turn_until_stopped();
    drop(admin);
    daemon.board.close();
    daemon.state.close();
    log::info!("stopped");
    Ok(())
}

fn start_pool(workers: u32, work: &Arc<pool::Work>, answers: Sender<Message>) -> io::Result<Pool> {
    let answer: Arc<pool::Answer> = Arc::new(move |run, ended| {
        answers.send(Message::Finished(run, ended)).ok();
    });
    Pool::start(workers, work, &answer)
}

/// What a worker does: one attempt of a job, with its evidence in the state.
fn attempt(order: &Order, cancel: &Cancel, state: &Path) -> Ended {
    let timeout = order.job.limits.timeout;
    let recorder = Recorder::new(state, order.run.into(), &order.job);
    let context = Context {
        mode: Mode { dry_run: order.cause.is_dry(), force: false },
        cancel,
        deadline: clock::monotonic() + timeout,
        timeout,
        progress: &|_| {},
        ledger: &recorder,
    };
    let work::Attempt { report, retry } = work::attempt(&order.job, &context, clock::wall());
    let (outcome, reason) = (report.outcome, report.reason.clone());
    Ended::Done { outcome, reason, retry, report: Some(Box::new(report)) }
}

impl Daemon {
    fn announce(&self) {
        let jobs = self.config.jobs.len();
        let workers = self.config.daemon.workers;
        let version = env!("CARGO_PKG_VERSION");
        log::info!(
            "recountd {version}: {jobs} jobs from {}, {workers} workers",
            self.path.display()
        );
        for (job, next) in self.agenda.next_slots() {
            let next = next.with_timezone(&job.zone).to_rfc3339();
            log::info!("{}: {}; next at {next}", job.name, job.trigger);
        }
        self.tell_ready();
    }

    fn tell_ready(&self) {
        notify::tell(Notice::Ready(&format!("{} jobs", self.config.jobs.len())));
    }

    fn turn_until_stopped(&mut self) {
        self.feed(Event::Due);
        loop {
            self.tell_watchdog();
            let message = self.inbox.recv_timeout(self.time_to_sleep());
            // Before anything else: what is scheduled from here on is in the new time already, and
            // must not be moved by the step.
            self.check_clock();
            match message {
                Ok(message) => {
                    self.take(message);
                    // Not all that there is: a crowd that asks faster than it is answered would keep
                    // slots from being dealt with.
                    for _ in 0..MESSAGES {
                        let Ok(message) = self.inbox.try_recv() else { break };
                        self.take(message);
                    }
                }
                // The sender lives in the signal thread, which never ends.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            self.feed(Event::Due);
            if self.is_over() {
                return;
            }
        }
    }

    fn time_to_sleep(&self) -> Duration {
        let next = self.agenda.next_wake();
        let wait = next.map_or(SLICE, |at| (at - clock::wall()).to_std().unwrap_or_default());
        let end = match self.stopping {
            Some(Stopping::Finishing(end) | Stopping::Cancelling(end)) => {
                end.saturating_duration_since(clock::monotonic())
            }
            None => SLICE,
        };
        let watchdog = self.watchdog.map_or(SLICE, |(every, told)| {
            (told + every).saturating_duration_since(clock::monotonic())
        });
        wait.min(end).min(watchdog).min(SLICE)
    }

    /// Once in a turn of the loop and nowhere else: a loop that is stuck falls silent.
    fn tell_watchdog(&mut self) {
        let now = clock::monotonic();
        if let Some((every, told)) = &mut self.watchdog
            && now.saturating_duration_since(*told) >= *every
        {
            *told = now;
            notify::tell(Notice::Watchdog);
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Finished(run, ended) => {
                self.cancels.remove(&run);
                self.feed(Event::Finished { run, ended });
            }
            Message::Signal(Signal::Reload) => self.reload(),
            Message::Signal(Signal::Stop) => self.stop(),
            Message::Asked(asked) => self.answer(asked),
        }
    }

    /// S12: the wall clock against the monotonic one.
    fn check_clock(&mut self) {
        let (wall, monotonic) = (clock::wall(), clock::monotonic());
        let (last_wall, last_monotonic) = self.clocks;
        self.clocks = (wall, monotonic);
        let passed = TimeDelta::from_std(monotonic.saturating_duration_since(last_monotonic));
        let by = (wall - last_wall) - passed.unwrap_or(TimeDelta::zero());
        if by.abs() > STEP {
            journal::clock_stepped(by);
            self.board.tell(News::ClockStepped);
            self.feed(Event::ClockStepped(by));
        }
    }

    /// S15: the first signal ends the schedule, the second one everything.
    fn stop(&mut self) {
        if self.stopping.is_some() {
            log::warn!("second signal: exiting at once; running jobs are cut off");
            process::exit(1);
        }
        notify::tell(Notice::Stopping);
        let patience = self.config.daemon.shutdown_timeout;
        let running: Vec<String> =
            self.agenda.started().map(|(run, job)| format!("{job} (run {run})")).collect();
        if running.is_empty() {
            log::info!("stopping");
        } else {
            let (running, patience) = (running.join(", "), duration::format(patience));
            log::info!("stopping; waiting up to {patience} for {running}");
        }
        self.stopping = Some(Stopping::Finishing(clock::monotonic() + patience));
        self.pool.close();
        self.board.tell(News::Stopping);
        self.feed(Event::Stopping);
    }

    fn is_over(&mut self) -> bool {
        let now = clock::monotonic();
        match self.stopping {
            None => false,
            Some(_) if self.agenda.is_idle() => true,
            Some(Stopping::Finishing(end)) => {
                if now >= end {
                    log::warn!("shutdown_timeout is over: cancelling {} runs", self.cancels.len());
                    self.cancels.values().for_each(Cancel::cancel);
                    self.stopping = Some(Stopping::Cancelling(now + CANCEL_GRACE));
                }
                false
            }
            Some(Stopping::Cancelling(end)) => {
                if now >= end {
                    log::error!("{} runs did not answer; leaving them", self.cancels.len());
                }
                now >= end
            }
        }
    }
}
