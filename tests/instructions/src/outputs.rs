//! The outputs of a report of 100 containers.

use std::{fs, hint::black_box};

use anyhow::{Context as _, Result, ensure};
use tare::internals::{
    Chunks, Exposition, Scrape, ScrapeOptions, TableOptions, Telemetry, render_table, write_json,
};
use tare_model::{Container, Report, Snapshot};

use crate::{Case, Work, tests};

const CONTAINERS: usize = 100;

pub(crate) const CASES: &[Case] = &[
    ("output/prometheus-text", || exposition(Exposition::Text)),
    ("output/prometheus-openmetrics", || exposition(Exposition::OpenMetrics)),
    ("output/json", || {
        writing(|report, out| {
            // Writing to memory does not fail.
            let _ = write_json(report, out);
        })
    }),
    ("output/table", || {
        let options = TableOptions::default();
        writing(move |report, _| drop(black_box(render_table(report, &options))))
    }),
];

fn exposition(exposition: Exposition) -> Result<Work> {
    let telemetry = Telemetry::default();
    let options = ScrapeOptions { histograms: true, ..ScrapeOptions::default() };
    writing(move |report, out| {
        // Writing to memory does not fail.
        let containers = report.containers.iter();
        let scrape = Scrape::new(report, containers, &telemetry, &options, exposition);
        let _ = Chunks::new(scrape.into()).write(out);
    })
}

/// The report, and a buffer that is large enough after the first run.
fn writing(mut write: impl FnMut(&Report, &mut Vec<u8>) + 'static) -> Result<Work> {
    let report = report()?;
    let mut out = Vec::new();
    Ok(Box::new(move || {
        out.clear();
        write(black_box(&report), &mut out);
        black_box(&out);
    }))
}

/// A saved report of a real host with every kind of work; its containers are repeated under new
/// names until there are enough.
fn report() -> Result<Report> {
    let path = tests().join("fixtures/snapshot.json");
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut report = serde_json::from_slice::<Snapshot>(&text)?.report;
    ensure!(!report.containers.is_empty(), "{} holds no container", path.display());
    let several = report.containers.iter().cycle().take(CONTAINERS).cloned().enumerate();
    report.containers = several.map(|(number, container)| renamed(container, number)).collect();
    Ok(report)
}

fn renamed(mut container: Container, number: usize) -> Container {
    let id = format!("{number:08x}{}", container.id.get(8..).unwrap_or_default());
    container.cgroup = container.cgroup.replace(&container.id, &id);
    container.name = container.name.map(|name| format!("{name}-{number}"));
    container.id = id;
    container
}
