//! CPU time of a cgroup.

use nix::unistd::{SysconfVar, sysconf};

use crate::cgroup::error::ReadError;
use crate::cgroup::file::KeptFile;
use crate::cgroup::mounts::{Hierarchies, Version};
use crate::cgroup::text::named_numbers;
use crate::cgroup::walk::below;

/// `USER_HZ`, if the system does not tell: the same on every architecture with containers.
const DEFAULT_CLOCK_TICKS: u64 = 100;

/// CPU time of a cgroup with all its descendants since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Periods in which it used more than its quota, out of what it had saved up. Since Linux 5.16.
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

/// The open files of one cgroup that tell its CPU time.
#[derive(Debug)]
pub struct CpuFiles {
    /// v1 only.
    usage: Option<KeptFile>,
    /// v1 only.
    times: Option<KeptFile>,
    /// v2: everything. v1: throttling.
    stat: Option<KeptFile>,
    clock_ticks: u64,
    latest: CpuUsage,
}

impl CpuFiles {
    /// Opens the files of the cgroup at a path such as `/docker/abc`; `None` if there are none.
    ///
    /// v2: `cpu.stat`, in every cgroup since Linux 4.15, its times also without the `cpu`
    /// controller. v1: `cpuacct.usage` and `cpuacct.stat` of the `cpuacct` controller, and
    /// `cpu.stat` of the `cpu` controller, which may be mounted elsewhere.
    ///
    /// # Errors
    ///
    /// If a file is there but cannot be opened.
    pub fn open(hierarchies: &Hierarchies, path: &str) -> Result<Option<Self>, ReadError> {
        let legacy = hierarchies.controller("cpuacct").filter(|c| c.version == Version::V1);
        let directory = legacy.map(|controller| below(controller.root, path));
        let (usage, times) = match &directory {
            Some(directory) => (
                KeptFile::open_steady(&directory.join("cpuacct.usage"))?,
                KeptFile::open(&directory.join("cpuacct.stat"))?,
            ),
            None => (None, None),
        };
        let stat = match hierarchies.controller("cpu") {
            Some(c) if c.version == Version::V2 => {
                KeptFile::open_steady(&below(c.root, path).join("cpu.stat"))?
            }
            Some(c) => KeptFile::open(&below(c.root, path).join("cpu.stat"))?,
            None => None,
        };
        let files =
            Self { usage, times, stat, clock_ticks: clock_ticks(), latest: CpuUsage::default() };
        let any = files.usage.is_some() || files.times.is_some() || files.stat.is_some();
        Ok(any.then_some(files))
    }

    /// Reads the CPU time. On v2 this makes the kernel add up the whole subtree first
    /// (`kernel/cgroup/rstat.c`, `cgroup_base_stat_cputime_show`).
    ///
    /// `trusting` takes a CPU time that is the same as before for a sign that the rest is as well,
    /// where that is in other files.
    ///
    /// # Errors
    ///
    /// [`ReadError::Vanished`] when the cgroup was removed.
    pub fn read_cpu(
        &mut self,
        trusting: bool,
        buffer: &mut Vec<u8>,
    ) -> Result<CpuUsage, ReadError> {
        let mut usage = CpuUsage::default();
        // First, so that the others are no older.
        if let Some(file) = &self.usage {
            usage.usage_nanoseconds = Some(file.read_number(buffer)?);
            if trusting && usage.usage_nanoseconds == self.latest.usage_nanoseconds {
                return Ok(self.latest);
            }
        }
        if let Some(file) = &self.stat {
            parse_cpu_stat(file.read(buffer)?, &mut usage);
        }
        if let Some(file) = &self.times {
            parse_cpuacct_stat(file.read(buffer)?, self.clock_ticks, &mut usage);
        }
        self.latest = usage;
        Ok(usage)
    }

