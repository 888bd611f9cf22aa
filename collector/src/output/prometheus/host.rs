//! The machine, and where numbers come from.

use serde::Serialize;

use crate::output::prometheus::family::{Family, Of, gauge_of};

pub(super) const FAMILIES: &[Family] = &[
    gauge_of(
        "machine_cpu_cores",
        "CPUs that are online.",
        Of::Host(|report, out| out.value(report.host.online_cpus.map(u64::from))),
    ),
    gauge_of(
        "machine_memory_bytes",
        "Memory of the machine.",
        Of::Host(|report, out| out.value(report.host.memory_bytes)),
    ),
    gauge_of(
        "tare_source_info",
        "Where a family of numbers comes from, and why not from a better source: always 1.",
        Of::Host(|report, out| {
            for (family, source) in &report.sources {
                let labels = [
                    ("family", &*word(family)),
                    ("source", source.source.as_deref().unwrap_or_default()),
                    ("state", &*word(&source.state)),
                    ("reason", source.reason.as_deref().unwrap_or_default()),
                ];
                out.with(&labels, 1_u64);
            }
        }),
    ),
    gauge_of(
        "tare_containers",
        "Containers that are alive, or what stands in for them.",
        Of::Host(|report, out| out.value(report.containers.len() as u64)),
    ),
    gauge_of(
        "tare_receipts",
        "Receipts of ended containers that are kept.",
        Of::Host(|report, out| out.value(report.ended.len() as u64)),
    ),
];

/// The word that JSON has for it.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
