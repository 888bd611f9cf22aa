//! The machine, and where numbers come from.

use serde::Serialize;

use crate::{
    model::{Host, Report},
    output::prometheus::{
        Samples,
        family::{Family, Of, gauge_of},
    },
};

pub(super) const FAMILIES: &[Family] = &[
    gauge_of(
        "machine_cpu_cores",
        "CPUs that are online.",
        Of::Host(|report, out| machine(report, out, report.host.online_cpus.map(u64::from))),
    ),
    gauge_of(
        "machine_cpu_physical_cores",
        "Cores of the machine's processors.",
        Of::Host(|report, out| {
            machine(report, out, report.host.cpu.physical_cores.map(u64::from));
        }),
    ),
    gauge_of(
        "machine_cpu_sockets",
        "Processors of the machine.",
        Of::Host(|report, out| machine(report, out, report.host.cpu.sockets.map(u64::from))),
    ),
    gauge_of(
        "machine_memory_bytes",
        "Memory of the machine.",
        Of::Host(|report, out| machine(report, out, report.host.memory_bytes)),
    ),
    gauge_of(
        "machine_swap_bytes",
        "Swap of the machine.",
        Of::Host(|report, out| machine(report, out, report.host.memory.swap_bytes)),
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
        Of::Host(|report, out| out.value(report.container_count as u64)),
    ),
    gauge_of(
        "tare_receipts",
        "Receipts of ended containers that are kept.",
        Of::Host(|report, out| out.value(report.ended.len() as u64)),
    ),
];

/// A number of the machine, with the labels that tell it from others.
fn machine(report: &Report, out: &mut Samples, value: Option<u64>) {
    let Host { boot_id, machine_id, system_uuid, .. } = &report.host;
    let labels = [
        ("boot_id", boot_id.as_deref().unwrap_or_default()),
        ("machine_id", machine_id.as_deref().unwrap_or_default()),
        ("system_uuid", system_uuid.as_deref().unwrap_or_default()),
    ];
    out.with(&labels, value);
}

/// The word that JSON has for it.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
