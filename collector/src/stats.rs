//! `tare stats`: samples at a steady pace, shown as a table or written as JSON.

use std::io::{self, Write};

use anyhow::Result;
use tare_model::Report;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{self, MissedTickBehavior},
};

use crate::{
    collector::Collector,
    config::{self, Common, Stats},
    output::{
        Format, Scope, json,
        screen::Screen,
        select::{self, explained},
        table, template,
    },
    record::Replay,
    registry::Follow,
};

/// Runs until interrupted, or until the one report is out.
pub async fn run(common: &Common, stats: &Stats) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    if let Some(replay) = &stats.replay {
        return Writer::new(stats).write(replay_one(replay)?);
    }
    let work = report_forever(common, stats);
    tokio::select! {
        done = work => done,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// The report of a recorded instant.
fn replay_one(options: &config::Replay) -> Result<Report> {
    let mut replay = Replay::open(&options.path)?;
    let moment = replay.find(options.at.as_ref())?;
    let report = replay.pair(&moment)?.report();
    replay.print_problems();
    Ok(report)
}

async fn report_forever(common: &Common, stats: &Stats) -> Result<()> {
    let mut collector = Collector::start(common, follow(stats))?;
    let mut writer = Writer::new(stats);
    let mut older = collector.sample();
    let mut ticks = time::interval_at(time::Instant::now() + stats.interval, stats.interval);
    // A late report delays the next ones; none is made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    collector.settle_names().await;
    loop {
        collector.wait(&mut ticks).await?;
        let newer = collector.sample();
        writer.write(collector.report(Some(&older), &newer))?;
        if !stats.stream {
            return Ok(());
        }
        older = newer;
    }
}

/// On a host without containers a table shows services or cgroups instead, and says so. Other
/// formats show rows in scope only.
fn follow(stats: &Stats) -> Follow {
    match (stats.table.scope, &stats.format) {
        (Scope::Containers, Format::Table) => Follow::ContainersOrFallback,
        (scope, _) => scope.into(),
    }
}

/// Where reports go.
struct Writer<'a> {
    stats: &'a Stats,
    screen: Screen<io::Stdout>,
    reports: u64,
}

impl<'a> Writer<'a> {
    fn new(stats: &'a Stats) -> Self {
        Self { stats, screen: Screen::stdout(stats.stream && stats.replay.is_none()), reports: 0 }
    }

    fn write(&mut self, mut report: Report) -> Result<()> {
        let found = select::select(&mut report, &self.stats.table.names);
        // A container that is asked for by name must be there at the start; it may end later.
        if self.reports == 0 {
            found.map_err(|unknown| explained(unknown, &report.sources))?;
        }
        self.reports += 1;
        let table = &self.stats.table;
        match &self.stats.format {
            Format::Table => self.screen.show(&table::render(&report, table))?,
            Format::Template(template) => {
                self.screen.show(&template::render(&report, template, table))?;
            }
            Format::Json => {
                select::retain_rows(&mut report, table.scope, &table.filters);
                let mut out = io::stdout().lock();
                json::write(&report, &mut out)?;
                out.flush()?;
            }
        }
        Ok(())
    }
}
