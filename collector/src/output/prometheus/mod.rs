//! `/metrics`: the list of all metrics, and a scrape of them.
//!
//! Names and labels are those of cAdvisor where Tare has an honest source for them. The names of
//! Tare's own metrics begin with `tare_`. An unknown value is not exported.

mod container;
mod ended;
mod host;
mod labels;
#[cfg(test)]
mod names;
mod network_owner;
mod scrape;
mod selection;
mod telemetry;
#[cfg(test)]
mod tests;
pub(crate) mod topology;

use std::sync::LazyLock;

use clap::ValueEnum;

pub(crate) use self::{
    labels::for_each_label,
    network_owner::{Candidate, network_owners},
    scrape::CADVISOR_PREFIX,
};
pub use self::{
    scrape::{Chunks, Scrape},
    selection::{MetricPattern, Selection},
};
pub use crate::exposition::Exposition;
use crate::{
    exposition::{Metric, MetricGroup},
    families,
    report::ReportOptions,
};

/// What a scrape contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The labels that identify a container.
    pub label_set: LabelSet,
    /// Whether the samples of containers carry the time of the report.
    pub timestamps: bool,
    /// How many ended containers are exported, the latest first.
    pub ended: usize,
    /// Whether histograms are exported. They are most of the lines of a container with block I/O.
    pub histograms: bool,
    /// Which metrics are exported.
    pub selection: Selection,
}

impl Options {
    /// What of a report a scrape needs.
    pub fn extent(&self) -> ReportOptions {
        ReportOptions { rates: false, neighbours: false, ended_max: self.ended, parents: true }
    }
}

/// The labels that identify a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LabelSet {
    /// `id`, `name`, `image`, and the project and service of Docker Compose: cAdvisor on its own.
    #[default]
    Standalone,
    /// `id`, `name`, `image`, `pod`, `namespace`, `container`: the kubelet's cAdvisor.
    Kubelet,
}

/// The groups of metrics that are of no family of numbers: `identity` says what a container is, and
/// `tare` is about Tare itself.
const OTHERS: &[MetricGroup] = &[
    MetricGroup { name: "identity", origin: container::ORIGIN, metrics: container::METRICS },
    MetricGroup { name: "ended", origin: ended::ORIGIN, metrics: ended::METRICS },
    MetricGroup { name: "host", origin: host::ORIGIN, metrics: host::METRICS },
    MetricGroup { name: "topology", origin: topology::ORIGIN, metrics: topology::METRICS },
    MetricGroup { name: "tare", origin: telemetry::ORIGIN, metrics: telemetry::METRICS },
];

/// All groups.
pub(crate) fn groups() -> impl Iterator<Item = &'static MetricGroup> {
    families::METRICS.iter().chain(OTHERS)
}

/// All metrics with their groups, sorted by name so that two scrapes differ in their values only.
static METRICS: LazyLock<Vec<(&'static str, &'static Metric)>> = LazyLock::new(|| {
    let of = |group: &'static MetricGroup| group.metrics.iter().map(|metric| (group.name, metric));
    let mut metrics: Vec<_> = groups().flat_map(of).collect();
    metrics.sort_by_key(|(_, metric)| metric.name);
    metrics
});
