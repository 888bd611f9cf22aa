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
mod memory;
mod network;
mod own;
mod process;
mod samples;
mod sockets;
mod spec;
#[cfg(test)]
mod tests;

use std::{io, sync::LazyLock};

use clap::ValueEnum;

pub use self::own::{BpfRuns, Own, Process, ProgramRuns, Sampling, Serving, Slots};
use self::{
    family::{Family, Of},
    labels::Labels,
    samples::Samples,
};
use crate::{
    model::{Container, Extent, Report},
    output::prometheus::labels::network_owners,
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
    pub fn extent(&self) -> Extent {
        Extent { containers: true, neighbours: false, ended_max: self.ended, parents: true }
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
}

impl Exposition {
    /// The value of the header `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Writes a whole scrape, family by family.
///
/// # Errors
///
/// Those of `out`.
pub fn write(
    report: &Report,
    own: &Own,
    options: &Options,
    exposition: Exposition,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let owners = network_owners(&report.containers);
    let rows: Vec<Row> = report
        .containers
        .iter()
        .zip(owners)
        .chain(report.parents.iter().map(|parent| (parent, false)))
        .map(|(container, owns_network)| Row { container, owns_network, report })
        .collect();
    let labels = Labels::of(rows.iter().map(|row| row.container), options);
    let ended = ended::latest(report, options.ended);
    let ended_labels = Labels::of(ended.iter().map(|ended| &ended.container), options);
    let mut samples = Samples::new(exposition, options);
    for family in FAMILIES.iter() {
        samples.begin(family);
        match family.of {
            Of::Container(write) => {
                samples.stamp(report.time);
                // Tare's own are about containers alone.
                let of_all = family.name.starts_with(CADVISOR);
                let count = if of_all { rows.len() } else { report.containers.len() };
                for (index, row) in rows.iter().enumerate().take(count) {
                    samples.label(labels.get(index));
                    write(row, &mut samples);
                }
            }
            Of::Ended(write) => {
                for (index, ended) in ended.iter().enumerate() {
                    samples.label(ended_labels.get(index));
                    write(ended, &mut samples);
                }
            }
            Of::Host(write) => write(report, &mut samples),
            Of::Own(write) => write(own, &mut samples),
        }
        samples.pass_on(out)?;
    }
    if exposition == Exposition::OpenMetrics {
        out.write_all(b"# EOF\n")?;
    }
    Ok(())
}

/// How the names of cAdvisor's metrics of containers and of cgroups above them begin.
const CADVISOR: &str = "container_";

/// A container that is alive, and what else its metrics depend on.
struct Row<'a> {
    container: &'a Container,
    /// Whether the devices of its network namespace are counted as its own, so that sums over
    /// containers count every device once.
    owns_network: bool,
    report: &'a Report,
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
