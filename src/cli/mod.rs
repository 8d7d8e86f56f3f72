//! The command line, one file a subcommand.

mod add;
mod api;
mod check;
mod define;
mod each;
mod explain;
mod follow;
mod grid;
mod known;
mod list;
mod logger;
mod next;
mod once;
mod pages;
mod pause;
mod remove;
mod reschedule;
mod run;
mod runs;
mod show;
mod status;
mod table;
mod told;
mod trigger;
mod undo;
mod wait;
mod when;

use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::{env, io, panic, thread};

use clap::{Args, Parser, Subcommand};
use thiserror::Error;

use crate::client::ClientError;
use crate::config::Config;
use crate::daemon::DaemonError;
use crate::jobs::{Cancel, Stop};
use crate::load::{self, LoadError};
use crate::signals::{self, Signal};
use crate::state::{RunNumber, StateError};

/// Recounts Redis counters from MySQL on a schedule, while the app keeps writing.
#[derive(Debug, Parser)]
#[command(name = "recountd", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    Run(ConfigFile),
    /// Validate jobs.toml; show each job's trigger in words and its next 5 runs
    Check(check::Args),
    /// Show the next runs, of one job or of all, in order of time
    Next(next::Args),
    /// Show what became of each slot, the newest first
    Runs(runs::Args),
    /// Run one job now, here
    #[command(after_help = once::EXIT_CODES)]
    Once(once::Args),
    /// Show every repair of an id, and what it is now; without an ID, who is repaired often
    Explain(explain::Args),
    /// Put back what a run wrote, where the counters still hold it
    #[command(after_help = undo::EXIT_CODES)]
    Undo(undo::Args),
    /// Show the daemon's jobs: when each runs next, and how it ended last
    List(list::Args),
    /// Show everything about one job of the daemon
    Show(show::Args),
    /// Let the daemon run a job now
    #[command(after_help = trigger::EXIT_CODES)]
    Trigger(trigger::Args),
    /// Let no slot of a job run until it is resumed
    Pause(each::Args),
    /// Let the slots of a paused job run again
    Resume(each::Args),
    /// Give the daemon a job at run time
    #[command(after_help = add::EXAMPLES)]
    Add(add::Args),
    /// Take away a job that was added at run time
    Remove(each::Args),
    /// Give a job that was added at run time another trigger
    Reschedule(reschedule::Args),
    /// Show how the daemon is
    #[command(after_help = status::EXIT_CODES)]
    Status(status::Args),
    /// Print a script that completes the command line in a shell
    Completions(pages::CompletionsArgs),
    /// Write the manual pages
    Man(pages::ManArgs),
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The jobs.toml to read [default: ./jobs.toml, else /etc/recountd/jobs.toml]
    #[arg(short, long = "config", value_name = "FILE", env = "RECOUNTD_CONFIG")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    fn locate(self) -> Result<PathBuf, CliError> {
        Ok(load::locate(self.config)?)
    }

    fn load(self) -> Result<(PathBuf, Config), CliError> {
        let path = self.locate()?;
        let config = load::load(&path)?;
        Ok((path, config))
    }

    /// For commands that only the servers have to be told of, not the token of `[admin]`.
    fn load_beside(self) -> Result<(PathBuf, Config), CliError> {
        let path = self.locate()?;
        let config = load::load_beside(&path)?;
        Ok((path, config))
    }
}

