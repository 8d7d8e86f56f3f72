//! Does one thing to each of several jobs: `pause`, `resume` and `remove`.

use std::io::{self, Write};
use std::process::ExitCode;

use super::api::Api;
use super::grid::printable;
use super::{CliError, logger};
use crate::client::Client;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The jobs' names
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<String>,
    #[command(flatten)]
    api: Api,
}

/// One job that is refused does not keep the others from it; the exit code is that of the worst.
pub(super) fn run(
    args: &Args,
    act: impl Fn(&Client, &str) -> Result<String, CliError>,
) -> Result<ExitCode, CliError> {
    let client = args.api.client()?;
    let mut code = 0;
    for job in &args.jobs {
        match act(&client, job) {
            Ok(line) => writeln!(io::stdout(), "{}", printable(&line))?,
            Err(CliError::Client(error)) if error.status().is_some_and(|status| status != 401) => {
                let error = CliError::Client(error);
                logger::say_error(&error);
                code = code.max(error.code());
            }
            // It would be the same for the others.
            Err(error) => return Err(error),
        }
    }
    Ok(ExitCode::from(code))
}
