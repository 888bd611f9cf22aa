//! `tare`: what every container on this host uses.

use std::{env, ffi::OsString, process::ExitCode};

use anyhow::Result;
use tare::{
    config::{self, Command, Fault},
    daemon::{self, Control},
    logging::Logging,
    output, stats,
};

/// Wrong usage, as clap has it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().collect();
    let config = match config::read(&arguments) {
        Ok(config) => config,
        Err(Fault::Usage(error)) => error.exit(),
        Err(fault @ Fault::File(_)) => {
            eprintln!("tare: {fault}");
            return ExitCode::from(USAGE);
        }
    };
    let logging = Logging::start(config.common.log_level, config.common.log_format);
    match run(&config, Control { arguments, logging }) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough.
        Err(error) if output::is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tare: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: &config::Config, control: Control) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match &config.command {
            Command::Stats(stats) => stats::run(&config.common, stats).await,
            Command::Run(run) => daemon::run(&config.common, run, &control).await,
        }
    })
}
