//! The binary: parse the command line, run it, print an error once, exit with its code.

use std::process::ExitCode;

fn main() -> ExitCode {
    recountd::cli::main()
}
