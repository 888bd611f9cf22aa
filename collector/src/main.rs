//! `tare`: what every container on this host uses.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tare::{
    cli::Cli,
    config::{Command, Config},
    output, stats,
    top::{self, terminal::Log},
};

fn main() -> ExitCode {
    let config = Config::from(Cli::parse());
    tracing_subscriber::fmt()
        .with_max_level(config.common.log_level)
        .with_writer(Log)
        .with_target(false)
        .init();
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough.
        Err(error) if output::is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tare: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: &Config) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match &config.command {
            Command::Stats(stats) => stats::run(&config.common, stats).await,
            Command::Top(top) => top::run(&config.common, top).await,
        }
    })
}
