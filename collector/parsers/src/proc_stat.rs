//! `/proc/stat`.

use crate::{
    cpu::ticks_to_nanoseconds,
    text::{lines, number, words},
};
use serde::{Deserialize, Serialize};

/// CPU times, CPU count and boot time of the host. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcStat {
    /// CPU time of all CPUs since boot, idle included: the sum of the first seven numbers of the
    /// `cpu` line. Guest time is part of user time there. It equals Docker's `system_cpu_usage`.
    pub system_nanoseconds: Option<u64>,
    /// The same sum without idle and iowait.
    pub busy_nanoseconds: Option<u64>,
    /// CPU time of all CPUs since boot by mode.
    pub cpu: CpuTimes,
    /// CPUs that are online.
    pub online_cpus: Option<u32>,
    /// Boot time in seconds since 1970, by the wall clock at the time of the read.
    pub boot_time_seconds: Option<u64>,
}

/// CPU time of all CPUs since boot by mode. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct CpuTimes {
    /// Programs, guests of virtual machines included.
    pub user_nanoseconds: Option<u64>,
    /// Programs of low priority.
    pub nice_nanoseconds: Option<u64>,
    /// The kernel.
    pub system_nanoseconds: Option<u64>,
    pub idle_nanoseconds: Option<u64>,
    /// Idle while a task waited for I/O.
    pub iowait_nanoseconds: Option<u64>,
    pub irq_nanoseconds: Option<u64>,
    pub softirq_nanoseconds: Option<u64>,
    /// Taken by the hypervisor for other virtual machines.
    pub steal_nanoseconds: Option<u64>,
}

impl CpuTimes {
    /// Raises times that are lower than in an earlier reading.
    ///
    /// Idle and iowait fall when the kernel moves time from one to the other
    /// (`kernel/time/tick-sched.c`, `get_cpu_iowait_time_us`).
    pub fn never_below(&mut self, earlier: &Self) {
        let earlier = *earlier;
        for (now, earlier) in self.fields().into_iter().zip({ earlier }.fields()) {
            *now = now.map(|now| earlier.map_or(now, |earlier| now.max(earlier)));
        }
    }

    /// The fields in the order of the `cpu` line.
    fn fields(&mut self) -> [&mut Option<u64>; 8] {
        [
            &mut self.user_nanoseconds,
            &mut self.nice_nanoseconds,
            &mut self.system_nanoseconds,
            &mut self.idle_nanoseconds,
            &mut self.iowait_nanoseconds,
            &mut self.irq_nanoseconds,
            &mut self.softirq_nanoseconds,
            &mut self.steal_nanoseconds,
        ]
    }
}

/// Parses `/proc/stat` (`fs/proc/stat.c`, `show_stat`). `clock_ticks` is `sysconf(_SC_CLK_TCK)`,
/// the unit of its CPU times.
pub fn parse_stat(text: &[u8], clock_ticks: u64) -> ProcStat {
    let mut stat = ProcStat::default();
    let mut cpus = 0;
    let mut lines = lines(text);
    // The lines of the CPUs come first.
    for line in lines.by_ref() {
        let Some(line) = line.strip_prefix(b"cpu") else { break };
        if line.first().is_some_and(u8::is_ascii_digit) {
            cpus += 1;
            continue;
        }
        let time = |ticks| ticks_to_nanoseconds(ticks, clock_ticks);
        let (all, busy) = sums_of_ticks(line).unzip();
        (stat.system_nanoseconds, stat.busy_nanoseconds) = (all.map(time), busy.map(time));
        for (field, word) in stat.cpu.fields().into_iter().zip(words(line)) {
            *field = number(word).map(time);
        }
    }
    stat.online_cpus = Some(cpus).filter(|cpus| *cpus > 0);
    let boot = lines.find_map(|line| line.strip_prefix(b"btime "));
    stat.boot_time_seconds = boot.and_then(number);
    stat
}

/// The sum of user, nice, system, idle, iowait, irq and softirq, as Docker adds them up, and the
/// same without idle and iowait.
fn sums_of_ticks(fields: &[u8]) -> Option<(u64, u64)> {
    const IDLE: usize = 3;
    const IOWAIT: usize = 4;
    let mut fields = words(fields);
    (0..7).try_fold((0u64, 0u64), |(all, busy), field| {
        let ticks = number(fields.next()?)?;
        let worked = if matches!(field, IDLE | IOWAIT) { 0 } else { ticks };
        Some((all.checked_add(ticks)?, busy.checked_add(worked)?))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAT: &[u8] = b"cpu  16961 0 4816 137145 318 0 55 22 0 0\n\
        cpu0 8526 0 2316 68702 70 0 4 10 0 0\n\
        cpu1 8435 0 2499 68443 248 0 50 11 0 0\n\
        intr 213366 0 0\nctxt 363681\nbtime 1795251155\nprocesses 8098\n";

    #[test]
    fn system_time_is_the_first_seven_fields() {
        let stat = parse_stat(STAT, 100);
        let ticks = 16961 + 4816 + 137_145 + 318 + 55;
        assert_eq!(stat.system_nanoseconds, Some(ticks * 10_000_000));
        assert_eq!(stat.busy_nanoseconds, Some((16961 + 4816 + 55) * 10_000_000));
        assert_eq!(stat.online_cpus, Some(2));
        assert_eq!(stat.boot_time_seconds, Some(1_795_251_155));
        assert_eq!(stat.cpu.iowait_nanoseconds, Some(3_180_000_000));
        assert_eq!(stat.cpu.steal_nanoseconds, Some(220_000_000));
    }

    #[test]
    fn a_line_that_is_too_short_is_unknown() {
        let stat = parse_stat(b"cpu  1 2 3\nintr 1\ncpu0 1\n", 100);
        assert_eq!((stat.system_nanoseconds, stat.online_cpus), (None, None));
        assert_eq!(stat.cpu.system_nanoseconds, Some(30_000_000));
        assert_eq!((stat.cpu.idle_nanoseconds, stat.boot_time_seconds), (None, None));
    }

    #[test]
    fn times_never_fall() {
        let mut now = CpuTimes { idle_nanoseconds: Some(5), ..CpuTimes::default() };
        let earlier = CpuTimes {
            idle_nanoseconds: Some(7),
            user_nanoseconds: Some(1),
            ..CpuTimes::default()
        };
        now.never_below(&earlier);
        assert_eq!((now.idle_nanoseconds, now.user_nanoseconds), (Some(7), None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted(text: Vec<u8>, ticks: u64) {
            parse_stat(&text, ticks);
            parse_stat(format!("cpu  {ticks} {ticks} 1 1 1 1 1\n").as_bytes(), 1);
        }
    }
}
