//! Everything that is read of one cgroup.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cgroup::cpu::{CpuFiles, CpuUsage};
use crate::cgroup::error::ReadError;
use crate::cgroup::file::KeptFile;
use crate::cgroup::io::{IoFiles, IoUsage, charged_to};
use crate::cgroup::memory::{MemoryFiles, MemoryUsage};
use crate::cgroup::mounts::Hierarchies;
use crate::cgroup::pids::PidsFiles;
use crate::cgroup::pressure::{PressureFiles, Pressures};
use crate::cgroup::settings::{Settings, SettingsFiles};
use crate::cgroup::state::{CgroupState, StateFiles};

/// How soon a cgroup that does not run is read whole. In between only its CPU time, which shows
/// that it ran again, and its memory's size are read: what else it has changes when its tasks run,
/// but for what others do to it (tasks moved, frozen, unfrozen) and for tasks that wait for I/O.
/// Tasks, state and pressure, which tell of these, keep this pace for as long as it does not run.
pub const IDLE_INTERVAL: Duration = Duration::from_secs(10);

/// How often the rest is read once nothing had run for [`IDLE_INTERVAL`].
pub const REST_INTERVAL: Duration = Duration::from_secs(60);

/// The open files of one cgroup.
///
/// They are read family by family, not cgroup by cgroup: the kernel adds up its per-CPU counts at
/// the first read of a family, and later reads of the same family then find little left to do.
///
/// About a dozen descriptors; drop it when the cgroup ended.
#[derive(Debug)]
pub struct CgroupFiles {
    cpu: Option<CpuFiles>,
    pressure: Option<PressureFiles>,
    memory: Option<MemoryFiles>,
    pids: Option<PidsFiles>,
    state: Option<StateFiles>,
    io: Option<IoFiles>,
    settings: SettingsFiles,
    io_charged_to: Option<String>,
    tasks: Option<u64>,
    last_state: CgroupState,
    last_pressures: Pressures,
    /// The CPU time as it was told last, below which it never falls.
    told: CpuUsage,
    /// Whether what is read now is read whole, and when it will be although it is idle.
    whole: bool,
    whole_due: Option<Instant>,
    /// The same of tasks, state and pressure, which are not put off further.
    attended: bool,
    attend_due: Option<Instant>,
    ran_since_settings: bool,
    turn: Duration,
    attend_turn: Duration,
}

impl CgroupFiles {
    /// Opens the files of the cgroup at a path such as `/docker/abc`, the same below each root.
    ///
    /// A controller that is not mounted, or does not have the cgroup, has no files: its numbers
    /// are unknown.
    ///
    /// # Errors
    ///
    /// If a file is there but cannot be opened.
    pub fn open(hierarchies: &Hierarchies, path: &str) -> Result<Self, ReadError> {
        // What a receipt cannot do without comes first: the cgroup may be gone at any moment.
        let files = Self::open_cpu_and_memory(hierarchies, path)?;
        Ok(Self {
            pids: PidsFiles::open(hierarchies, path)?,
            io: IoFiles::open(hierarchies, path)?,
            pressure: PressureFiles::open(hierarchies, path)?,
            state: StateFiles::open(hierarchies, path)?,
            io_charged_to: charged_to(hierarchies, path),
            ..files
        })
    }

    /// Opens the files that tell CPU time and memory, and no others; the rest is unknown.
    ///
    /// # Errors
    ///
    /// As [`CgroupFiles::open`].
    pub fn open_cpu_and_memory(hierarchies: &Hierarchies, path: &str) -> Result<Self, ReadError> {
        Ok(Self {
            cpu: CpuFiles::open(hierarchies, path)?,
            memory: MemoryFiles::open(hierarchies, path)?,
            pids: None,
            io: None,
            pressure: None,
            state: None,
            settings: SettingsFiles::find(hierarchies, path),
            io_charged_to: None,
            tasks: None,
            last_state: CgroupState::default(),
            last_pressures: Pressures::default(),
            told: CpuUsage::default(),
            whole: true,
            whole_due: None,
            attended: true,
            attend_due: None,
            ran_since_settings: false,
            turn: turn(REST_INTERVAL, path),
            attend_turn: turn(IDLE_INTERVAL, path),
        })
    }

    /// Takes the place of files of the same cgroup that were opened before: what they told does
    /// not fall.
    pub fn succeed(&mut self, former: &Self) {
        self.told = former.told;
    }

