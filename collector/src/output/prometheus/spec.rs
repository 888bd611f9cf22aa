//! What a container may use. Limits that are not set are not there.

use crate::output::prometheus::family::{Family, gauge};

pub(super) const FAMILIES: &[Family] = &[
    gauge("container_spec_cpu_period", "Period of the CPU quota, in microseconds.", |row, out| {
        out.value(row.cpu.settings.period_seconds.map(microseconds))
    }),
    gauge(
        "container_spec_cpu_quota",
        "CPU time that may be used in a period, in microseconds.",
        |row, out| out.value(row.cpu.settings.quota_seconds.map(microseconds)),
    ),
    gauge(
        "container_spec_cpu_shares",
        "Share of CPU time where it is short; only on cgroup v1, where 1024 is usual.",
        |row, out| out.value(row.cpu.settings.shares),
    ),
    gauge("container_spec_memory_limit_bytes", "Limit of memory.", |row, out| {
        out.value(row.memory.limits.max_bytes);
    }),
    gauge(
        "container_spec_memory_reservation_limit_bytes",
        "Memory that is left to the container where others have some to give.",
        |row, out| out.value(row.memory.limits.low_bytes.or(row.memory.limits.soft_bytes)),
    ),
    gauge(
        "container_spec_memory_swap_limit_bytes",
        "Limit of swap; on cgroup v1, of memory and swap together.",
        |row, out| {
            let limits = &row.memory.limits;
            out.value(limits.swap_max_bytes.or(limits.memory_and_swap_max_bytes));
        },
    ),
];

fn microseconds(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}
