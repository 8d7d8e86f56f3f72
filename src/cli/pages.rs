//! `recountd completions` and `recountd man`: what packages ship for shells and for man(1).

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, CliError};

#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell that shall complete
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// Write recountd.1 and a page for each command into this folder [default: recountd.1 to the output]
    dir: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<ExitCode, CliError> {
    // The generator does not bear an output that is closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "recountd", &mut script);
    print(&script)
}

pub(super) fn man(args: &ManArgs) -> Result<ExitCode, CliError> {
    if let Some(dir) = &args.dir {
        let unwritten = |error| CliError::Unwritten { path: dir.clone(), error };
        fs::create_dir_all(dir).map_err(unwritten)?;
        clap_mangen::generate_to(Cli::command(), dir).map_err(unwritten)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut page = Vec::new();
    // As in the folder, where no page is about the help.
    Man::new(Cli::command().disable_help_subcommand(true)).render(&mut page)?;
    print(&page)
}

fn print(text: &[u8]) -> Result<ExitCode, CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
