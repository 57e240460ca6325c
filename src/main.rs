//! The command line of ftpgate: parses it, and maps what comes of it to exit codes.

#![forbid(unsafe_code)]

use clap::Parser;
use ftpgate::cli::{self, Cli};
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::execute(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ftpgate: {error:#}");
            ExitCode::FAILURE
        }
    }
}
