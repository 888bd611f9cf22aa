//! `tare snapshot`: everything known about this host on one page, or a saved snapshot of one.

mod ask;
mod file;
mod recorded;

pub(crate) use self::{ask::try_snapshot as of_daemon, file::read, recorded::take as replayed};

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use anyhow::Result;
use tare_model::{Kind, Report, Snapshot};
use tokio::time::{self, Instant};

use crate::{
    collector::{Collector, NAMES_TIMEOUT},
    config::{self, Common, PlainFormat},
    output::{
        json,
        select::{self, explained},
        snapshot::render,
    },
    registry::Follow,
    timing::timed,
};

/// How long `--window 0`, which answers at once, waits for names.
const NAMES_TIMEOUT_AT_ONCE: Duration = Duration::from_millis(20);

/// Takes a snapshot or reads a saved one, saves it if wanted, and prints it.
///
/// # Errors
///
/// If nothing can be read, if a wanted container is not there, or if the file cannot be read or
/// written.
pub async fn run(common: &Common, options: &config::Snapshot) -> Result<()> {
    if let Some(path) = &options.output {
        file::check_target(path)?;
    }
    let mut snapshot = match (&options.read, &options.replay) {
        (Some(path), _) => read(path)?,
        (None, Some(replay)) => timed("reading the recording", || recorded::take(replay))?,
        (None, None) => look(common, options).await?,
    };
    narrow(&mut snapshot, &options.names)?;
    if let Some(path) = &options.output {
        file::write(path, &snapshot)?;
    }
    timed("printing", || print(&snapshot, options))
}

/// Takes the daemon's snapshot, if there is one, or else looks at this host. A name that the daemon
/// does not know may be that of a service.
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
    // A name may be that of a service.
    let follow = if options.names.is_empty() { Follow::ContainersOrFallback } else { Follow::All };
    if options.window.is_zero() {
        let mut collector = Collector::start_for_one_sample(common, follow)?;
        // Without names no container can be found by name.
        let asked = !options.names.is_empty();
        let timeout = if asked { NAMES_TIMEOUT } else { NAMES_TIMEOUT_AT_ONCE };
        let sample = collector.only_sample(timeout).await;
        return Ok(Snapshot::new(None, collector.report(None, &sample)));
    }
    let mut collector = Collector::start(common, follow)?;
    let older = collector.sample();
    let mut ticks = time::interval_at(Instant::now() + options.window, options.window);
    collector.settle_names().await;
    // Derived before the next sample overwrites this one.
    let before = collector.report(None, &older);
    collector.wait(&mut ticks).await?;
    let newer = collector.sample();
    Ok(Snapshot::new(Some(&before), collector.report(Some(&older), &newer)))
}

/// Keeps the rows that are asked for by name; all without names.
///
/// # Errors
///
/// If a name fits no row or several.
pub(crate) fn keep(snapshot: &mut Snapshot, names: &[String]) -> Result<()> {
    let report = &mut snapshot.report;
    select::select(report, names).map_err(|unknown| explained(unknown, &report.sources))?;
    snapshot.prune();
    Ok(())
}

/// The same; without names containers, or services on a host without containers.
fn narrow(snapshot: &mut Snapshot, names: &[String]) -> Result<()> {
    if names.is_empty() {
        keep_main_kind(&mut snapshot.report);
    }
    keep(snapshot, names)
}

fn keep_main_kind(report: &mut Report) {
    let has = |kind| report.containers.iter().any(|row| row.kind == kind);
    let main = [Kind::Container, Kind::Service, Kind::Other].into_iter().find(|kind| has(*kind));
    report.containers.retain(|row| Some(row.kind) == main);
    // To standard error, so that JSON stays what it is.
    match main {
        Some(Kind::Service) => eprintln!("tare: no containers here; showing services"),
        Some(Kind::Other) => eprintln!("tare: no containers or services here; showing cgroups"),
        Some(Kind::Container) | None => {}
    }
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

/// Colours are for terminals, unless `NO_COLOR` has any value.
fn wants_colour(out: &impl IsTerminal) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    out.is_terminal() && !is_set("NO_COLOR") && !is_dumb
}
