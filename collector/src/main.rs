//! `tare`: what every container on this host uses.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tare::{
    cli::Cli,
    config::{Command, Config},
    doctor, manuals,
    output::{self, columns},
    snapshot, stats,
    top::{self, terminal::Log},
};

fn main() -> ExitCode {
    let config = Config::from(Cli::parse());
    tracing_subscriber::fmt()
        .with_max_level(config.common.log_level)
        .with_writer(Log)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .init();
    match run(&config) {
        Ok(code) => code,
        // The reader has seen enough.
        Err(error) if output::is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tare: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: &Config) -> Result<ExitCode> {
    let mut out = io::stdout();
    match &config.command {
        Command::Stats(stats) => block_on(stats::run(&config.common, stats))?,
        Command::Snapshot(snapshot) => block_on(snapshot::run(&config.common, snapshot))?,
        Command::Top(top) => block_on(top::run(&config.common, top))?,
        Command::Doctor(doctor) => return block_on(doctor::run(&config.common, doctor)),
        Command::Columns => out.write_all(columns::help().as_bytes())?,
        Command::Completions(shell) => manuals::completions(*shell, &mut out)?,
        Command::Manuals(directory) => manuals::man_pages(directory)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
