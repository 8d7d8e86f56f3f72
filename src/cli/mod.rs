//! The command line, one file a subcommand.

mod check;
mod logger;
mod next;
mod once;
mod run;
mod runs;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use thiserror::Error;

use crate::config::{Config, Job};
use crate::daemon::DaemonError;
use crate::load::{self, LoadError};
use crate::state::StateError;

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
    #[error("there is no job {name} in {file}; it has {known}")]
    NoSuchJob { name: String, file: String, known: String },
    /// The output is closed or full.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl CliError {
    /// 2 for usage and jobs.toml, 1 for the rest.
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Load(_) | Self::NoSuchJob { .. } | Self::Daemon(DaemonError::Load(_)) => {
                ExitCode::from(2)
            }
            Self::Daemon(DaemonError::System(_) | DaemonError::State(_))
            | Self::State(_)
            | Self::Output(_) => ExitCode::from(1),
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
    };
    match ended {
        Ok(code) => code,
        // A reader that has seen enough (`| head`) is no error.
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            logger::say_error(&error);
            error.exit_code()
        }
    }
}

fn find_job(config: &Config, path: &std::path::Path, name: &str) -> Result<Arc<Job>, CliError> {
    config.jobs.get(name).cloned().ok_or_else(|| {
        let known: Vec<&str> = config.jobs.keys().map(AsRef::as_ref).collect();
        CliError::NoSuchJob {
            name: name.to_owned(),
            file: path.display().to_string(),
            known: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
        }
    })
}
