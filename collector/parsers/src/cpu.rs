//! CPU time and CPU quota of a cgroup: `cpu.stat`, `cpuacct.stat`, `cpu.max`.

use crate::text::{named_numbers, number, words};
use serde::{Deserialize, Serialize};

/// CPU time of a cgroup with all its descendants since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct CpuUsage {
    /// CPU time in all modes. v2 counts in microseconds.
    pub usage_nanoseconds: Option<u64>,
    /// Part of it in user mode. v1 counts in `USER_HZ` (10 ms).
    pub user_nanoseconds: Option<u64>,
    /// Part of it in the kernel. v1 counts in `USER_HZ` (10 ms).
    pub system_nanoseconds: Option<u64>,
    /// Periods of the CPU limit in which the cgroup could run; 0 without a limit, `None` without
    /// the `cpu` controller.
    pub periods: Option<u64>,
    /// Periods in which its limit was used up.
    pub throttled_periods: Option<u64>,
    /// For how long it was kept from running, summed over the CPUs.
    pub throttled_nanoseconds: Option<u64>,
    /// Periods in which it used more than its quota, from saved-up quota. Since Linux 5.16.
    pub bursts: Option<u64>,
    /// The time by which it did.
    pub burst_nanoseconds: Option<u64>,
}

impl CpuUsage {
    /// Raises what fell below an earlier reading. The kernel scales the tick-based user and system
    /// times to the exact sum anew at each read, so one of them may lose what the other wins
    /// (`kernel/sched/cputime.c`, `cputime_adjust`; per cgroup since Linux 5.10 at the latest).
    pub fn never_below(&mut self, earlier: &Self) {
        let fields = [
            (&mut self.usage_nanoseconds, earlier.usage_nanoseconds),
            (&mut self.user_nanoseconds, earlier.user_nanoseconds),
            (&mut self.system_nanoseconds, earlier.system_nanoseconds),
            (&mut self.periods, earlier.periods),
            (&mut self.throttled_periods, earlier.throttled_periods),
            (&mut self.throttled_nanoseconds, earlier.throttled_nanoseconds),
            (&mut self.bursts, earlier.bursts),
            (&mut self.burst_nanoseconds, earlier.burst_nanoseconds),
        ];
        for (now, earlier) in fields {
            *now = now.map(|now| earlier.map_or(now, |earlier| now.max(earlier)));
        }
    }
}

/// Reads a `cpu.stat` of v2 (`…_usec`, `kernel/cgroup/rstat.c`; throttling by
/// `cpu_extra_stat_show`) or v1 (`…_time` in nanoseconds, `cpu_cfs_stat_show`, both in
/// `kernel/sched/core.c`).
pub fn parse_cpu_stat(text: &[u8], usage: &mut CpuUsage) {
    for (name, value) in named_numbers(text) {
        let from_microseconds = Some(value.saturating_mul(1000));
        match name {
            b"usage_usec" => usage.usage_nanoseconds = from_microseconds,
            b"user_usec" => usage.user_nanoseconds = from_microseconds,
            b"system_usec" => usage.system_nanoseconds = from_microseconds,
            b"nr_periods" => usage.periods = Some(value),
            b"nr_throttled" => usage.throttled_periods = Some(value),
            b"throttled_usec" => usage.throttled_nanoseconds = from_microseconds,
            b"throttled_time" => usage.throttled_nanoseconds = Some(value),
            b"nr_bursts" => usage.bursts = Some(value),
            b"burst_usec" => usage.burst_nanoseconds = from_microseconds,
            b"burst_time" => usage.burst_nanoseconds = Some(value),
            _ => {}
        }
    }
}

/// Reads a `cpuacct.stat` of v1, in clock ticks (`kernel/sched/cpuacct.c`, `cpuacct_stats_show`).
pub fn parse_cpuacct_stat(text: &[u8], clock_ticks: u64, usage: &mut CpuUsage) {
    for (name, value) in named_numbers(text) {
        let time = Some(ticks_to_nanoseconds(value, clock_ticks));
        match name {
            b"user" => usage.user_nanoseconds = time,
            b"system" => usage.system_nanoseconds = time,
            _ => {}
        }
    }
}

/// Clock ticks as time.
pub fn ticks_to_nanoseconds(ticks: u64, ticks_per_second: u64) -> u64 {
    let nanoseconds = u128::from(ticks) * 1_000_000_000 / u128::from(ticks_per_second.max(1));
    u64::try_from(nanoseconds).unwrap_or(u64::MAX)
}

/// Reads a `cpu.max`: quota, which may be `max`, and period in microseconds
/// (`kernel/sched/core.c`, `cpu_max_show`).
pub fn parse_cpu_max(text: &[u8]) -> (Option<u64>, Option<u64>) {
    let mut words = words(text);
    (words.next().and_then(number), words.next().and_then(number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_the_cpu_controller_throttling_is_unknown() {
        let mut usage = CpuUsage::default();
        parse_cpu_stat(b"usage_usec 1\nuser_usec 1\nsystem_usec 0\n", &mut usage);
        assert_eq!(usage.usage_nanoseconds, Some(1000));
        assert_eq!(usage.periods, None);
    }

    #[test]
    fn ticks_never_overflow() {
        assert_eq!(ticks_to_nanoseconds(u64::MAX, 100), u64::MAX);
        assert_eq!(ticks_to_nanoseconds(1, 0), 1_000_000_000);
        assert_eq!(ticks_to_nanoseconds(1, 1024), 976_562);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(text: Vec<u8>, value: u64) {
            let mut usage = CpuUsage::default();
            parse_cpu_stat(&text, &mut usage);
            parse_cpu_stat(format!("usage_usec {value}").as_bytes(), &mut usage);
            parse_cpuacct_stat(&text, 100, &mut usage);
            parse_cpuacct_stat(format!("user {value}").as_bytes(), 0, &mut usage);
            parse_cpu_max(&text);
        }
    }
}
