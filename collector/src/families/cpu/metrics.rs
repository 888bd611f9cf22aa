//! Metrics of CPU time and CPU limits. A limit that is not set is absent.

use tare_model::Container;

use crate::exposition::{Metric, Origin, counter, gauge};

pub(crate) const ORIGIN: Origin = Origin {
    source: "`cpu.stat` on v2; `cpuacct.usage`, `cpuacct.stat` and `cpu.stat` on v1; or the walk of the cgroups",
    kernel: "all",
    cost: "in each sample: one read on v2, one to three on v1; none with the walk",
    exceptions: &[
        ("container_cpu_cfs_burst_periods_total", "`cpu.stat`", "5.14"),
        ("container_cpu_cfs_burst_seconds_total", "`cpu.stat`", "5.14"),
        ("container_spec_cpu_period", "`cpu.max` on v2, `cpu.cfs_period_us` on v1", "all"),
        ("container_spec_cpu_quota", "`cpu.max` on v2, `cpu.cfs_quota_us` on v1", "all"),
        ("container_spec_cpu_shares", "`cpu.weight` on v2, `cpu.shares` on v1", "all"),
    ],
};

pub(crate) const METRICS: &[Metric] = &[
    counter(
        "container_cpu_usage_seconds_total",
        "CPU time used on all CPUs together, in seconds.",
        |container, out| out.with(&[("cpu", "total")], container.cpu.usage_seconds),
    ),
    counter(
        "container_cpu_user_seconds_total",
        "CPU time used in user mode, in seconds.",
        |container, out| out.value(container.cpu.user_seconds),
    ),
    counter(
        "container_cpu_system_seconds_total",
        "CPU time used in the kernel, in seconds.",
        |container, out| out.value(container.cpu.system_seconds),
    ),
    counter(
        "container_cpu_cfs_periods_total",
        "Periods of the CPU quota in which the container could run.",
        |container, out| out.value(under_quota(container, container.cpu.periods)),
    ),
    counter(
        "container_cpu_cfs_throttled_periods_total",
        "Periods of the CPU quota in which the container was throttled.",
        |container, out| out.value(under_quota(container, container.cpu.throttled_periods)),
    ),
    counter(
        "container_cpu_cfs_throttled_seconds_total",
        "Time for which the container was throttled, in seconds.",
        |container, out| out.value(under_quota(container, container.cpu.throttled_seconds)),
    ),
    counter(
        "container_cpu_cfs_burst_periods_total",
        "Periods in which the container used saved-up CPU time beyond its quota.",
        |container, out| out.value(under_quota(container, container.cpu.bursts)),
    ),
    counter(
        "container_cpu_cfs_burst_seconds_total",
        "Saved-up CPU time used beyond the quota, in seconds.",
        |container, out| out.value(under_quota(container, container.cpu.burst_seconds)),
    ),
    gauge(
        "container_spec_cpu_period",
        "Period of the CPU quota, in microseconds.",
        |container, out| out.value(container.cpu.settings.period_seconds.map(microseconds)),
    ),
    gauge(
        "container_spec_cpu_quota",
        "CPU time that may be used in a period, in microseconds.",
        |container, out| out.value(container.cpu.settings.quota_seconds.map(microseconds)),
    ),
    gauge(
        "container_spec_cpu_shares",
        "CPU shares as in cgroup v1; on cgroup v2, converted from the CPU weight.",
        |container, out| {
            let settings = &container.cpu.settings;
            out.value(settings.shares.or_else(|| settings.weight.and_then(shares)));
        },
    ),
];

/// A number of the CPU quota. Like cAdvisor, only where one has been in force: without one the
/// kernel counts no periods.
fn under_quota<T>(container: &Container, number: Option<T>) -> Option<T> {
    number.filter(|_| container.cpu.periods > Some(0))
}

/// As cAdvisor has it: the weights from 1 to 10,000 stand for 2 to 262,144 shares, in even steps.
/// `None` for what is no weight.
pub(crate) fn shares(weight: u64) -> Option<u64> {
    (1..=10_000).contains(&weight).then(|| 2 + (weight - 1) * 262_142 / 9_999)
}

fn microseconds(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_become_the_shares_that_cadvisor_shows() {
        for (weight, expected) in
            [(0, None), (1, Some(2)), (100, Some(2_597)), (10_000, Some(262_144)), (10_001, None)]
        {
            assert_eq!(shares(weight), expected, "{weight}");
        }
    }
}
