//! The host as a whole: its usage in every sample, and facts that seldom change.

mod cpus;
mod disks;
mod facts;
mod memory_modules;
mod network_devices;
mod numa;
mod root;

use serde::{Deserialize, Serialize};
use std::{path::Path, time::Instant};

use tare_parsers::{
    loadavg::{parse_loadavg, parse_runnable_tasks, parse_uptime},
    meminfo::parse_meminfo,
    pressure::Pressures,
    proc_stat::parse_stat,
};
pub use tare_parsers::{meminfo::HostMemory, proc_stat::CpuTimes};

pub use self::{
    cpus::Processors,
    facts::{HostFacts, Identity},
    root::HostRoot,
};
use crate::{
    cgroup::{KeptFile, ReadError},
    clock::clock_ticks,
    families::{cadence::PRESSURE_INTERVAL, pressure::PressureFiles},
};

/// Usage of the host at one instant. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct HostUsage {
    /// CPU time of all CPUs since boot, idle included: the first seven numbers of the `cpu` line
    /// in `/proc/stat`. Guest time is part of user time there. It equals Docker's
    /// `system_cpu_usage`.
    pub system_nanoseconds: Option<u64>,
    /// The same without idle and iowait.
    pub busy_nanoseconds: Option<u64>,
    /// CPU time of all CPUs since boot by mode. The times never fall.
    pub cpu: CpuTimes,
    /// CPUs that are online.
    pub online_cpus: Option<u32>,
    /// Boot time in seconds since 1970, by the wall clock at the time of the sample.
    pub boot_time_seconds: Option<u64>,
    /// Hundredths of seconds since boot, suspend included.
    pub uptime_hundredths: Option<u64>,
    /// Memory.
    pub memory: HostMemory,
    /// Load averages over 1, 5 and 15 minutes, in hundredths of tasks that run, wait to run or
    /// sleep uninterruptibly.
    pub load_average_hundredths: Option<[u64; 3]>,
    /// Tasks that run or wait for a CPU at this instant, the reading one included.
    pub runnable_tasks: Option<u64>,
    /// Pressure stall information of the host.
    pub pressures: Pressures,
}

/// The files of `/proc` that are read in every sample, kept open.
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
    /// The CPU times of the last reading.
    published: CpuTimes,
}

impl HostFiles {
    /// Opens the files of a `/proc`. The numbers of files that do not exist are unknown.
    ///
    /// # Errors
    ///
    /// If a file exists but cannot be opened.
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

    /// Reads the usage with at most seven `pread` calls. It allocates nothing.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn read_host(&mut self, buffer: &mut Vec<u8>) -> Result<HostUsage, ReadError> {
        let mut usage = HostUsage::default();
        if let Some(file) = &self.stat {
            let mut stat = parse_stat(file.read(buffer)?, self.clock_ticks);
            stat.cpu.never_below(&self.published);
            self.published = stat.cpu;
            usage.system_nanoseconds = stat.system_nanoseconds;
            usage.busy_nanoseconds = stat.busy_nanoseconds;
            usage.cpu = stat.cpu;
            usage.online_cpus = stat.online_cpus;
            usage.boot_time_seconds = stat.boot_time_seconds;
        }
        if let Some(file) = &self.meminfo {
            usage.memory = parse_meminfo(file.read(buffer)?);
        }
        if let Some(file) = &self.loadavg {
            let text = file.read(buffer)?;
            usage.load_average_hundredths = parse_loadavg(text);
            usage.runnable_tasks = parse_runnable_tasks(text);
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

    /// Writes files with these paths and texts below a directory.
    pub(super) fn write(root: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

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
        assert!(usage.memory.total_bytes > Some(1 << 20));
        assert!(usage.memory.available_bytes < usage.memory.total_bytes);
        assert!(usage.memory.free_bytes > Some(0));
        assert!(usage.load_average_hundredths.is_some());
        assert!(usage.uptime_hundredths > Some(0) && usage.boot_time_seconds > Some(0));
        let later = files.read_host(&mut buffer).unwrap();
        assert!(later.cpu.idle_nanoseconds >= usage.cpu.idle_nanoseconds);
    }

    #[test]
    fn a_file_that_does_not_exist_leaves_its_numbers_unknown() {
        let proc = tempfile::tempdir().unwrap();
        fs::write(proc.path().join("uptime"), "7.25 1.00\n").unwrap();
        let mut files = HostFiles::open(proc.path()).unwrap();
        let usage = files.read_host(&mut Vec::new()).unwrap();
        let expected = HostUsage { uptime_hundredths: Some(725), ..HostUsage::default() };
        assert_eq!(usage, expected);
    }
}
