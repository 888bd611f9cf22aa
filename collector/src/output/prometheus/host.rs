//! Metrics of the host, and the sources of the numbers.

use serde::Serialize;
use tare_model::{Host, Report};

use crate::exposition::{Collect, Metric, Origin, Samples, gauge_of};

pub(super) const ORIGIN: Origin = Origin {
    source: "`/proc/stat`, `/proc/meminfo` and `/sys/devices/system/cpu`",
    kernel: "all",
    cost: "two reads in each sample; `/sys` at the start",
    exceptions: &[],
};

pub(super) const METRICS: &[Metric] = &[
    gauge_of(
        "machine_cpu_cores",
        "Online CPUs.",
        Collect::Host(|summary, out| {
            machine(summary.report, out, &[], summary.report.host.online_cpus.map(u64::from));
        }),
    ),
    gauge_of(
        "machine_cpu_physical_cores",
        "Physical CPU cores.",
        Collect::Host(|summary, out| {
            machine(
                summary.report,
                out,
                &[],
                summary.report.host.cpu.physical_cores.map(u64::from),
            );
        }),
    ),
    gauge_of(
        "machine_cpu_sockets",
        "CPU sockets.",
        Collect::Host(|summary, out| {
            machine(summary.report, out, &[], summary.report.host.cpu.sockets.map(u64::from));
        }),
    ),
    gauge_of(
        "machine_memory_bytes",
        "Memory of the host, in bytes.",
        Collect::Host(|summary, out| {
            machine(summary.report, out, &[], summary.report.host.memory_bytes);
        }),
    ),
    gauge_of(
        "machine_swap_bytes",
        "Swap of the host, in bytes.",
        Collect::Host(|summary, out| {
            machine(summary.report, out, &[], summary.report.host.memory.swap_bytes);
        }),
    ),
    gauge_of(
        "tare_source_info",
        "The labels name the source of a family of numbers, and why it is not a better one; the value is always 1.",
        Collect::Host(|summary, out| {
            for (family, source) in &summary.report.sources {
                let reason = without_numbers(source.reason.as_deref().unwrap_or_default());
                let labels = [
                    ("family", &*json_word(family)),
                    ("source", source.source.as_deref().unwrap_or_default()),
                    ("state", &*json_word(&source.state)),
                    ("reason", &reason),
                    ("reason_codes", &source.reason_codes.join(",")),
                ];
                out.with(&labels, 1_u64);
            }
        }),
    ),
    gauge_of(
        "tare_containers",
        "Running containers; with --scope, services or cgroups.",
        Collect::Host(|summary, out| out.value(summary.container_count as u64)),
    ),
];

/// A value of the host, with the labels that identify the host and more.
pub(super) fn machine(
    report: &Report,
    out: &mut Samples,
    more: &[(&str, &str)],
    value: Option<u64>,
) {
    let Host { boot_id, machine_id, system_uuid, .. } = &report.host;
    let mut labels = vec![
        ("boot_id", boot_id.as_deref().unwrap_or_default()),
        ("machine_id", machine_id.as_deref().unwrap_or_default()),
        ("system_uuid", system_uuid.as_deref().unwrap_or_default()),
    ];
    labels.extend(more);
    out.with(&labels, value);
}

/// Replaces each number in a reason by `N`. A number in a label would start a new time series
/// whenever it changes. `/api/v1/sources` has the numbers.
fn without_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    for piece in text.split_inclusive(|c| !is_part(c)) {
        let word = piece.trim_end_matches(|c| !is_part(c));
        let number = word.trim_end_matches('.');
        if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            out.push('N');
            out.push_str(&piece[number.len()..]);
        } else {
            out.push_str(piece);
        }
    }
    out
}

/// The value as JSON has it, without quotes.
fn json_word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_hold_names_but_no_numbers_that_grow() {
        let table = [
            ("", ""),
            (
                "1 of 10147 requests on vda1 (0.01 %) were not seen",
                "N of N requests on vda1 (N %) were not seen",
            ),
            ("cannot read /proc/2197/ns/net.", "cannot read /proc/N/ns/net."),
            ("there are 3. CAP_BPF, IPv6, cgroup2", "there are N. CAP_BPF, IPv6, cgroup2"),
        ];
        for (text, expected) in table {
            assert_eq!(without_numbers(text), expected);
        }
    }
}
