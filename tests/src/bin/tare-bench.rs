//! The measuring programs of `cargo xtask bench`: see `tare_tests::bench`.

use std::process::ExitCode;

use clap::Parser as _;
use tare_tests::bench::{Cli, run};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tare-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