/// Why a command ended before its end. `Display` is what the user is told.
#[derive(Debug, Error)]
enum CliError {
    /// jobs.toml is missing or wrong.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The daemon could not start.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The job that was named is not there.
    #[error("there is no job {name} in {file}, nor was one added at run time; {hint}")]
    NoSuchJob { name: String, file: String, hint: String },
    /// The job was added at run time and is not valid beside this jobs.toml.
    #[error(
        "job {name}, added at run time, cannot run with this jobs.toml: {reason}. Mend jobs.toml, or take the job away with `recountd remove {name}`"
    )]
    BrokenJob { name: String, reason: String },
    /// The run that was named is not on record.
    #[error("there is no run {run} in {}; see `recountd runs`", .state.display())]
    NoSuchRun { run: RunNumber, state: PathBuf },
    /// The run has not ended.
    #[error(
        "run {0} has not ended yet, what it wrote is not all known; wait for it, or stop what runs it"
    )]
    StillRunning(RunNumber),
    /// Where the run wrote is not on record.
    #[error(
        "run {run} has no record of where the target \"{target}\" was, so nothing is undone; the next run of the job corrects what differs from MySQL"
    )]
    PlaceUnknown { run: RunNumber, target: String },
    /// An undo ended before its end.
    #[error("job {job}: {reason}")]
    NotUndone { job: Arc<str>, reason: String },
    /// The job of the run is gone, and with it the servers.
    #[error(
        "run {run} was of job {job}, which is gone: it is not in {file}, nor among the jobs added at run time. Give it again with the same query, target and servers, in jobs.toml or by `recountd add {job} …`, and then undo the run"
    )]
    JobGone { run: RunNumber, job: String, file: String },
    /// The counters of the job live elsewhere now.
    #[error(
        "run {run} of job {job} wrote to {was}, and the job's target is {is} now; put the old target back to undo it"
    )]
    TargetChanged { run: RunNumber, job: String, was: String, is: String },
    /// A server failed it, or refused.
    #[error("job {job}: {stop}")]
    Stopped { job: Arc<str>, stop: Box<Stop> },
    /// The daemon cannot be asked, or refuses.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The options define no job.
    #[error(transparent)]
    Definition(#[from] define::DefinitionError),
    /// The file of the token cannot be read.
    #[error("{source_name}: {error}; name the file of the token with --token-file")]
    TokenUnreadable { source_name: String, error: io::Error },
    /// There is no token where it should be.
    #[error("{0} holds no token; it is one word of visible ASCII characters")]
    NoToken(String),
    /// A file cannot be written.
    #[error("{}: {error}; name another folder", .path.display())]
    Unwritten { path: PathBuf, error: io::Error },
    /// The output is closed or full.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl CliError {
    /// 2 for usage, jobs.toml and what is not there, 1 for the rest.
    fn code(&self) -> u8 {
        match self {
            Self::Load(_)
            | Self::NoSuchJob { .. }
            | Self::BrokenJob { .. }
            | Self::NoSuchRun { .. }
            | Self::Definition(_)
            | Self::TokenUnreadable { .. }
            | Self::NoToken(_)
            | Self::Client(ClientError::Url { .. })
            | Self::Daemon(DaemonError::Load(_)) => 2,
            // What the daemon says of what was asked; not 409, which may be another answer tomorrow.
            Self::Client(error) => match error.status() {
                Some(400 | 404 | 405 | 411..=422) => 2,
                _ => 1,
            },
            Self::Daemon(
                DaemonError::System(_) | DaemonError::State(_) | DaemonError::Control(_),
            )
            | Self::State(_)
            | Self::StillRunning(_)
            | Self::PlaceUnknown { .. }
            | Self::NotUndone { .. }
            | Self::JobGone { .. }
            | Self::TargetChanged { .. }
            | Self::Stopped { .. }
            | Self::Unwritten { .. }
            | Self::Output(_) => 1,
        }
    }
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    logger::start();
    let ended = match cli.command {
        Command::Run(config) => run::run(config),
        Command::Check(args) => check::run(args),
        Command::Next(args) => next::run(args),
        Command::Runs(args) => runs::run(args),
        Command::Once(args) => once::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Undo(args) => undo::run(args),
        Command::List(args) => list::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Trigger(args) => trigger::run(&args),
        Command::Pause(args) => pause::pause(&args),
        Command::Resume(args) => pause::resume(&args),
        Command::Add(args) => add::run(&args),
        Command::Remove(args) => remove::run(&args),
        Command::Reschedule(args) => reschedule::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Completions(args) => pages::completions(&args),
        Command::Man(args) => pages::man(&args),
    };
    match ended {
        Ok(code) => code,
        // A reader that has seen enough (`| head`) is no error.
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            logger::say_error(&error);
            ExitCode::from(error.code())
        }
    }
}

/// Where the daemon keeps its state. Its folder under systemd is not known to a shell, so that the
/// place where the packaged service has it is looked at as well.
fn state_file(jobs_toml: &Path, config: &Config) -> PathBuf {
    const SYSTEMD: &str = "/var/lib/recountd/recountd.db";
    let path = load::state_file(jobs_toml, config);
    let is_default = config.daemon.state.is_none() && env::var_os("STATE_DIRECTORY").is_none();
    // A file beside the packaged jobs.toml can only be left from before the service first ran.
    let is_left_over = jobs_toml.starts_with("/etc/recountd") || !path.exists();
    let packaged = PathBuf::from(SYSTEMD);
    if is_default && is_left_over && packaged.exists() { packaged } else { path }
}

/// Lets Ctrl-C and SIGTERM end what goes on instead of cutting it off; the second one exits.
fn cancel_on_signal() -> Result<Cancel, CliError> {
    let cancel = Cancel::default();
    let stop = cancel.clone();
    signals::listen(move |signal| {
        if signal == Signal::Stop {
            if stop.is_cancelled() {
                process::exit(130);
            }
            stop.cancel();
        }
    })
    .map_err(DaemonError::System)?;
    Ok(cancel)
}

/// Works in a thread of its own, because a signal interrupts what the main thread reads from Redis.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let ended = thread::scope(|scope| scope.spawn(work).join());
    ended.unwrap_or_else(|panic| panic::resume_unwind(panic))
}
