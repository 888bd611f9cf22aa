//! Names of metrics: those of the semantic conventions where there are some, others below `tare.`.

use std::{borrow::Cow, sync::LazyLock};

use crate::{
    export::subject::{CATALOG, Entry},
    exposition::MetricKind,
};

/// How a metric is called in OpenTelemetry.
pub(super) struct OtelName {
    pub(super) name: Cow<'static, str>,
    pub(super) unit: &'static str,
    pub(super) kind: OtelKind,
    /// An attribute of all points.
    pub(super) attribute: Option<(&'static str, &'static str)>,
    /// Labels with other names.
    pub(super) renamed: Option<(&'static str, &'static str)>,
    /// The place of the first metric in the catalogue that has this name.
    pub(super) group: usize,
}

/// What kind of number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OtelKind {
    Counter,
    /// A sum that falls too.
    UpDownCounter,
    Gauge,
    Histogram,
}

/// A metric for which there is a convention.
struct Convention {
    metric: &'static str,
    name: &'static str,
    unit: &'static str,
    kind: OtelKind,
    attribute: Option<(&'static str, &'static str)>,
    renamed: Option<(&'static str, &'static str)>,
}

/// The names of every entry of the catalogue.
pub(super) static NAMES: LazyLock<Vec<OtelName>> = LazyLock::new(|| {
    let mut names: Vec<OtelName> = Vec::new();
    for (at, entry) in CATALOG.iter().enumerate() {
        let mut name = name(entry);
        let first = names.iter().position(|known| known.name == name.name);
        name.group = first.unwrap_or(at);
        names.push(name);
    }
    names
});

/// OpenTelemetry semantic conventions for containers and for systems.
const CONVENTIONS: &[Convention] = &[
    Convention {
        attribute: Some(("cpu.mode", "user")),
        ..counter("container_cpu_user_seconds_total", "container.cpu.time", "s")
    },
    Convention {
        attribute: Some(("cpu.mode", "system")),
        ..counter("container_cpu_system_seconds_total", "container.cpu.time", "s")
    },
    memory("container_memory_usage_bytes", "container.memory.usage"),
    memory("container_memory_working_set_bytes", "container.memory.working_set"),
    memory("container_memory_rss", "container.memory.rss"),
    Convention {
        attribute: Some(("network.io.direction", "receive")),
        renamed: Some(("interface", "network.interface.name")),
        ..counter("container_network_receive_bytes_total", "container.network.io", "By")
    },
    Convention {
        attribute: Some(("network.io.direction", "transmit")),
        renamed: Some(("interface", "network.interface.name")),
        ..counter("container_network_transmit_bytes_total", "container.network.io", "By")
    },
    Convention {
        attribute: Some(("disk.io.direction", "read")),
        renamed: Some(("device", "system.device")),
        ..counter("container_fs_reads_bytes_total", "container.disk.io", "By")
    },
    Convention {
        attribute: Some(("disk.io.direction", "write")),
        renamed: Some(("device", "system.device")),
        ..counter("container_fs_writes_bytes_total", "container.disk.io", "By")
    },
    up_down("machine_cpu_cores", "system.cpu.logical.count", "{cpu}"),
    up_down("machine_cpu_physical_cores", "system.cpu.physical.count", "{cpu}"),
    up_down("machine_memory_bytes", "system.memory.limit", "By"),
];

const fn counter(metric: &'static str, name: &'static str, unit: &'static str) -> Convention {
    let kind = OtelKind::Counter;
    Convention { metric, name, unit, kind, attribute: None, renamed: None }
}

const fn up_down(metric: &'static str, name: &'static str, unit: &'static str) -> Convention {
    Convention { kind: OtelKind::UpDownCounter, ..counter(metric, name, unit) }
}

const fn memory(metric: &'static str, name: &'static str) -> Convention {
    up_down(metric, name, "By")
}

