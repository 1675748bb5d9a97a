//! Passes the arguments to the CLI and returns its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    gatehouse::cli::main()
}
