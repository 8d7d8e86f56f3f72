//! `recountd remove`: takes jobs away that were added at run time.

use std::process::ExitCode;

use super::{CliError, each};
use crate::client::segment;

pub(super) fn run(args: &each::Args) -> Result<ExitCode, CliError> {
    each::run(args, |client, job| {
        client.delete(&format!("/v1/jobs/{}", segment(job)))?;
        Ok(format!("{job}: removed"))
    })
}
