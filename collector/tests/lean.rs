//! The lean set of metrics that `docs/cluster.md` documents.

#![allow(clippy::expect_used)]

use std::{fs, path::Path};

use tare::internals::{
    Chunks, Exposition, LabelSet, MetricPattern, Scrape, ScrapeOptions, Selection, Telemetry,
};
use tare_model::{Container, Report, Snapshot};

/// What vmagent accepts by default (`-promscrape.maxScrapeSize`).
const BYTES_MAX: usize = 16 << 20;

/// The containers for which that must be enough.
const CONTAINERS: usize = 10_000;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join(path)).expect(path)
}

/// The names below `collect[]:` in the document.
fn lean_set() -> Selection {
    let text = read("docs/cluster.md");
    let (_, rest) = text.split_once("collect[]:\n").expect("a lean set");
    let lines = rest.lines().map_while(|line| line.trim().strip_prefix("- "));
    let patterns: Vec<MetricPattern> = lines.map(|name| name.parse().expect(name)).collect();
    assert!(patterns.len() > 5, "{patterns:?}");
    Selection::default().only(&patterns)
}

/// A saved report of a real host; its containers are repeated under new names. Every tenth has a
/// limit and block I/O, as those of the saved report do.
fn report() -> Report {
    let saved: Snapshot =
        serde_json::from_str(&read("tests/fixtures/snapshot.json")).expect("a snapshot");
    let mut report = saved.report;
    let several = report.containers.iter().cycle().take(CONTAINERS).cloned().enumerate();
    report.containers = several.map(|(number, container)| renamed(container, number)).collect();
    report
}

fn renamed(mut container: Container, number: usize) -> Container {
    let id = format!("{number:08x}{}", container.id.get(8..).unwrap_or_default());
    container.cgroup = container.cgroup.replace(&container.id, &id);
    container.name = container.name.map(|name| format!("{name}-{number}"));
    container.id = id;
    container
}

/// The bytes of a scrape, and its samples.
fn size(report: &Report, selection: Selection) -> (usize, usize) {
    let options = ScrapeOptions {
        label_set: LabelSet::Standalone,
        histograms: true,
        selection,
        ..ScrapeOptions::default()
    };
    let containers = report.containers.iter();
    let telemetry = Telemetry::default();
    let scrape = Scrape::new(report, containers, &telemetry, &options, Exposition::Text);
    let mut text = Vec::new();
    Chunks::new(scrape.into()).write(&mut text).expect("memory takes all");
    let lines = text.split(|byte| *byte == b'\n');
    (text.len(), lines.filter(|line| !line.is_empty() && line[0] != b'#').count())
}

#[test]
fn the_lean_set_of_10_000_containers_is_below_16_mib() {
    let report = report();
    let (lean, lean_samples) = size(&report, lean_set());
    let (whole, samples) = size(&report, Selection::default());
    println!("lean: {lean} bytes, {lean_samples} samples; all: {whole} bytes, {samples} samples");
    assert!(lean < BYTES_MAX, "{lean} bytes");
    assert!(whole > BYTES_MAX, "{whole} bytes: a lean set is not needed");
    assert!(lean > CONTAINERS * 500, "{lean} bytes: too little for a set that is of use");
}

#[test]
fn the_documented_groups_exist_and_are_all() {
    let text = read("docs/cluster.md");
    let (_, rest) = text.split_once("Groups are ").expect("the list of groups");
    let (list, _) = rest.split_once('.').expect("the end of the list");
    let groups: Vec<MetricPattern> =
        list.split('`').skip(1).step_by(2).map(|name| name.parse().expect(name)).collect();
    assert_eq!(Selection::default().only(&groups), Selection::default());
}
