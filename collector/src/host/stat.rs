//! CPU time of the host.

use tare_parsers::{
    cpu::ticks_to_nanoseconds,
    text::{lines, number, words},
};

use crate::host::HostUsage;

/// CPU time of all CPUs since boot by what it was spent on; `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Taken by the hypervisor for others.
    pub steal_nanoseconds: Option<u64>,
}

impl CpuTimes {
    /// Raises what fell below an earlier reading, as idle and iowait do when the kernel corrects
    /// its guess of who waited (`kernel/time/tick-sched.c`, `get_cpu_iowait_time_us`).
    pub fn never_below(&mut self, earlier: &Self) {
        let earlier = *earlier;
        for (now, earlier) in self.fields().into_iter().zip({ earlier }.fields()) {
            *now = now.map(|now| earlier.map_or(now, |earlier| now.max(earlier)));
        }
    }

    /// In the order of `/proc/stat`.
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

/// Reads CPU time, the number of CPUs and the time of boot from a `/proc/stat`
/// (`fs/proc/stat.c`, `show_stat`).
pub fn parse_stat(text: &[u8], clock_ticks: u64, usage: &mut HostUsage) {
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
        (usage.system_nanoseconds, usage.busy_nanoseconds) = (all.map(time), busy.map(time));
        for (field, word) in usage.cpu.fields().into_iter().zip(words(line)) {
            *field = number(word).map(time);
        }
    }
    usage.online_cpus = Some(cpus).filter(|cpus| *cpus > 0);
    let boot = lines.find_map(|line| line.strip_prefix(b"btime "));
    usage.boot_time_seconds = boot.and_then(number);
}

/// User, nice, system, idle, iowait, irq and softirq, as Docker adds them up; and the same without
/// idle and iowait.
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
        let mut usage = HostUsage::default();
        parse_stat(STAT, 100, &mut usage);
        let ticks = 16961 + 4816 + 137_145 + 318 + 55;
        assert_eq!(usage.system_nanoseconds, Some(ticks * 10_000_000));
        assert_eq!(usage.busy_nanoseconds, Some((16961 + 4816 + 55) * 10_000_000));
        assert_eq!(usage.online_cpus, Some(2));
        assert_eq!(usage.boot_time_seconds, Some(1_795_251_155));
        assert_eq!(usage.cpu.iowait_nanoseconds, Some(3_180_000_000));
        assert_eq!(usage.cpu.steal_nanoseconds, Some(220_000_000));
    }

    #[test]
    fn a_line_that_is_too_short_is_unknown() {
        let mut usage = HostUsage::default();
        parse_stat(b"cpu  1 2 3\nintr 1\ncpu0 1\n", 100, &mut usage);
        assert_eq!((usage.system_nanoseconds, usage.online_cpus), (None, None));
        assert_eq!(usage.cpu.system_nanoseconds, Some(30_000_000));
        assert_eq!((usage.cpu.idle_nanoseconds, usage.boot_time_seconds), (None, None));
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
        fn any_bytes_are_taken(text: Vec<u8>, ticks: u64) {
            let mut usage = HostUsage::default();
            parse_stat(&text, ticks, &mut usage);
            parse_stat(format!("cpu  {ticks} {ticks} 1 1 1 1 1\n").as_bytes(), 1, &mut usage);
        }
    }
}
