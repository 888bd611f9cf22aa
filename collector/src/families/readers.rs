//! The open files of one cgroup, read family by family.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tare_parsers::cpu::CpuUsage;

use crate::{
    cgroup::{Hierarchies, KeptFile, ReadError},
    families::{
        Readers, Readings, block,
        cadence::{Cadence, Due},
        cpu::CpuFiles,
        settings::Settings,
    },
    model::Family,
};

/// How one family is read from the files of a cgroup.
pub trait CgroupReader: Sized {
    /// The numbers as they were read: cumulative, `None` is unknown.
    type Reading: Clone + Default;

    /// Opens the files of the cgroup at a path such as `/docker/abc`, the same below each root;
    /// `None` if there are none: the family is unknown then.
    ///
    /// # Errors
    ///
    /// If a file is there but cannot be opened.
    fn open(hierarchies: &Hierarchies, path: &str) -> Result<Option<Self>, ReadError>;

    /// The name under which sources and receipts list the family, if they do.
    const FAMILY: Option<Family> = None;

    /// Whether a reading holds anything.
    fn is_known(reading: &Self::Reading) -> bool;

    /// Whether the family is to be read now; if not, its last reading holds.
    fn is_due(context: &ReadContext<'_>) -> bool;

    /// Reads the files over the last reading, which keeps its memory.
    ///
    /// # Errors
    ///
    /// [`ReadError::Vanished`] when the cgroup was removed. What could not be read is unknown.
    fn read(
        &mut self,
        context: &mut ReadContext<'_>,
        latest: &mut Self::Reading,
    ) -> Result<(), ReadError>;

    /// The files that stay open.
    fn files(&self) -> impl Iterator<Item = &KeptFile>;
}

/// What a read needs to know besides the files.
#[derive(Debug)]
pub struct ReadContext<'a> {
    /// The time of the sample.
    pub now: Instant,
    /// The least time between two readings of `memory.stat`.
    pub memory_stat_interval: Duration,
    /// Whether block I/O is read from files, because no program counts it.
    pub reads_block: bool,
    /// Whether CPU time is read by CPU.
    pub reads_per_cpu: bool,
    /// Memory for the text of a file.
    pub buffer: &'a mut Vec<u8>,
    /// What is due of this cgroup.
    pub due: Due,
    /// Whether an unchanged CPU time proves that the other CPU files are unchanged.
    pub trusts_cpu_time: bool,
}

/// The reader of one family, where the cgroup has files for it, and what it read last.
#[derive(Debug)]
pub(super) struct Slot<R: CgroupReader> {
    pub(super) reader: Option<R>,
    pub(super) latest: R::Reading,
}

