//! `tare snapshot`: everything known about this host, or what was saved of one, on one page.

mod ask;
mod file;

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use anyhow::Result;
use tokio::time::{self, Instant};

use crate::{
    collector::{Collector, NAMES_TIMEOUT},
    config::{self, Common, PlainFormat},
    model::{Kind, Report, Snapshot},
    output::{
        Scope, json,
        select::{self, explained},
        snapshot::render,
    },
    timing::timed,
};

/// Somebody who wants an answer at once waits this long for names at most.
const NAMES_TIMEOUT_AT_ONCE: Duration = Duration::from_millis(20);

/// Takes a snapshot or reads a saved one, saves it if that is asked for, and prints it.
///
/// # Errors
///
/// If nothing can be read, if a wanted container is not there, or if the file is no good.
pub async fn run(common: &Common, options: &config::Snapshot) -> Result<()> {
    if let Some(path) = &options.output {
        file::check_target(path)?;
    }
    let mut snapshot = match &options.read {
        Some(path) => file::read(path)?,
        None => look(common, options).await?,
    };
    narrow(&mut snapshot, &options.names)?;
    if let Some(path) = &options.output {
        file::write(path, &snapshot)?;
    }
    timed("printing", || print(&snapshot, options))
}

/// Asks the daemon, if there is one, or else looks at this host. Whom the daemon does not know may
/// be found by looking.
async fn look(common: &Common, options: &config::Snapshot) -> Result<Snapshot> {
    if let Some(mut snapshot) = ask::snapshot(common, options).await
        && narrow(&mut snapshot, &options.names).is_ok()
    {
        return Ok(snapshot);
    }
    take(common, options).await
}

/// Looks at this host.
async fn take(common: &Common, options: &config::Snapshot) -> Result<Snapshot> {
    // Who names a service wants to see it.
    let scope = if options.names.is_empty() { Scope::Containers } else { Scope::All };
    if options.window.is_zero() {
        let mut collector = Collector::start_for_one_sample(common, scope)?;
        // Without names nobody can be found by name.
        let asked = !options.names.is_empty();
        let timeout = if asked { NAMES_TIMEOUT } else { NAMES_TIMEOUT_AT_ONCE };
        let sample = collector.only_sample(timeout).await;
        return Ok(Snapshot::new(None, collector.report(None, &sample)));
    }
    let mut collector = Collector::start(common, scope)?;
    let older = collector.sample();
    let mut ticks = time::interval_at(Instant::now() + options.window, options.window);
    collector.settle_names().await;
    // Derived now: what is held back from the collector would be read again in place.
    let before = collector.report(None, &older);
    collector.wait(&mut ticks).await?;
    let newer = collector.sample();
    Ok(Snapshot::new(Some(&before), collector.report(Some(&older), &newer)))
}

/// Keeps the rows that are asked for by name; else containers, or services where there are none.
fn narrow(snapshot: &mut Snapshot, names: &[String]) -> Result<()> {
    let report = &mut snapshot.report;
    select::select(report, names).map_err(|unknown| explained(unknown, &report.sources))?;
    if names.is_empty() {
        keep_main_kind(report);
    }
    snapshot.prune();
    Ok(())
}

fn keep_main_kind(report: &mut Report) {
    let has = |kind| report.containers.iter().any(|row| row.kind == kind);
    let main = [Kind::Container, Kind::Service, Kind::Other].into_iter().find(|kind| has(*kind));
    report.containers.retain(|row| Some(row.kind) == main);
}

fn print(snapshot: &Snapshot, options: &config::Snapshot) -> Result<()> {
    let mut out = io::stdout().lock();
    match options.format {
        PlainFormat::Json => json::write(snapshot, &mut out)?,
        PlainFormat::Table => {
            let page = render(snapshot, !options.names.is_empty());
            out.write_all(page.text(wants_colour(&out)).as_bytes())?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Colours are for terminals, and for people who did not refuse them (`NO_COLOR`, any value).
fn wants_colour(out: &impl IsTerminal) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    out.is_terminal() && !is_set("NO_COLOR") && !is_dumb
}