    /// The cgroup above that is charged with this one's block I/O, if it is not charged itself.
    pub fn io_charged_to(&self) -> Option<&str> {
        self.io_charged_to.as_deref()
    }

    /// Looks again whether the cgroup has its own block I/O, which may be enabled at any time.
    ///
    /// # Errors
    ///
    /// As [`CgroupFiles::open`].
    pub fn reopen_io(&mut self, hierarchies: &Hierarchies, path: &str) -> Result<(), ReadError> {
        self.io_charged_to = charged_to(hierarchies, path);
        if self.io.is_none() {
            self.io = IoFiles::open(hierarchies, path)?;
        }
        Ok(())
    }

    /// Whether no controller has the cgroup: it ended, or never was there.
    pub fn is_empty(&self) -> bool {
        self.cpu.is_none() && self.memory.is_none() && self.pids.is_none() && self.io.is_none()
    }

    /// How many files are opened anew for each read, because descriptors are scarce.
    pub fn unheld(&self) -> usize {
        let cpu = self.cpu.iter().flat_map(CpuFiles::files);
        let pressure = self.pressure.iter().flat_map(PressureFiles::files);
        let memory = self.memory.iter().flat_map(MemoryFiles::files);
        let pids = self.pids.iter().flat_map(PidsFiles::files);
        let state = self.state.iter().flat_map(StateFiles::files);
        let io = self.io.iter().flat_map(IoFiles::files);
        let all = cpu.chain(pressure).chain(memory).chain(pids).chain(state).chain(io);
        all.filter(|file: &&KeptFile| !file.is_held()).count()
    }

    /// Has the next reads go to the files, whatever their pace.
    pub fn expire(&mut self) {
        self.whole_due = None;
        self.settings.expire();
        if let Some(files) = &mut self.pressure {
            files.expire();
        }
        if let Some(files) = &mut self.memory {
            files.expire();
        }
    }