    /// The files.
    pub fn files(&self) -> impl Iterator<Item = &KeptFile> {
        [&self.usage, &self.times, &self.stat].into_iter().flatten()
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

/// Clock ticks a second (`USER_HZ`) in what the kernel tells user space.
pub(crate) fn clock_ticks() -> u64 {
    let told = sysconf(SysconfVar::CLK_TCK).ok().flatten();
    told.and_then(|ticks| u64::try_from(ticks).ok())
        .filter(|ticks| *ticks > 0)
        .unwrap_or(DEFAULT_CLOCK_TICKS)
}

/// Clock ticks as time.
pub(crate) fn ticks_to_nanoseconds(ticks: u64, ticks_per_second: u64) -> u64 {
    let nanoseconds = u128::from(ticks) * 1_000_000_000 / u128::from(ticks_per_second.max(1));
    u64::try_from(nanoseconds).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::cgroup::find_hierarchies;

    const V2: &str = "usage_usec 8143296\nuser_usec 5093000\nsystem_usec 3050296\nnice_usec 0\n\
        core_sched.force_idle_usec 0\nnr_periods 12\nnr_throttled 3\nthrottled_usec 45000\n\
        nr_bursts 2\nburst_usec 8\n";
    const V1: &str =
        "nr_periods 40\nnr_throttled 9\nthrottled_time 123456789\nnr_bursts 4\nburst_time 5\n";

    #[test]
    fn v2_tells_everything_in_one_file() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("abc")).unwrap();
        fs::write(tree.path().join("cgroup.controllers"), "").unwrap();
        fs::write(tree.path().join("abc/cpu.stat"), V2).unwrap();
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        let mut files = CpuFiles::open(&hierarchies, "/abc").unwrap().unwrap();
        let expected = CpuUsage {
            usage_nanoseconds: Some(8_143_296_000),
            user_nanoseconds: Some(5_093_000_000),
            system_nanoseconds: Some(3_050_296_000),
            periods: Some(12),
            throttled_periods: Some(3),
            throttled_nanoseconds: Some(45_000_000),
            bursts: Some(2),
            burst_nanoseconds: Some(8000),
        };
        assert_eq!(files.read_cpu(true, &mut Vec::new()).unwrap(), expected);
        assert!(CpuFiles::open(&hierarchies, "/gone").unwrap().is_none());
    }

    #[test]
    fn v1_tells_it_in_three_files_of_two_mounts() {
        let tree = tempfile::tempdir().unwrap();
        for directory in ["cpu/abc", "cpuacct/abc"] {
            fs::create_dir_all(tree.path().join(directory)).unwrap();
        }
        fs::write(tree.path().join("cpu/abc/cpu.stat"), V1).unwrap();
        fs::write(tree.path().join("cpuacct/abc/cpuacct.usage"), "221455836093\n").unwrap();
        fs::write(tree.path().join("cpuacct/abc/cpuacct.stat"), "user 17205\nsystem 4940\n")
            .unwrap();
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        let mut files = CpuFiles::open(&hierarchies, "/abc").unwrap().unwrap();
        files.clock_ticks = 100;
        let expected = CpuUsage {
            usage_nanoseconds: Some(221_455_836_093),
            user_nanoseconds: Some(172_050_000_000),
            system_nanoseconds: Some(49_400_000_000),
            periods: Some(40),
            throttled_periods: Some(9),
            throttled_nanoseconds: Some(123_456_789),
            bursts: Some(4),
            burst_nanoseconds: Some(5),
        };
        assert_eq!(files.read_cpu(false, &mut Vec::new()).unwrap(), expected);

        fs::write(tree.path().join("cpu/abc/cpu.stat"), "nr_periods 41\n").unwrap();
        assert_eq!(files.read_cpu(true, &mut Vec::new()).unwrap(), expected);
        let periods = |usage: CpuUsage| usage.periods;
        assert_eq!(files.read_cpu(false, &mut Vec::new()).map(periods).unwrap(), Some(41));
        fs::write(tree.path().join("cpu/abc/cpu.stat"), "nr_periods 42\n").unwrap();
        fs::write(tree.path().join("cpuacct/abc/cpuacct.usage"), "221455836094\n").unwrap();
        assert_eq!(files.read_cpu(true, &mut Vec::new()).map(periods).unwrap(), Some(42));
    }

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
        }
    }
}
