//! The host as a whole.

mod cpus;
mod disks;
mod facts;
mod interfaces;
pub mod load;
pub mod memory;
mod root;
pub mod stat;

use std::path::Path;
use std::time::Instant;

use tare_parsers::pressure::Pressures;

use crate::{
    cgroup::{KeptFile, ReadError},
    clock::clock_ticks,
    families::{cadence::PRESSURE_INTERVAL, pressure::PressureFiles},
    host::{
        load::{parse_loadavg, parse_uptime},
        memory::parse_meminfo,
        stat::parse_stat,
    },
};

pub use self::{
    cpus::Processors,
    facts::{HostFacts, Identity},
    memory::HostMemory,
    root::HostRoot,
    stat::CpuTimes,
};

/// What the host has and used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostUsage {
    /// CPU time of all CPUs since boot, idle included: Docker's `system_cpu_usage`, the first
    /// seven numbers of the `cpu` line in `/proc/stat`. Guest time is part of user time there.
    pub system_nanoseconds: Option<u64>,
    /// The part of it that was neither idle nor spent waiting for I/O.
    pub busy_nanoseconds: Option<u64>,
    /// The same by mode.
    pub cpu: CpuTimes,
    /// CPUs that are online.
    pub online_cpus: Option<u32>,
    /// When the host booted, in seconds since 1970 by the clock of today.
    pub boot_time_seconds: Option<u64>,
    /// Hundredths of seconds since boot, sleep included.
    pub uptime_hundredths: Option<u64>,
    /// `MemTotal`: memory without what the kernel kept for itself at boot.
    pub memory_bytes: Option<u64>,
    /// `MemAvailable`: what programs could still get without swapping, as the kernel estimates.
    pub memory_available_bytes: Option<u64>,
    /// Where the rest is.
    pub memory: HostMemory,
    /// Hundredths of tasks that ran or waited uninterruptibly, over 1, 5 and 15 minutes.
    pub load_average_hundredths: Option<[u64; 3]>,
    /// What its tasks waited for.
    pub pressures: Pressures,
}

/// The open files that tell about the host.
#[derive(Debug)]
pub struct HostFiles {
    stat: Option<KeptFile>,
    meminfo: Option<KeptFile>,
    loadavg: Option<KeptFile>,
    uptime: Option<KeptFile>,
    pressure: Option<PressureFiles>,
    pressures: Pressures,
    pressures_read_at: Option<Instant>,
    clock_ticks: u64,
    /// CPU times as they were told last, below which they never fall.
    published: CpuTimes,
}

impl HostFiles {
    /// Opens what a `/proc` tells; what is not there is unknown.
    ///
    /// # Errors
    ///
    /// If a file is there but cannot be opened.
    pub fn open(proc_root: &Path) -> Result<Self, ReadError> {
        let open = |name| KeptFile::open(&proc_root.join(name));
        Ok(Self {
            stat: open("stat")?,
            meminfo: open("meminfo")?,
            loadavg: open("loadavg")?,
            uptime: open("uptime")?,
            pressure: PressureFiles::open_host(proc_root),
            pressures: Pressures::default(),
            pressures_read_at: None,
            clock_ticks: clock_ticks(),
            published: CpuTimes::default(),
        })
    }

    /// Reads what the host has and used: seven `pread`s, and nothing is allocated.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn read_host(&mut self, buffer: &mut Vec<u8>) -> Result<HostUsage, ReadError> {
        let mut usage = HostUsage::default();
        if let Some(file) = &self.stat {
            parse_stat(file.read(buffer)?, self.clock_ticks, &mut usage);
            usage.cpu.never_below(&self.published);
            self.published = usage.cpu;
        }
        if let Some(file) = &self.meminfo {
            parse_meminfo(file.read(buffer)?, &mut usage);
        }
        if let Some(file) = &self.loadavg {
            usage.load_average_hundredths = parse_loadavg(file.read(buffer)?);
        }
        if let Some(file) = &self.uptime {
            usage.uptime_hundredths = parse_uptime(file.read(buffer)?);
        }
        if let Some(files) = &self.pressure {
            if self.pressures_read_at.is_none_or(|at| at.elapsed() >= PRESSURE_INTERVAL) {
                self.pressures = files.read_all(buffer)?;
                self.pressures_read_at = Some(Instant::now());
            }
            usage.pressures = self.pressures;
        }
        Ok(usage)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn this_host_is_read() {
        let mut files = HostFiles::open(Path::new("/proc")).unwrap();
        let mut buffer = Vec::new();
        let usage = files.read_host(&mut buffer).unwrap();
        assert!(usage.system_nanoseconds > Some(0));
        assert!(
            usage.busy_nanoseconds > Some(0) && usage.busy_nanoseconds <= usage.system_nanoseconds
        );
        assert!(usage.online_cpus > Some(0));
        assert!(usage.memory_bytes > Some(1 << 20));
        assert!(usage.memory_available_bytes < usage.memory_bytes);
        assert!(usage.memory.free_bytes > Some(0));
        assert!(usage.load_average_hundredths.is_some());
        assert!(usage.uptime_hundredths > Some(0) && usage.boot_time_seconds > Some(0));
        let later = files.read_host(&mut buffer).unwrap();
        assert!(later.cpu.idle_nanoseconds >= usage.cpu.idle_nanoseconds);
    }

    #[test]
    fn what_a_proc_lacks_is_unknown() {
        let proc = tempfile::tempdir().unwrap();
        fs::write(proc.path().join("uptime"), "7.25 1.00\n").unwrap();
        let mut files = HostFiles::open(proc.path()).unwrap();
        let usage = files.read_host(&mut Vec::new()).unwrap();
        let expected = HostUsage { uptime_hundredths: Some(725), ..HostUsage::default() };
        assert_eq!(usage, expected);
    }
}
