//! Puts a known load on the machine, which the live tests measure.

use std::process::ExitCode;

use clap::Parser as _;
use tare_tests::load::{Cli, run};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tare-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}
