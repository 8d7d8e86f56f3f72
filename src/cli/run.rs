//! `recountd run`: the daemon, in the foreground.

use std::process::ExitCode;

use super::{CliError, ConfigFile};
use crate::daemon;

pub(super) fn run(config: ConfigFile) -> Result<ExitCode, CliError> {
    daemon::run(config.locate()?)?;
    Ok(ExitCode::SUCCESS)
}
