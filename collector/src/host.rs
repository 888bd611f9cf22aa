//! The host as a whole.

use std::fs;
use std::path::Path;

use crate::cgroup::cpu::{clock_ticks, ticks_to_nanoseconds};
use crate::cgroup::text::{lines, number, words};
use crate::cgroup::{KeptFile, ReadError};

/// What the host has and used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostUsage {
    /// CPU time of all CPUs since boot, idle included: Docker's `system_cpu_usage`, the first
    /// seven numbers of the `cpu` line in `/proc/stat`. Guest time is part of user time there.
    pub system_nanoseconds: Option<u64>,
    /// The part of it that was neither idle nor spent waiting for I/O.
    pub busy_nanoseconds: Option<u64>,
    /// CPUs that are online.
    pub online_cpus: Option<u32>,
    /// `MemTotal`: memory without what the kernel kept for itself at boot.
    pub memory_bytes: Option<u64>,
    /// `MemAvailable`: what programs could still get without swapping, as the kernel estimates.
    pub memory_available_bytes: Option<u64>,
    /// Hundredths of tasks that ran or waited uninterruptibly, over 1, 5 and 15 minutes.
    pub load_average_hundredths: Option<[u32; 3]>,
}

/// What does not change while Tare runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// `/proc/sys/kernel/hostname`: that of the reader's UTS namespace.
    pub hostname: Option<String>,
    /// `/proc/sys/kernel/osrelease`.
    pub kernel: Option<String>,
}

/// The open files that tell about the host.
#[derive(Debug)]
pub struct HostFiles {
    stat: Option<KeptFile>,
    meminfo: Option<KeptFile>,
    loadavg: Option<KeptFile>,
    clock_ticks: u64,
}

impl HostFiles {
    /// Opens `stat`, `meminfo` and `loadavg` of a `/proc`; what is not there is unknown.
    ///
    /// # Errors
    ///
    /// If a file is there but cannot be opened.
    pub fn open(proc_root: &Path) -> Result<Self, ReadError> {
        Ok(Self {
            stat: KeptFile::open(&proc_root.join("stat"))?,
            meminfo: KeptFile::open(&proc_root.join("meminfo"))?,
            loadavg: KeptFile::open(&proc_root.join("loadavg"))?,
            clock_ticks: clock_ticks(),
        })
    }

    /// Reads what the host has and used.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn read_host(&self, buffer: &mut Vec<u8>) -> Result<HostUsage, ReadError> {
        let mut usage = HostUsage::default();
        if let Some(file) = &self.stat {
            parse_stat(file.read(buffer)?, self.clock_ticks, &mut usage);
        }
        if let Some(file) = &self.meminfo {
            parse_meminfo(file.read(buffer)?, &mut usage);
        }
        if let Some(file) = &self.loadavg {
            usage.load_average_hundredths = parse_loadavg(file.read(buffer)?);
        }
        Ok(usage)
    }
}

