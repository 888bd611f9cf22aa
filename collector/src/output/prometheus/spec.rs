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
        "Share of CPU time where it is short, by cgroup v1's measure; on v2 made of the weight.",
        |row, out| {
            let settings = &row.cpu.settings;
            out.value(settings.shares.or_else(|| settings.weight.and_then(shares)));
        },
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

/// As cAdvisor has it: the weights from 1 to 10,000 stand for 2 to 262,144 shares, in even steps.
/// `None` for what is no weight.
fn shares(weight: u64) -> Option<u64> {
    (1..=10_000).contains(&weight).then(|| 2 + (weight - 1) * 262_142 / 9_999)
}

fn microseconds(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_become_the_shares_that_cadvisor_tells() {
        for (weight, expected) in
            [(0, None), (1, Some(2)), (100, Some(2_597)), (10_000, Some(262_144)), (10_001, None)]
        {
            assert_eq!(shares(weight), expected, "{weight}");
        }
    }
}
