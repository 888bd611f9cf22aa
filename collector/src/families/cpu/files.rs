//! CPU time from cgroup files.

use tare_model::Family;
use tare_parsers::cpu::{CpuUsage, parse_cpu_stat, parse_cpuacct_stat};

use crate::{
    cgroup::{Hierarchies, KeptFile, ReadError, Version, below},
    clock::clock_ticks,
    families::{
        readers::{CgroupReader, ReadContext},
        walked::{Found, WalkLayout},
    },
};

/// In nanoseconds: `cpu.stat` of v2 counts in this.
const MICROSECOND: u64 = 1000;
const SECOND: u64 = 1_000_000_000;

/// The open files of one cgroup with its CPU time.
#[derive(Debug)]
pub struct CpuFiles {
    /// v1 only.
    usage: Option<KeptFile>,
    /// v1 only.
    times: Option<KeptFile>,
    /// v2: everything. v1: throttling.
    stat: Option<KeptFile>,
    clock_ticks: u64,
}

impl CgroupReader for CpuFiles {
    type Reading = CpuUsage;

    const FAMILY: Option<Family> = Some(Family::Cpu);

    fn is_known(reading: &Self::Reading) -> bool {
        reading.usage_nanoseconds.is_some()
    }

    /// v2: `cpu.stat`, in every cgroup since Linux 4.15, its times also without the `cpu`
    /// controller. v1: `cpuacct.usage` and `cpuacct.stat` of the `cpuacct` controller, and
    /// `cpu.stat` of the `cpu` controller, which may be mounted elsewhere.
    fn open(hierarchies: &Hierarchies, path: &str) -> Result<Option<Self>, ReadError> {
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
        let files = Self { usage, times, stat, clock_ticks: clock_ticks() };
        let any = files.usage.is_some() || files.times.is_some() || files.stat.is_some();
        Ok(any.then_some(files))
    }

    fn is_due(_: &ReadContext<'_>) -> bool {
        true
    }

    /// On v2 this makes the kernel add up the whole subtree first (`kernel/cgroup/rstat.c`,
    /// `cgroup_base_stat_cputime_show`).
    fn read(
        &mut self,
        context: &mut ReadContext<'_>,
        latest: &mut CpuUsage,
    ) -> Result<(), ReadError> {
        let ReadContext { trusts_cpu_time, buffer, .. } = context;
        let mut usage = CpuUsage::default();
        // First, so that the others are no older.
        if let Some(file) = &self.usage {
            usage.usage_nanoseconds = Some(file.read_number(buffer)?);
            if *trusts_cpu_time && usage.usage_nanoseconds == latest.usage_nanoseconds {
                return Ok(());
            }
        }
        if let Some(file) = &self.stat {
            parse_cpu_stat(file.read(buffer)?, &mut usage);
        }
        if let Some(file) = &self.times {
            parse_cpuacct_stat(file.read(buffer)?, self.clock_ticks, &mut usage);
        }
        *latest = usage;
        Ok(())
    }

    fn files(&self) -> impl Iterator<Item = &KeptFile> {
        [&self.usage, &self.times, &self.stat].into_iter().flatten()
    }

    fn opens_on_demand(layout: &WalkLayout) -> bool {
        layout.throttling.is_walked()
    }

    /// CPU time of v1, which is counted where programs do not get.
    fn open_beside_walk(
        hierarchies: &Hierarchies,
        path: &str,
        layout: &WalkLayout,
    ) -> Result<Option<Self>, ReadError> {
        if layout.cpu.is_walked() {
            return Ok(None);
        }
        let files = Self::open(hierarchies, path)?;
        let is_v1 = hierarchies.controller("cpu").is_some_and(|c| c.version == Version::V1);
        Ok(files.map(|files| if is_v1 { Self { stat: None, ..files } } else { files }))
    }