    /// Reads the CPU time, which never falls; all unknown without a source. Read it first: it decides
    /// what else is read, see [`IDLE_INTERVAL`].
    ///
    /// # Errors
    ///
    /// As [`CpuFiles::read_cpu`].
    pub fn read_cpu(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Result<CpuUsage, ReadError> {
        let Some(files) = &mut self.cpu else { return Ok(CpuUsage::default()) };
        let trusting = self.whole_due.is_some_and(|due| now < due);
        let mut usage = files.read_cpu(trusting, buffer)?;
        usage.never_below(&self.told);
        let used = usage.usage_nanoseconds;
        let idle = used.is_some() && used == self.told.usage_nanoseconds;
        self.told = usage;
        self.ran_since_settings |= !idle;
        self.plan(now, idle, trusting);
        Ok(usage)
    }

    /// What is read besides the CPU time, and when it will be next although the cgroup is idle.
    fn plan(&mut self, now: Instant, idle: bool, trusting: bool) {
        // The first time is when all are new; from then on each has its own turn.
        let is_first = self.whole_due.is_none();
        self.whole = !idle || !trusting;
        if self.whole {
            let wait = if idle { REST_INTERVAL } else { IDLE_INTERVAL };
            self.whole_due = Some(now + if is_first { self.turn } else { wait });
        }
        self.attended = self.whole || self.attend_due.is_none_or(|due| now >= due);
        if self.attended {
            self.attend_due = Some(now + if is_first { self.attend_turn } else { IDLE_INTERVAL });
        }
    }

    /// Reads the pressures; all unknown without a source.
    ///
    /// # Errors
    ///
    /// As [`PressureFiles::read_pressures`].
    pub fn read_pressures(
        &mut self,
        now: Instant,
        buffer: &mut Vec<u8>,
    ) -> Result<Pressures, ReadError> {
        if let Some(files) = self.pressure.as_mut().filter(|_| self.attended) {
            self.last_pressures = files.read_pressures(now, buffer)?;
        }
        Ok(self.last_pressures)
    }

    /// Reads the memory into `out`; all unknown without a source. `memory.stat` is not read before
    /// `stat_interval` is over.
    ///
    /// # Errors
    ///
    /// As [`MemoryFiles::read_memory`].
    pub fn read_memory(
        &mut self,
        stat_interval: Duration,
        now: Instant,
        buffer: &mut Vec<u8>,
        out: &mut MemoryUsage,
    ) -> Result<(), ReadError> {
        if let Some(files) = &mut self.memory {
            return files.read_memory(self.whole, stat_interval, now, buffer, out);
        }
        *out = MemoryUsage::default();
        Ok(())
    }

    /// Reads the number of tasks; unknown without a source.
    ///
    /// # Errors
    ///
    /// As [`PidsFiles::read_pids`].
    pub fn read_pids(&mut self, buffer: &mut Vec<u8>) -> Result<Option<u64>, ReadError> {
        if let Some(files) = self.pids.as_ref().filter(|_| self.attended) {
            self.tasks = Some(files.read_pids(buffer)?);
        }
        Ok(self.tasks)
    }

    /// Reads the state; unknown without a source.
    ///
    /// # Errors
    ///
    /// As [`StateFiles::read_state`].
    pub fn read_state(&mut self, buffer: &mut Vec<u8>) -> Result<CgroupState, ReadError> {
        if let Some(files) = self.state.as_ref().filter(|_| self.attended) {
            self.last_state = files.read_state(buffer)?;
        }
        Ok(self.last_state)
    }

    /// Reads settings, limits and peaks, if that is due; [`CgroupFiles::settings`] has them.
    ///
    /// # Errors
    ///
    /// As [`SettingsFiles::read_settings`].
    pub fn read_settings(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Result<(), ReadError> {
        let is_read = self.settings.read_settings(self.ran_since_settings, now, buffer)?;
        self.ran_since_settings &= !is_read;
        Ok(())
    }

    /// Settings, limits and peaks as they were read last.
    pub fn settings(&self) -> &Arc<Settings> {
        self.settings.latest()
    }

    /// Reads the block I/O into `out`. `false`, and no devices, without a source: the I/O is
    /// unknown then, not none.
    ///
    /// # Errors
    ///
    /// As [`IoFiles::read_io`].
    pub fn read_io(&self, buffer: &mut Vec<u8>, out: &mut IoUsage) -> Result<bool, ReadError> {
        if let Some(files) = &self.io {
            return files.read_io(buffer, out).map(|()| true);
        }
        out.devices.clear();
        Ok(false)
    }
}

/// The part of an interval after which something of the cgroup at a path is read for the second
/// time: puts the reading of many cgroups on different samples.
pub(super) fn turn(interval: Duration, path: &str) -> Duration {
    let sixteenths = path.bytes().fold(0, |sum, byte| (sum + u32::from(byte)) % 16) + 1;
    interval * sixteenths / 16
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::cgroup::find_hierarchies;

    #[test]
    fn families_without_files_are_unknown_and_the_others_are_read() {
        let tree = tempfile::tempdir().unwrap();
        let directory = tree.path().join("docker/abc");
        fs::create_dir_all(&directory).unwrap();
        fs::write(tree.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
        fs::write(directory.join("cpu.stat"), "usage_usec 5\n").unwrap();
        fs::write(directory.join("memory.current"), "4096\n").unwrap();
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        let mut files = CgroupFiles::open(&hierarchies, "/docker/abc").unwrap();
        let now = Instant::now();
        let mut buffer = Vec::new();
        let mut memory = MemoryUsage::default();
        let mut io = IoUsage::default();
        assert_eq!(files.read_cpu(now, &mut buffer).unwrap().usage_nanoseconds, Some(5000));
        files.read_memory(Duration::ZERO, now, &mut buffer, &mut memory).unwrap();
        assert_eq!(memory.usage_bytes, Some(4096));
        assert_eq!(files.read_pids(&mut buffer).unwrap(), None);
        assert_eq!(files.read_state(&mut buffer).unwrap(), CgroupState::default());
        assert_eq!(files.read_pressures(now, &mut buffer).unwrap(), Pressures::default());
        assert!(!files.read_io(&mut buffer, &mut io).unwrap());
        assert!(!files.is_empty());

        let mut files = CgroupFiles::open(&hierarchies, "/docker/gone").unwrap();
        assert!(files.is_empty());
        files.read_memory(Duration::ZERO, now, &mut buffer, &mut memory).unwrap();
        assert_eq!(memory, MemoryUsage::default());
    }

    #[test]
    fn an_idle_cgroup_is_read_whole_when_it_runs_or_after_a_while() {
        let tree = tempfile::tempdir().unwrap();
        let directory = tree.path().join("docker/abc");
        fs::create_dir_all(&directory).unwrap();
        fs::write(tree.path().join("cgroup.controllers"), "cpu pids\n").unwrap();
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        let start = Instant::now();
        let tasks = |files: &mut CgroupFiles, seconds, used: u64, tasks: u64| {
            fs::write(directory.join("cpu.stat"), format!("usage_usec {used}\n")).unwrap();
            fs::write(directory.join("pids.current"), format!("{tasks}\n")).unwrap();
            files.read_cpu(start + Duration::from_secs(seconds), &mut Vec::new()).unwrap();
            files.read_pids(&mut Vec::new()).unwrap()
        };
        fs::write(directory.join("cpu.stat"), "").unwrap();
        fs::write(directory.join("pids.current"), "").unwrap();
        let mut files = CgroupFiles::open(&hierarchies, "/docker/abc").unwrap();
        assert_eq!(tasks(&mut files, 0, 7, 1), Some(1));
        assert_eq!(tasks(&mut files, 20, 8, 2), Some(2), "it ran");
        assert_eq!(tasks(&mut files, 21, 8, 3), Some(2), "it did not");
        assert_eq!(tasks(&mut files, 22, 9, 4), Some(4), "it ran again");
        assert_eq!(tasks(&mut files, 31, 9, 5), Some(4), "it is taken at its word");
        assert_eq!(tasks(&mut files, 32, 9, 6), Some(6), "for a while");
        files.expire();
        assert_eq!(tasks(&mut files, 33, 9, 7), Some(7), "nothing will be read later");
    }

    #[test]
    fn what_others_may_do_to_an_idle_cgroup_is_read_more_often_than_the_rest() {
        let tree = tempfile::tempdir().unwrap();
        let directory = tree.path().join("docker/abc");
        fs::create_dir_all(&directory).unwrap();
        fs::write(tree.path().join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        fs::write(directory.join("cpu.stat"), "usage_usec 7\n").unwrap();
        fs::write(directory.join("memory.current"), "4096\n").unwrap();
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        let start = Instant::now();
        let read = |files: &mut CgroupFiles, seconds: u64| {
            fs::write(directory.join("pids.current"), format!("{seconds}\n")).unwrap();
            fs::write(directory.join("memory.peak"), format!("{seconds}\n")).unwrap();
            let (now, mut buffer) = (start + Duration::from_secs(seconds), Vec::new());
            let mut memory = MemoryUsage::default();
            files.read_cpu(now, &mut buffer).unwrap();
            files.read_memory(Duration::ZERO, now, &mut buffer, &mut memory).unwrap();
            (files.read_pids(&mut buffer).unwrap(), memory.peak_bytes)
        };
        fs::write(directory.join("pids.current"), "").unwrap();
        fs::write(directory.join("memory.peak"), "").unwrap();
        let mut files = CgroupFiles::open(&hierarchies, "/docker/abc").unwrap();
        assert_eq!(read(&mut files, 1), (Some(1), Some(1)));
        assert_eq!(read(&mut files, 100), (Some(100), Some(100)), "its turn has come");
        assert_eq!(read(&mut files, 109), (Some(100), Some(100)));
        assert_eq!(read(&mut files, 110), (Some(110), Some(100)), "tasks may have been moved");
        assert_eq!(read(&mut files, 119), (Some(110), Some(100)));
        assert_eq!(read(&mut files, 121), (Some(121), Some(100)));
        assert_eq!(read(&mut files, 160), (Some(160), Some(160)), "all of it");
    }

    #[test]
    fn cpu_time_does_not_fall_even_if_the_files_are_opened_again() {
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join("cgroup.controllers"), "cpu\n").unwrap();
        let write = |user| {
            let text = format!("usage_usec 9\nuser_usec {user}\n");
            fs::write(tree.path().join("cpu.stat"), text).unwrap();
        };
        write(5);
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        let mut files = CgroupFiles::open(&hierarchies, "/").unwrap();
        let (now, mut buffer) = (Instant::now(), Vec::new());
        assert_eq!(files.read_cpu(now, &mut buffer).unwrap().user_nanoseconds, Some(5000));
        write(4);
        assert_eq!(files.read_cpu(now, &mut buffer).unwrap().user_nanoseconds, Some(5000));
        let mut anew = CgroupFiles::open(&hierarchies, "/").unwrap();
        anew.succeed(&files);
        assert_eq!(anew.read_cpu(now, &mut buffer).unwrap().user_nanoseconds, Some(5000));
    }
}
