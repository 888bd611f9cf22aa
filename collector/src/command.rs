//! From arguments to a command that runs.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use crate::{
    budget, collectd,
    config::{self, Command, Config, Fault},
    daemon::{self, Control},
    diff, doctor,
    export::archive,
    health,
    logging::Logging,
    manuals,
    output::{self, columns, measure},
    process::prepare_descriptors,
    record, snapshot, stats, top,
};
use anyhow::Result;

/// Wrong usage, as clap has it.
const USAGE: u8 = 2;

/// Runs `tare` with the arguments of this process.
pub fn main() -> ExitCode {
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
    prepare_descriptors();
    match run(&config, Control { arguments, logging }) {
        Ok(code) => code,
        // The reader has seen enough.
        Err(error) if output::is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tare: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: &Config, control: Control) -> Result<ExitCode> {
    let mut out = io::stdout();
    match &config.command {
        Command::Stats(stats) => block_on(stats::run(&config.common, stats))?,
        Command::Snapshot(snapshot) => {
            block_on_beside(snapshot::run(&config.common, snapshot))?;
        }
        Command::Diff(options) => diff::run(options)?,
        Command::Budget(budget) => return block_on_beside(budget::run(&config.common, budget)),
        Command::Measures => out.write_all(measure::list().as_bytes())?,
        Command::Top(top) => block_on(top::run(&config.common, top))?,
        Command::Run(run) if run.check_config => block_on(daemon::check(run))?,
        Command::Run(run) => block_on(daemon::run(&config.common, run, &control))?,
        Command::Doctor(doctor) => return block_on(doctor::run(&config.common, doctor)),
        Command::RecordExport(options) => archive::run(options)?,
        Command::Record(options) => return block_on(record::run(&config.common, options)),
        Command::Health(socket) => health::check(socket)?,
        Command::Collectd(options) => block_on_beside(collectd::run(&config.common, options))?,
        Command::Columns => out.write_all(columns::help().as_bytes())?,
        Command::Completions(shell) => manuals::completions(*shell, &mut out)?,
        Command::Manuals(directory) => manuals::man_pages(directory)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// The same with a thread beside it, on which daemons are asked for names while files are read.
fn block_on_beside<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(1).enable_all().build()?.block_on(work)
}