    fn from_record(
        beside: Option<&mut Self>,
        context: &mut ReadContext<'_>,
        latest: &mut CpuUsage,
    ) -> Result<bool, ReadError> {
        let Some(records) = context.walked.as_ref().map(|walked| walked.records) else {
            return Ok(false);
        };
        if !records.layout().throttling.is_walked() {
            return Ok(false);
        }
        let mut usage = CpuUsage::default();
        if records.layout().cpu.is_walked() {
            match records.cpu_time() {
                Found::NotWalked => return Ok(false),
                Found::Absent => {}
                Found::Record(record) => {
                    let Some(time) = record.cpu() else { return Ok(false) };
                    let before = (latest.user_nanoseconds, latest.system_nanoseconds);
                    let before = (before.0.unwrap_or(0), before.1.unwrap_or(0));
                    let (user, system) = time.split_after(before);
                    let (whole, parts) = match record.is_unified() {
                        true => (MICROSECOND, MICROSECOND),
                        false => (1, SECOND / clock_ticks()),
                    };
                    usage.usage_nanoseconds = Some(cut(time.usage_nanoseconds, whole));
                    usage.user_nanoseconds = Some(cut(user, parts));
                    usage.system_nanoseconds = Some(cut(system, parts));
                }
            }
        } else if let Some(files) = beside {
            context.is_partial = true;
            files.read_times(context, latest, &mut usage)?;
        }
        match records.cpu() {
            Found::NotWalked => return Ok(false),
            Found::Absent => {}
            Found::Record(record) => {
                if let Some(found) = record.throttling() {
                    let unit = if record.is_unified() { MICROSECOND } else { 1 };
                    let shown = |time| cut(time, unit);
                    usage.periods = Some(found.periods);
                    usage.throttled_periods = Some(found.throttled_periods);
                    usage.throttled_nanoseconds = Some(shown(found.throttled_nanoseconds));
                    usage.bursts = found.bursts;
                    usage.burst_nanoseconds = found.burst_nanoseconds.map(shown);
                }
            }
        }
        *latest = usage;
        Ok(true)
    }
}

impl CpuFiles {
    /// v1: CPU time without throttling.
    fn read_times(
        &self,
        context: &mut ReadContext<'_>,
        latest: &CpuUsage,
        usage: &mut CpuUsage,
    ) -> Result<(), ReadError> {
        let ReadContext { trusts_cpu_time, buffer, .. } = context;
        if let Some(file) = &self.usage {
            usage.usage_nanoseconds = Some(file.read_number(buffer)?);
            if *trusts_cpu_time && usage.usage_nanoseconds == latest.usage_nanoseconds {
                usage.user_nanoseconds = latest.user_nanoseconds;
                usage.system_nanoseconds = latest.system_nanoseconds;
                return Ok(());
            }
        }
        if let Some(file) = &self.times {
            parse_cpuacct_stat(file.read(buffer)?, self.clock_ticks, usage);
        }
        Ok(())
    }
}

/// Nanoseconds as a file shows them that counts in a longer unit.
fn cut(nanoseconds: u64, unit: u64) -> u64 {
    nanoseconds - nanoseconds % unit.max(1)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::cgroup::find_hierarchies;

    fn read(files: &mut CpuFiles, trusts_cpu_time: bool, latest: CpuUsage) -> CpuUsage {
        let (mut buffer, mut usage) = (Vec::new(), latest);
        let mut context = ReadContext::new(std::time::Instant::now(), &mut buffer);
        context.trusts_cpu_time = trusts_cpu_time;
        files.read(&mut context, &mut usage).unwrap();
        usage
    }

    const V2: &str = "usage_usec 8143296\nuser_usec 5093000\nsystem_usec 3050296\nnice_usec 0\n\
        core_sched.force_idle_usec 0\nnr_periods 12\nnr_throttled 3\nthrottled_usec 45000\n\
        nr_bursts 2\nburst_usec 8\n";
    const V1: &str =
        "nr_periods 40\nnr_throttled 9\nthrottled_time 123456789\nnr_bursts 4\nburst_time 5\n";

    #[test]
    fn v2_has_everything_in_one_file() {
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
        assert_eq!(read(&mut files, true, CpuUsage::default()), expected);
        assert!(CpuFiles::open(&hierarchies, "/gone").unwrap().is_none());
    }

    #[test]
    fn v1_has_it_in_three_files_of_two_mounts() {
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
        assert_eq!(read(&mut files, false, CpuUsage::default()), expected);

        fs::write(tree.path().join("cpu/abc/cpu.stat"), "nr_periods 41\n").unwrap();
        assert_eq!(read(&mut files, true, expected), expected);
        let now = read(&mut files, false, expected);
        assert_eq!(now.periods, Some(41));
        fs::write(tree.path().join("cpu/abc/cpu.stat"), "nr_periods 42\n").unwrap();
        fs::write(tree.path().join("cpuacct/abc/cpuacct.usage"), "221455836094\n").unwrap();
        assert_eq!(read(&mut files, true, now).periods, Some(42));
    }
}