fn name(entry: &Entry) -> OtelName {
    let metric = entry.metric;
    let found = CONVENTIONS.iter().find(|convention| convention.metric == metric.name);
    if let Some(&Convention { name, unit, kind, attribute, renamed, .. }) = found {
        return OtelName { name: name.into(), unit, kind, attribute, renamed, group: 0 };
    }
    let stem = metric.name.strip_prefix("tare_").unwrap_or(metric.name);
    let stem = stem.strip_suffix("_total").unwrap_or(stem);
    OtelName {
        name: format!("tare.{stem}").into(),
        unit: unit(stem),
        kind: match metric.kind {
            MetricKind::Counter | MetricKind::Untyped => OtelKind::Counter,
            MetricKind::Gauge => OtelKind::Gauge,
            MetricKind::Histogram => OtelKind::Histogram,
        },
        attribute: None,
        renamed: None,
        group: 0,
    }
}

/// Metrics in bytes whose names, which are cAdvisor's, do not say so.
const BYTES: &[&str] = &[
    "container_blkio_device_usage",
    "container_memory_cache",
    "container_memory_kernel_usage",
    "container_memory_mapped_file",
    "container_memory_swap",
];

/// The unit, in the code of UCUM. Others have none: `1` is for ratios, and receivers call them so.
fn unit(stem: &str) -> &'static str {
    if stem.ends_with("_seconds") {
        "s"
    } else if stem.ends_with("_bytes") || BYTES.contains(&stem) {
        "By"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_convention_is_of_a_metric_that_exists() {
        for convention in CONVENTIONS {
            let known = CATALOG.iter().any(|entry| entry.metric.name == convention.metric);
            assert!(known, "{}", convention.metric);
        }
    }

    #[test]
    fn metrics_of_the_same_name_are_of_the_same_kind() {
        for name in NAMES.iter() {
            let first = &NAMES[name.group];
            assert_eq!((&first.name, first.unit, first.kind), (&name.name, name.unit, name.kind));
            assert!(
                first.attribute != name.attribute || std::ptr::eq(first, name),
                "{}",
                name.name
            );
        }
    }

    #[test]
    fn what_has_no_convention_keeps_its_name() {
        let at = |metric| CATALOG.iter().position(|entry| entry.metric.name == metric).unwrap();
        let of = |metric| (NAMES[at(metric)].name.as_ref(), NAMES[at(metric)].unit);
        assert_eq!(of("container_memory_cache"), ("tare.container_memory_cache", "By"));
        assert_eq!(of("container_threads"), ("tare.container_threads", ""));
        let wait = ("tare.container_block_wait_seconds", "s");
        assert_eq!(of("tare_container_block_wait_seconds_total"), wait);
        assert_eq!(of("container_memory_rss"), ("container.memory.rss", "By"));
    }

    #[test]
    fn the_document_lists_every_name_with_unit_kind_and_origin() {
        let documented = include_str!("../../../../docs/opentelemetry.md");
        let row = |(at, name): (usize, &OtelName)| {
            let of_group = NAMES.iter().zip(CATALOG.iter()).filter(|(other, _)| other.group == at);
            let origin: Vec<_> =
                of_group.map(|(_, entry)| format!("`{}`", entry.metric.name)).collect();
            let unit = if name.unit.is_empty() { "–" } else { name.unit };
            let kind = match name.kind {
                OtelKind::Counter => "counter",
                OtelKind::UpDownCounter => "up-down counter",
                OtelKind::Gauge => "gauge",
                OtelKind::Histogram => "exponential histogram",
            };
            format!("| `{}` | {unit} | {kind} | {} |", name.name, origin.join(", "))
        };
        let firsts = NAMES.iter().enumerate().filter(|(at, name)| name.group == *at);
        let mut expected: Vec<_> = firsts.map(row).collect();
        expected.sort();
        let rows: Vec<_> = documented.lines().filter(|line| line.starts_with("| `")).collect();
        assert!(rows == expected, "docs/opentelemetry.md needs:\n{}", expected.join("\n"));
    }
}
