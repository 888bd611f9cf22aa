//! `/metrics`: the list of all metrics, and a scrape of them.
//!
//! Names and labels are those of cAdvisor where Tare has an honest source for them. The names of
//! Tare's own metrics begin with `tare_`. An unknown value is not exported.

mod container;
mod ended;
mod host;
mod labels;
mod network_owner;
mod scrape;
mod telemetry;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use clap::ValueEnum;

pub use self::scrape::{Chunks, Scrape};
pub(crate) use self::{
    labels::for_each_label,
    network_owner::{Candidate, network_owners},
    scrape::CADVISOR_PREFIX,
};
pub use crate::exposition::Exposition;
use crate::{exposition::Metric, families, report::ReportOptions};

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

/// All metrics, sorted by name so that two scrapes differ in their values only.
static METRICS: LazyLock<Vec<&'static Metric>> = LazyLock::new(|| {
    let mut metrics: Vec<_> = families().flat_map(|(_, metrics)| metrics).collect();
    metrics.sort_by_key(|metric| metric.name);
    metrics
});

/// All metrics, by the name of their family. The last four families belong to no family of numbers:
/// `identity` says what a container is, `ended` and `host` what their names say, and `tare` is
/// about Tare itself.
pub(crate) fn families() -> impl Iterator<Item = (&'static str, &'static [Metric])> {
    let others = [
        ("identity", container::METRICS),
        ("ended", ended::METRICS),
        ("host", host::METRICS),
        ("tare", telemetry::METRICS),
    ];
    families::METRICS.iter().copied().chain(others)
}