impl HostFacts {
    /// Reads the facts from a `/proc`; what cannot be read is unknown.
    pub fn read(proc_root: &Path) -> Self {
        let read = |name| {
            let text = fs::read_to_string(proc_root.join("sys/kernel").join(name)).ok()?;
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        Self { hostname: read("hostname"), kernel: read("osrelease") }
    }
}

/// Reads CPU time and the number of CPUs from a `/proc/stat` (`fs/proc/stat.c`, `show_stat`).
pub fn parse_stat(text: &[u8], clock_ticks: u64, usage: &mut HostUsage) {
    let mut cpus = 0;
    // The lines of the CPUs come first.
    for line in lines(text) {
        let Some(line) = line.strip_prefix(b"cpu") else { break };
        if line.first().is_some_and(u8::is_ascii_digit) {
            cpus += 1;
        } else {
            let (all, busy) = sums_of_ticks(line).unzip();
            usage.system_nanoseconds = all.map(|ticks| ticks_to_nanoseconds(ticks, clock_ticks));
            usage.busy_nanoseconds = busy.map(|ticks| ticks_to_nanoseconds(ticks, clock_ticks));
        }
    }
    usage.online_cpus = Some(cpus).filter(|cpus| *cpus > 0);
}

/// Reads totals from a `/proc/meminfo` (`fs/proc/meminfo.c`), whose `kB` are KiB.
pub fn parse_meminfo(text: &[u8], usage: &mut HostUsage) {
    let value = |name: &[u8]| {
        let line = lines(text).find_map(|line| line.strip_prefix(name))?;
        number(words(line).next()?)?.checked_mul(1024)
    };
    usage.memory_bytes = value(b"MemTotal:");
    usage.memory_available_bytes = value(b"MemAvailable:");
}

/// Reads the three averages of a `/proc/loadavg`, which have two decimals (`fs/proc/loadavg.c`).
pub fn parse_loadavg(text: &[u8]) -> Option<[u32; 3]> {
    let mut averages = words(text).map(|word| {
        let (whole, [point, tenths, hundredths]) = word.split_last_chunk()?;
        let decimals = number(&[*tenths, *hundredths]).filter(|_| *point == b'.')?;
        u32::try_from(number(whole)?.checked_mul(100)?.checked_add(decimals)?).ok()
    });
    let mut next = || averages.next().flatten();
    Some([next()?, next()?, next()?])
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
    }

    #[test]
    fn a_line_that_is_too_short_is_unknown() {
        let mut usage = HostUsage::default();
        parse_stat(b"cpu  1 2 3 4 5 6\nintr 1\ncpu0 1\n", 100, &mut usage);
        assert_eq!(usage, HostUsage::default());
    }

    #[test]
    fn memory_is_in_kibibytes() {
        let mut usage = HostUsage::default();
        let text = b"MemTotal:       24684084 kB\nMemFree: 1 kB\nMemAvailable:   23597184 kB\n";
        parse_meminfo(text, &mut usage);
        assert_eq!(usage.memory_bytes, Some(24_684_084 << 10));
        assert_eq!(usage.memory_available_bytes, Some(23_597_184 << 10));
        parse_meminfo(b"MemFree: 1 kB\n", &mut usage);
        assert_eq!((usage.memory_bytes, usage.memory_available_bytes), (None, None));
    }

    #[test]
    fn load_averages_are_hundredths() {
        assert_eq!(parse_loadavg(b"0.15 12.64 100.91 1/234 5678\n"), Some([15, 1_264, 10_091]));
        for text in ["", "0.15 0.64", "0.15 x.64 0.91", "0,15 0.64 0.91", "15 64 91"] {
            assert_eq!(parse_loadavg(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn this_host_is_read() {
        let files = HostFiles::open(Path::new("/proc")).unwrap();
        let usage = files.read_host(&mut Vec::new()).unwrap();
        assert!(usage.system_nanoseconds > Some(0));
        assert!(usage.online_cpus > Some(0));
        assert!(usage.memory_bytes > Some(1 << 20));
        assert!(usage.busy_nanoseconds > Some(0) && usage.memory_available_bytes > Some(0));
        assert!(usage.load_average_hundredths.is_some());
        let facts = HostFacts::read(Path::new("/proc"));
        assert!(facts.kernel.is_some_and(|kernel| !kernel.contains('\n')));
        assert_eq!(HostFacts::read(Path::new("/nonexistent")), HostFacts::default());
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(text: Vec<u8>, ticks: u64) {
            let mut usage = HostUsage::default();
            parse_stat(&text, ticks, &mut usage);
            parse_stat(format!("cpu  {ticks} {ticks} 1 1 1 1 1\n").as_bytes(), 1, &mut usage);
            parse_meminfo(&text, &mut usage);
            parse_meminfo(format!("MemTotal: {ticks} kB").as_bytes(), &mut usage);
            parse_loadavg(&text);
            parse_loadavg(format!("{ticks}.00 1.00 1.00").as_bytes());
        }
    }
}
