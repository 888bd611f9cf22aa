//! The formats of Prometheus: text 0.0.4 and OpenMetrics 1.0.
//!
//! A metric is one entry in the table of its group. Names and labels are those of cAdvisor where
//! Tare has a truthful source for them; Tare's own begin with `tare_`. What is unknown is not
//! exported.

mod block;
mod cpu;
mod ended;
mod family;
mod host;
mod labels;
mod lines;
mod memory;
mod network;
mod own;
mod process;
mod protobuf;
mod samples;
mod scrape;
mod sockets;
mod spec;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use clap::ValueEnum;
use jiff::Timestamp;

use self::{block::BlockDevice, family::Family, samples::Samples};
pub use self::{
    own::{BpfRuns, Own, Process, ProgramRuns, Sampling, Serving, Slots},
    scrape::{Pages, Scrape},
};
use crate::{
    model::{Container, Report},
    report::ReportOptions,
};

/// How a scrape is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The labels that tell containers apart.
    pub label_set: LabelSet,
    /// Whether containers' samples carry the time when they were taken.
    pub timestamps: bool,
    /// Of how many ended containers the totals are exported, the latest first.
    pub ended: usize,
    /// Whether histograms are exported: they are most of the lines of a container with block I/O.
    pub histograms: bool,
}

impl Options {
    /// What of a report is written.
    pub fn extent(&self) -> ReportOptions {
        ReportOptions { rates: false, neighbours: false, ended_max: self.ended, parents: true }
    }
}

/// The labels that tell containers apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LabelSet {
    /// `id`, `name`, `image`, and the project and service of Docker Compose: cAdvisor on its own.
    #[default]
    Standalone,
    /// `id`, `name`, `image`, `pod`, `namespace`, `container`: the kubelet's cAdvisor.
    Kubelet,
}

/// The wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exposition {
    /// Prometheus text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Messages of `io.prometheus.client`, which alone have native histograms.
    Protobuf,
}

impl Exposition {
    /// The value of the header `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited"
            }
        }
    }
}

/// How the names of cAdvisor's metrics of containers and of cgroups above them begin.
const CADVISOR: &str = "container_";

/// A container that is alive, and what else its metrics depend on.
struct Row<'a> {
    container: &'a Container,
    time: Timestamp,
    devices: Vec<BlockDevice<'a>>,
}

/// A report but for its containers.
struct Frame<'a> {
    report: &'a Report,
    container_count: usize,
}

impl std::ops::Deref for Frame<'_> {
    type Target = Report;

    fn deref(&self) -> &Report {
        self.report
    }
}

impl std::ops::Deref for Row<'_> {
    type Target = Container;

    fn deref(&self) -> &Container {
        self.container
    }
}

/// All families by name, so that two scrapes differ in their values only.
static FAMILIES: LazyLock<Vec<&'static Family>> = LazyLock::new(|| {
    let groups = [
        block::FAMILIES,
        cpu::FAMILIES,
        ended::FAMILIES,
        host::FAMILIES,
        memory::FAMILIES,
        network::FAMILIES,
        own::FAMILIES,
        process::FAMILIES,
        sockets::FAMILIES,
        spec::FAMILIES,
    ];
    let mut families: Vec<_> = groups.into_iter().flatten().collect();
    families.sort_by_key(|family| family.name);
    families
});
