//! `tare budget`: limits of containers, checked over a window, for CI.

mod check;
mod file;
mod junit;
mod page;

use std::{
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Result;
use tare_model::Snapshot;
use tokio::time::{self, Instant};

use crate::{
    child::{Child, shown},
    cli::MAX_INTERVAL,
    collector::Collector,
    config::{self, BudgetFormat, Common},
    output::json,
    registry::Follow,
    snapshot,
};

use self::check::Outcome;

/// Checks budgets, and prints the result.
///
/// # Errors
///
/// If the file is wrong, if nothing can be sampled, if the command cannot be started, or if the
/// result cannot be written.
pub async fn run(common: &Common, options: &config::Budget) -> Result<ExitCode> {
    let budgets = file::read(&options.file)?;
    let (snapshot, command) = match (&options.read, &options.replay) {
        (Some(path), _) => (snapshot::read(path)?, ExitCode::SUCCESS),
        (None, Some(replay)) => (snapshot::replayed(replay)?, ExitCode::SUCCESS),
        (None, None) => take(common, options).await?,
    };
    let outcome = check::check(&budgets, &snapshot);
    print(&outcome, options.format)?;
    Ok(if outcome.failures() > 0 { ExitCode::FAILURE } else { command })
}

/// Two samples, and what happened between them: for the window, or while a command runs.
async fn take(common: &Common, options: &config::Budget) -> Result<(Snapshot, ExitCode)> {
    let mut collector = Collector::start(common, Follow::Containers)?;
    let older = collector.sample();
    collector.settle_names().await;
    // Derived before the next sample overwrites this one.
    let before = collector.report(None, &older);
    let code = if options.command.is_empty() {
        let mut ticks = time::interval_at(Instant::now() + options.window, options.window);
        collector.wait(&mut ticks).await?;
        ExitCode::SUCCESS
    } else {
        during(&mut collector, &options.command).await?
    };
    let newer = collector.sample();
    collector.settle_names().await;
    Ok((Snapshot::new(Some(&before), collector.report(Some(&older), &newer)), code))
}

/// Runs a command. Its output goes to standard error: the result is on standard output.
async fn during(collector: &mut Collector, command: &[OsString]) -> Result<ExitCode> {
    let mut child = Child::start(command, |command| {
        command.stdout(io::stderr()).kill_on_drop(true);
    })?;
    let mut ticks = time::interval(MAX_INTERVAL);
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            woken = collector.wait_for_event_or_tick(&mut ticks) => drop(woken?),
        }
    };
    if status.success() {
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(program) = command.first() {
        eprintln!("tare: {} failed ({status})", shown(program));
    }
    Ok(ExitCode::FAILURE)
}

fn print(outcome: &Outcome, format: BudgetFormat) -> Result<()> {
    let mut out = io::stdout().lock();
    match format {
        BudgetFormat::Table => out.write_all(page::render(outcome).as_bytes())?,
        BudgetFormat::Json => json::write(outcome, &mut out)?,
        BudgetFormat::Junit => junit::write(outcome, &mut out)?,
    }
    out.flush()?;
    Ok(())
}