/// Reads one family, if it is due, and copies its last reading.
pub type ReadStep = fn(&mut Readers, &mut ReadContext<'_>, &mut Readings) -> Result<(), ReadError>;

/// Reads one family a last time, when the cgroup has no process left, and copies what is known;
/// whether anything is.
pub type FinalStep =
    fn(&mut Readers, &mut ReadContext<'_>, &mut Readings) -> Result<bool, ReadError>;

impl Readers {
    /// How many of the final steps cannot wait when a cgroup ends: CPU time, memory, tasks,
    /// block I/O. The others take ten times as long.
    pub const URGENT_STEPS: usize = 4;

    /// Keeps what former readers of the same cgroup read, so that CPU time does not fall.
    pub fn succeed(&mut self, former: &Self) {
        self.cpu.latest = former.cpu.latest;
    }

    /// The cgroup above that is charged with this one's block I/O, if it is not charged itself.
    pub fn block_charged_to(&self) -> Option<&str> {
        self.block_charged_to.as_deref()
    }

    /// Looks again whether the cgroup has its own block I/O, which may be enabled at any time.
    ///
    /// # Errors
    ///
    /// As [`Readers::open`].
    pub fn reopen_block(&mut self, hierarchies: &Hierarchies, path: &str) -> Result<(), ReadError> {
        self.block_charged_to = block::charged_to(hierarchies, path);
        if self.block.reader.is_none() {
            self.block = Slot::open(hierarchies, path)?;
        }
        Ok(())
    }

    /// Has the next reads go to all files.
    pub fn expire(&mut self) {
        self.cadence.expire();
        self.memory.latest.stat_read_at = None;
    }

    /// Settings, limits and peaks as they were read last.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings.latest
    }

    /// Reads settings for the first time, when the cgroup is found.
    ///
    /// # Errors
    ///
    /// As [`CgroupReader::read`].
    pub fn read_first_settings(&mut self, context: &mut ReadContext<'_>) -> Result<(), ReadError> {
        self.cadence.settings_read(context.now);
        match &mut self.settings.reader {
            Some(reader) => reader.read(context, &mut self.settings.latest),
            None => Ok(()),
        }
    }

    /// Reads block I/O, also where a program counts it; `None` without a source.
    ///
    /// # Errors
    ///
    /// As [`CgroupReader::read`].
    pub fn read_block(
        &mut self,
        context: &mut ReadContext<'_>,
    ) -> Result<Option<tare_parsers::io::IoUsage>, ReadError> {
        let Some(reader) = &mut self.block.reader else { return Ok(None) };
        let mut usage = None;
        reader.read(context, &mut usage)?;
        Ok(usage)
    }

    /// Reads CPU time and plans by it what else is read.
    pub(super) fn read_cpu(
        &mut self,
        context: &mut ReadContext<'_>,
        out: &mut Readings,
    ) -> Result<(), ReadError> {
        let before = self.cpu.latest;
        out.cpu = CpuUsage::default();
        if let Some(reader) = &mut self.cpu.reader {
            context.trusts_cpu_time = self.cadence.trusts_cpu_time(context.now);
            let mut usage = before;
            reader.read(context, &mut usage)?;
            usage.never_below(&before);
            self.cpu.latest = usage;
            out.cpu = usage;
        }
        let used = out.cpu.usage_nanoseconds;
        self.cadence.plan(context.now, used.is_none() || used != before.usage_nanoseconds);
        Ok(())
    }

    pub(super) fn read_final_cpu(
        &mut self,
        context: &mut ReadContext<'_>,
        out: &mut Readings,
    ) -> Result<bool, ReadError> {
        let before = out.cpu;
        let read = self.read_cpu(context, out);
        let is_known = read.is_ok() && CpuFiles::is_known(&out.cpu);
        if !is_known {
            out.cpu = before;
        }
        read.map(|()| is_known)
    }
}

impl<'a> ReadContext<'a> {
    /// For a sample taken now.
    pub fn new(now: Instant, buffer: &'a mut Vec<u8>) -> Self {
        let due = Cadence::new("").due();
        Self {
            now,
            memory_stat_interval: Duration::ZERO,
            reads_block: false,
            reads_per_cpu: false,
            buffer,
            due,
            trusts_cpu_time: false,
        }
    }
}

impl<R: CgroupReader> Slot<R> {
    pub(super) fn closed() -> Self {
        Self { reader: None, latest: R::Reading::default() }
    }

    pub(super) fn open(hierarchies: &Hierarchies, path: &str) -> Result<Self, ReadError> {
        Ok(Self { reader: R::open(hierarchies, path)?, latest: R::Reading::default() })
    }

    pub(super) fn read(
        &mut self,
        context: &mut ReadContext<'_>,
        out: &mut R::Reading,
    ) -> Result<(), ReadError> {
        let read = match self.reader.as_mut().filter(|_| R::is_due(context)) {
            Some(reader) => reader.read(context, &mut self.latest),
            None => Ok(()),
        };
        out.clone_from(&self.latest);
        read
    }

    pub(super) fn read_final(
        &mut self,
        context: &mut ReadContext<'_>,
        out: &mut R::Reading,
    ) -> Result<bool, ReadError> {
        let Some(reader) = self.reader.as_mut().filter(|_| R::is_due(context)) else {
            return Ok(false);
        };
        reader.read(context, &mut self.latest)?;
        let is_known = R::is_known(&self.latest);
        if is_known {
            out.clone_from(&self.latest);
        }
        Ok(is_known)
    }

    pub(super) fn reopened(&self) -> usize {
        let files = self.reader.iter().flat_map(R::files);
        files.filter(|file| !file.is_held()).count()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use tare_parsers::{pressure::Pressures, state::CgroupState};

    use super::*;
    use crate::{cgroup::find_hierarchies, families::memory::MemoryUsage};

    /// What all families read at a time, in a sample's order.
    fn read_at(readers: &mut Readers, now: Instant, reads_block: bool) -> Readings {
        let (mut buffer, mut readings) = (Vec::new(), Readings::default());
        let mut context = ReadContext { reads_block, ..ReadContext::new(now, &mut buffer) };
        for step in Readers::STEPS {
            step(readers, &mut context, &mut readings).unwrap();
        }
        readings
    }

    #[test]
    fn families_without_files_are_unknown_and_the_others_are_read() {
        let tree = tempfile::tempdir().unwrap();
        let directory = tree.path().join("docker/abc");
        fs::create_dir_all(&directory).unwrap();
        fs::write(tree.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
        fs::write(directory.join("cpu.stat"), "usage_usec 5\n").unwrap();
        fs::write(directory.join("memory.current"), "4096\n").unwrap();
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        let mut files = Readers::open(&hierarchies, "/docker/abc").unwrap();
        let readings = read_at(&mut files, Instant::now(), true);
        assert_eq!(readings.cpu.usage_nanoseconds, Some(5000));
        assert_eq!(readings.memory.usage_bytes, Some(4096));
        assert_eq!(readings.pids, None);
        assert_eq!(readings.state, CgroupState::default());
        assert_eq!(readings.pressure, Pressures::default());
        assert!(readings.block.is_none());

        let mut files = Readers::open(&hierarchies, "/docker/gone").unwrap();
        assert_eq!(read_at(&mut files, Instant::now(), false).memory, MemoryUsage::default());
    }

    #[test]
    fn an_idle_cgroup_is_read_whole_when_it_runs_or_after_a_while() {
        let tree = tempfile::tempdir().unwrap();
        let directory = tree.path().join("docker/abc");
        fs::create_dir_all(&directory).unwrap();
        fs::write(tree.path().join("cgroup.controllers"), "cpu pids\n").unwrap();
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        let start = Instant::now();
        let tasks = |files: &mut Readers, seconds, used: u64, tasks: u64| {
            fs::write(directory.join("cpu.stat"), format!("usage_usec {used}\n")).unwrap();
            fs::write(directory.join("pids.current"), format!("{tasks}\n")).unwrap();
            read_at(files, start + Duration::from_secs(seconds), false).pids
        };
        fs::write(directory.join("cpu.stat"), "").unwrap();
        fs::write(directory.join("pids.current"), "").unwrap();
        let mut files = Readers::open(&hierarchies, "/docker/abc").unwrap();
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
        let read = |files: &mut Readers, seconds: u64| {
            fs::write(directory.join("pids.current"), format!("{seconds}\n")).unwrap();
            fs::write(directory.join("memory.peak"), format!("{seconds}\n")).unwrap();
            let readings = read_at(files, start + Duration::from_secs(seconds), false);
            (readings.pids, readings.memory.peak_bytes)
        };
        fs::write(directory.join("pids.current"), "").unwrap();
        fs::write(directory.join("memory.peak"), "").unwrap();
        let mut files = Readers::open(&hierarchies, "/docker/abc").unwrap();
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
        let mut files = Readers::open(&hierarchies, "/").unwrap();
        let user = |files: &mut Readers| read_at(files, Instant::now(), false).cpu.user_nanoseconds;
        assert_eq!(user(&mut files), Some(5000));
        write(4);
        assert_eq!(user(&mut files), Some(5000));
        let mut anew = Readers::open(&hierarchies, "/").unwrap();
        anew.succeed(&files);
        assert_eq!(user(&mut anew), Some(5000));
    }
}
