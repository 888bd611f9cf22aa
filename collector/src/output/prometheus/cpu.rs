//! CPU time.

use crate::output::prometheus::{
    Row,
    family::{Family, counter},
};

pub(super) const FAMILIES: &[Family] = &[
    counter(
        "container_cpu_usage_seconds_total",
        "CPU time used, in seconds, of all CPUs together.",
        |row, out| out.with(&[("cpu", "total")], row.cpu.usage_seconds),
    ),
    counter(
        "container_cpu_user_seconds_total",
        "CPU time used in user mode, in seconds.",
        |row, out| out.value(row.cpu.user_seconds),
    ),
    counter(
        "container_cpu_system_seconds_total",
        "CPU time used in the kernel, in seconds.",
        |row, out| out.value(row.cpu.system_seconds),
    ),
    counter(
        "container_cpu_cfs_periods_total",
        "Periods of the CPU quota in which the container could run.",
        |row, out| out.value(under_quota(row, row.cpu.periods)),
    ),
    counter(
        "container_cpu_cfs_throttled_periods_total",
        "Periods of the CPU quota in which the container was throttled.",
        |row, out| out.value(under_quota(row, row.cpu.throttled_periods)),
    ),
    counter(
        "container_cpu_cfs_throttled_seconds_total",
        "Time for which the container was throttled, in seconds.",
        |row, out| out.value(under_quota(row, row.cpu.throttled_seconds)),
    ),
    counter(
        "container_cpu_cfs_burst_periods_total",
        "Periods in which the container used more than its CPU quota, out of what it had saved up.",
        |row, out| out.value(under_quota(row, row.cpu.bursts)),
    ),
    counter(
        "container_cpu_cfs_burst_seconds_total",
        "CPU time used beyond the quota, in seconds.",
        |row, out| out.value(under_quota(row, row.cpu.burst_seconds)),
    ),
    counter(
        "container_pressure_cpu_waiting_seconds_total",
        "Time in which some task waited for a CPU, in seconds.",
        |row, out| out.value(row.cpu.pressure.and_then(|pressure| pressure.some_seconds)),
    ),
    counter(
        "container_pressure_cpu_stalled_seconds_total",
        "Time in which all tasks waited for a CPU, in seconds.",
        |row, out| out.value(row.cpu.pressure.and_then(|pressure| pressure.full_seconds)),
    ),
];

/// A number of the CPU quota. Like cAdvisor, only where one has been in force: without one the
/// kernel counts no periods.
fn under_quota<T>(row: &Row, number: Option<T>) -> Option<T> {
    number.filter(|_| row.cpu.periods > Some(0))
}
