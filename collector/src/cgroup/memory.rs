//! Memory and swap of a cgroup.

use std::mem;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::cgroup::error::ReadError;
use crate::cgroup::file::{KeptFile, read_once};
use crate::cgroup::mounts::{Hierarchies, Version};
use crate::cgroup::seldom::V1_UNLIMITED;
use crate::cgroup::stat_table::StatTable;
use crate::cgroup::text::named_numbers;
use crate::cgroup::walk::below;

/// A longer `memory.stat` is none: the kernel's has 4 KiB at most.
const MAX_STAT_BYTES: usize = 64 << 10;

/// Memory of a cgroup with all its descendants.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    /// Everything charged to the cgroup now, page cache and kernel memory included.
    pub usage_bytes: Option<u64>,
    /// Swap in use; `None` if the kernel does not account for it.
    pub swap_bytes: Option<u64>,
    /// The highest usage so far. v2: since Linux 5.19.
    pub peak_bytes: Option<u64>,
    /// What happened at its limits.
    pub events: MemoryEvents,
    /// The part of it that was not in cgroups below it. v2, since Linux 5.2.
    pub events_local: MemoryEvents,
    /// When [`MemoryUsage::stat`] was read.
    pub stat_read_at: Option<Instant>,
    /// The usage at that time.
    pub stat_usage_bytes: Option<u64>,
    /// The whole `memory.stat`. Bytes and events; up to about 2 s old, because the kernel puts off
    /// adding up its per-CPU counts (`mm/memcontrol.c`, `mem_cgroup_flush_stats`).
    pub stat: StatTable,
}

/// What happened at the limits of a cgroup, and on v2 of its descendants. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEvents {
    /// Memory was taken back although it was below `memory.low` (v2).
    pub low: Option<u64>,
    /// Tasks were slowed down because usage was above `memory.high` (v2).
    pub high: Option<u64>,
    /// Usage was about to go above the limit (v1: `memory.failcnt`).
    pub max: Option<u64>,
    /// The limit was reached and nothing could be taken back (v2).
    pub oom: Option<u64>,
    /// Processes that the kernel killed for want of memory. v1: since Linux 4.13, and those of
    /// descendants are not counted.
    pub oom_kill: Option<u64>,
    /// Times that all processes of a cgroup were killed at once (v2, since Linux 5.17).
    pub oom_group_kill: Option<u64>,
    /// Whether tasks wait now because the limit is reached (v1).
    pub under_oom: Option<bool>,
}

impl Clone for MemoryUsage {
    fn clone(&self) -> Self {
        let mut copy = Self::default();
        copy.clone_from(self);
        copy
    }

    /// Without allocation where there is room.
    fn clone_from(&mut self, source: &Self) {
        self.usage_bytes = source.usage_bytes;
        self.swap_bytes = source.swap_bytes;
        self.peak_bytes = source.peak_bytes;
        self.events = source.events;
        self.events_local = source.events_local;
        self.stat_read_at = source.stat_read_at;
        self.stat_usage_bytes = source.stat_usage_bytes;
        self.stat.clone_from(&source.stat);
    }
}

impl MemoryUsage {
    /// File pages that the kernel would take back first: what `docker stats` subtracts from usage.
    pub fn inactive_file_bytes(&self) -> Option<u64> {
        self.first_of(["total_inactive_file", "inactive_file"])
    }

    /// Anonymous memory. v1 leaves out shared memory, and so does v2's `anon`.
    pub fn rss_bytes(&self) -> Option<u64> {
        self.first_of(["total_rss", "rss"]).or_else(|| self.stat.get("anon"))
    }

    /// Page cache, shared memory included.
    pub fn cache_bytes(&self) -> Option<u64> {
        self.first_of(["total_cache", "cache"]).or_else(|| self.stat.get("file"))
    }

    /// Page cache that processes have mapped.
    pub fn mapped_bytes(&self) -> Option<u64> {
        self.first_of(["total_mapped_file", "mapped_file"]).or_else(|| self.stat.get("file_mapped"))
    }

    /// The smallest limit up to the root, where the kernel tells it (v1).
    pub fn hierarchical_limit_bytes(&self) -> Option<u64> {
        self.stat.get("hierarchical_memory_limit").filter(|limit| *limit < V1_UNLIMITED)
    }

    fn first_of(&self, names: [&str; 2]) -> Option<u64> {
        names.iter().find_map(|name| self.stat.get(name))
    }
}

/// The open files of one cgroup that tell its memory, and what they said last.
#[derive(Debug)]
pub struct MemoryFiles {
    version: Version,
    usage: Option<KeptFile>,
    /// v2 only.
    swap: Option<KeptFile>,
    peak: Option<KeptFile>,
    /// v2: `memory.events`. v1: `memory.oom_control`.
    events: Option<KeptFile>,
    /// v2: where `memory.events.local` is, which is read only when the events have changed.
    events_local: Option<PathBuf>,
    /// v1 only.
    failures: Option<KeptFile>,
    stat: Option<KeptFile>,
    latest: MemoryUsage,
    /// Whether the latest is a whole reading.
    is_read: bool,
}

impl MemoryFiles {
    /// Opens the files of the cgroup at a path such as `/docker/abc`; `None` if there are none.
    ///
    /// v2: `memory.current`, `.swap.current`, `.peak`, `.events`, `.events.local`, `.stat`; the
    /// root has only the last. v1: `memory.usage_in_bytes`, `.max_usage_in_bytes`, `.oom_control`, `.failcnt`,
    /// `.stat`.
    ///
    /// # Errors
    ///
    /// If a file is there but cannot be opened.
    pub fn open(hierarchies: &Hierarchies, path: &str) -> Result<Option<Self>, ReadError> {
        let Some(controller) = hierarchies.controller("memory") else { return Ok(None) };
        let directory = below(controller.root, path);
        let open = |v1: Option<&str>, v2: Option<&str>| {
            let name = match controller.version {
                Version::V1 => v1,
                Version::V2 => v2,
            };
            name.map_or(Ok(None), |name| KeptFile::open(&directory.join(name)))
        };
        let files = Self {
            version: controller.version,
            usage: open(Some("memory.usage_in_bytes"), Some("memory.current"))?,
            swap: open(None, Some("memory.swap.current"))?,
            peak: open(Some("memory.max_usage_in_bytes"), Some("memory.peak"))?,
            events: open(Some("memory.oom_control"), Some("memory.events"))?,
            events_local: (controller.version == Version::V2)
                .then(|| directory.join("memory.events.local")),
            failures: open(Some("memory.failcnt"), None)?,
            stat: open(Some("memory.stat"), Some("memory.stat"))?,
            latest: MemoryUsage::default(),
            is_read: false,
        };
        Ok((files.usage.is_some() || files.stat.is_some()).then_some(files))
    }

    /// Reads the memory of the cgroup into `out`, which keeps its memory. Unless it is to be
    /// read `whole`, a size that is the same to the byte stands for everything: where no task ran and
    /// nothing was charged, nothing else can have changed but for what the kernel adds up late.
    /// `memory.stat`, the longest of the files, is read no sooner than `stat_interval` after the last
    /// time.
    ///
    /// # Errors
    ///
    /// [`ReadError::Vanished`] when the cgroup was removed. On any error what was not read is
    /// unknown.
    pub fn read_memory(
        &mut self,
        whole: bool,
        stat_interval: Duration,
        now: Instant,
        buffer: &mut Vec<u8>,
        out: &mut MemoryUsage,
    ) -> Result<(), ReadError> {
        let read = self.refresh(whole, stat_interval, now, buffer);
        if read.is_err() {
            self.expire();
            self.latest.stat.clear();
            self.latest.stat_usage_bytes = None;
        }
        out.clone_from(&self.latest);
        read
    }

    /// Has the next read go to all files.
    pub fn expire(&mut self) {
        self.is_read = false;
        self.latest.stat_read_at = None;
    }

    /// The files.
    pub fn files(&self) -> impl Iterator<Item = &KeptFile> {
        let Self { usage, swap, peak, events, failures, stat, .. } = self;
        [usage, swap, peak, events, failures, stat].into_iter().flatten()
    }

    fn refresh(
        &mut self,
        whole: bool,
        stat_interval: Duration,
        now: Instant,
        buffer: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        let before = self.latest.usage_bytes.take();
        self.latest.usage_bytes = number(self.usage.as_ref(), buffer)?;
        let unchanged = before.is_some() && before == self.latest.usage_bytes;
        if !whole && unchanged && self.is_read {
            return Ok(());
        }
        self.refresh_events(buffer)?;
        let Self { latest, .. } = self;
        (latest.peak_bytes, latest.swap_bytes) = (None, None);
        latest.peak_bytes = number(self.peak.as_ref(), buffer)?;
        latest.swap_bytes = number(self.swap.as_ref(), buffer)?;
        let fresh = |at| now.saturating_duration_since(at) < stat_interval;
        if let Some(file) = self.stat.as_ref().filter(|_| !latest.stat_read_at.is_some_and(fresh)) {
            let text = file.read(buffer)?;
            if text.len() > MAX_STAT_BYTES {
                return Err(file.malformed("too long for a memory.stat"));
            }
            latest.stat.parse_into(text);
            (latest.stat_read_at, latest.stat_usage_bytes) = (Some(now), latest.usage_bytes);
        }
        if self.version == Version::V1 {
            // The difference between `memory.memsw.usage_in_bytes` and the usage is that of two
            // instants, and shows swap where memory only grew.
            latest.swap_bytes = latest.first_of(["total_swap", "swap"]);
        }
        self.is_read = true;
        Ok(())
    }

    fn refresh_events(&mut self, buffer: &mut Vec<u8>) -> Result<(), ReadError> {
        let before = mem::take(&mut self.latest.events);
        if let Some(file) = &self.events {
            self.latest.events = parse_events(file.read(buffer)?);
        }
        if self.version == Version::V1 {
            self.latest.events.max = number(self.failures.as_ref(), buffer)?;
        }
        // The local events are a part of the others, so they stand still where those do.
        if let Some(path) = &self.events_local
            && (!self.is_read || self.latest.events != before)
        {
            let text = read_once(path, buffer)?;
            self.latest.events_local = text.map(parse_events).unwrap_or_default();
        }
        Ok(())
    }
}

/// Reads a `memory.events` of v2 (`mm/memcontrol.c`, `memory_events_show`) or a
/// `memory.oom_control` of v1 (`mm/memcontrol-v1.c`, `mem_cgroup_oom_control_read`).
pub fn parse_events(text: &[u8]) -> MemoryEvents {
    let mut events = MemoryEvents::default();
    for (name, value) in named_numbers(text) {
        match name {
            b"low" => events.low = Some(value),
            b"high" => events.high = Some(value),
            b"max" => events.max = Some(value),
            b"oom" => events.oom = Some(value),
            b"oom_kill" => events.oom_kill = Some(value),
            b"oom_group_kill" => events.oom_group_kill = Some(value),
            b"under_oom" => events.under_oom = Some(value != 0),
            _ => {}
        }
    }
    events
}

/// The number in a file, if it is there.
fn number(file: Option<&KeptFile>, buffer: &mut Vec<u8>) -> Result<Option<u64>, ReadError> {
    file.map(|file| file.read_number(buffer)).transpose()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::cgroup::find_hierarchies;

    const V1_STAT: &str = "cache 9342976\nrss 7602176\nrss_huge 0\nshmem 9084928\nswap 0\n\
        pgfault 40239\ninactive_file 8192\nactive_file 249856\nunevictable 15155200\n\
        hierarchical_memory_limit 9223372036854771712\n\
        hierarchical_memsw_limit 9223372036854771712\n\
        total_cache 861159424\ntotal_rss 13664256\ntotal_swap 4096\n\
        total_inactive_file 418217984\ntotal_active_file 433856512\n";
    const V2_STAT: &str = "anon 1765376\nfile 5947392\nkernel 1028096\nkernel_stack 65536\n\
        shmem 0\ninactive_anon 1671168\nactive_anon 20480\ninactive_file 4153344\n\
        active_file 1794048\npgfault 3513\n";

    fn read(root: &str, files: &[(&str, &str)]) -> (MemoryUsage, tempfile::TempDir) {
        let tree = tempfile::tempdir().unwrap();
        let directory = tree.path().join(root).join("docker/abc");
        fs::create_dir_all(&directory).unwrap();
        if root.is_empty() {
            fs::write(tree.path().join("cgroup.controllers"), "memory").unwrap();
        }
        for (name, content) in files {
            fs::write(directory.join(name), content).unwrap();
        }
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        let mut files = MemoryFiles::open(&hierarchies, "/docker/abc").unwrap().unwrap();
        let mut usage = MemoryUsage::default();
        files
            .read_memory(true, Duration::ZERO, Instant::now(), &mut Vec::new(), &mut usage)
            .unwrap();
        assert!(MemoryFiles::open(&hierarchies, "/docker/gone").unwrap().is_none());
        (usage, tree)
    }

    #[test]
    fn v1_is_read_whole() {
        let files = [
            ("memory.usage_in_bytes", "874614784\n"),
            ("memory.failcnt", "9\n"),
            ("memory.max_usage_in_bytes", "900000000\n"),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
            ("memory.stat", V1_STAT),
        ];
        let (usage, _tree) = read("memory", &files);
        assert_eq!(usage.usage_bytes, Some(874_614_784));
        assert_eq!(usage.hierarchical_limit_bytes(), None);
        assert_eq!(usage.swap_bytes, Some(4096));
        assert_eq!(usage.peak_bytes, Some(900_000_000));
        let events = MemoryEvents {
            max: Some(9),
            oom_kill: Some(2),
            under_oom: Some(false),
            ..MemoryEvents::default()
        };
        assert_eq!(usage.events, events);
        assert_eq!(usage.inactive_file_bytes(), Some(418_217_984));
        assert_eq!(usage.rss_bytes(), Some(13_664_256));
        assert_eq!(usage.cache_bytes(), Some(861_159_424));
    }

    #[test]
    fn v2_is_read_whole() {
        let files = [
            ("memory.current", "8912896\n"),
            ("memory.swap.current", "8192\n"),
            ("memory.peak", "9000000\n"),
            ("memory.events", "low 0\nhigh 0\nmax 5\noom 1\noom_kill 3\noom_group_kill 0\n"),
            ("memory.events.local", "low 0\nhigh 0\nmax 4\noom 1\noom_kill 2\n"),
            ("memory.stat", V2_STAT),
        ];
        let (usage, _tree) = read("", &files);
        assert_eq!(usage.usage_bytes, Some(8_912_896));
        assert_eq!(usage.swap_bytes, Some(8192));
        assert_eq!(usage.peak_bytes, Some(9_000_000));
        let events = MemoryEvents {
            low: Some(0),
            high: Some(0),
            max: Some(5),
            oom: Some(1),
            oom_kill: Some(3),
            oom_group_kill: Some(0),
            under_oom: None,
        };
        assert_eq!(usage.events, events);
        let local = MemoryEvents { max: Some(4), oom_kill: Some(2), ..events };
        assert_eq!(usage.events_local, MemoryEvents { oom_group_kill: None, ..local });
        assert_eq!(usage.inactive_file_bytes(), Some(4_153_344));
        assert_eq!(usage.rss_bytes(), Some(1_765_376));
        assert_eq!(usage.cache_bytes(), Some(5_947_392));
        assert_eq!(usage.stat.len(), 10);
    }

    #[test]
    fn what_an_old_kernel_does_not_tell_is_unknown() {
        let files = [("memory.current", "1\n"), ("memory.stat", V2_STAT)];
        let (usage, _tree) = read("", &files);
        assert_eq!((usage.swap_bytes, usage.peak_bytes), (None, None));
        assert_eq!(usage.events, MemoryEvents::default());
    }

    #[test]
    fn no_limit_is_recognised_for_every_page_size() {
        let mut usage = MemoryUsage::default();
        for page in [4096, 16 << 10, 64 << 10] {
            let most = i64::MAX as u64 / page * page;
            usage.stat.parse_into(format!("hierarchical_memory_limit {most}").as_bytes());
            assert_eq!(usage.hierarchical_limit_bytes(), None, "{page}");
        }
        usage.stat.parse_into(b"hierarchical_memory_limit 1000");
        assert_eq!(usage.hierarchical_limit_bytes(), Some(1000));
    }

    /// A v1 cgroup with usage 1 and 7 page faults.
    fn small() -> (MemoryFiles, tempfile::TempDir) {
        let files = [("memory.usage_in_bytes", "1\n"), ("memory.stat", "pgfault 7\n")];
        let (_, tree) = read("memory", &files);
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        (MemoryFiles::open(&hierarchies, "/docker/abc").unwrap().unwrap(), tree)
    }

    #[test]
    fn what_could_not_be_read_is_unknown() {
        let (mut files, tree) = small();
        let file = |name: &str| tree.path().join("memory/docker/abc").join(name);
        let mut usage = MemoryUsage::default();
        let mut read = |files: &mut MemoryFiles| {
            let now = Instant::now();
            let read =
                files.read_memory(true, Duration::ZERO, now, &mut Vec::new(), &mut usage).is_ok();
            (read, usage.usage_bytes, usage.stat.get("pgfault"))
        };
        assert_eq!(read(&mut files), (true, Some(1), Some(7)));
        fs::write(file("memory.usage_in_bytes"), "?").unwrap();
        assert_eq!(read(&mut files), (false, None, None));
        fs::write(file("memory.usage_in_bytes"), "1").unwrap();
        assert_eq!(read(&mut files), (true, Some(1), Some(7)));
    }

    #[test]
    fn an_endless_stat_is_refused_by_its_path() {
        let (mut files, tree) = small();
        let garbage = "x y\n".repeat(MAX_STAT_BYTES / 4 + 1);
        fs::write(tree.path().join("memory/docker/abc/memory.stat"), garbage).unwrap();
        let mut usage = MemoryUsage::default();
        let error =
            files.read_memory(true, Duration::ZERO, Instant::now(), &mut Vec::new(), &mut usage);
        let error = error.unwrap_err().to_string();
        assert!(error.ends_with("docker/abc/memory.stat: too long for a memory.stat"), "{error}");
    }

    #[test]
    fn a_long_stat_has_its_own_pace_and_keeps_the_usage_of_its_time() {
        let (mut files, tree) = small();
        let file = |name: &str| tree.path().join("memory/docker/abc").join(name);
        let start = Instant::now();
        let mut usage = MemoryUsage::default();
        let mut read = |files: &mut MemoryFiles, seconds, written: u64| {
            fs::write(file("memory.stat"), format!("pgfault {written}\n")).unwrap();
            fs::write(file("memory.usage_in_bytes"), format!("{written}\n")).unwrap();
            let at = start + Duration::from_secs(seconds);
            let interval = Duration::from_secs(5);
            files.read_memory(true, interval, at, &mut Vec::new(), &mut usage).unwrap();
            assert_eq!(usage.usage_bytes, Some(written));
            assert_eq!(usage.stat.get("pgfault"), usage.stat_usage_bytes);
            (usage.stat_usage_bytes.unwrap(), usage.stat_read_at.unwrap() - start)
        };
        assert_eq!(read(&mut files, 0, 1), (1, Duration::ZERO));
        assert_eq!(read(&mut files, 4, 2), (1, Duration::ZERO));
        assert_eq!(read(&mut files, 5, 3), (3, Duration::from_secs(5)));
        files.expire();
        assert_eq!(read(&mut files, 6, 4), (4, Duration::from_secs(6)));
    }

    #[test]
    fn local_events_are_read_when_events_have_changed() {
        let events = |kills: u64| format!("oom {kills}\noom_kill {kills}\n");
        let (one, two) = (events(1), events(2));
        let files =
            [("memory.current", "1"), ("memory.events", &one), ("memory.events.local", &one)];
        let (_, tree) = read("", &files);
        let file = |name: &str| tree.path().join("docker/abc").join(name);
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        let mut files = MemoryFiles::open(&hierarchies, "/docker/abc").unwrap().unwrap();
        let mut usage = MemoryUsage::default();
        let mut local = |files: &mut MemoryFiles| {
            let now = Instant::now();
            files.read_memory(true, Duration::ZERO, now, &mut Vec::new(), &mut usage).unwrap();
            usage.events_local.oom_kill
        };
        assert_eq!(local(&mut files), Some(1));
        fs::write(file("memory.events.local"), &two).unwrap();
        assert_eq!(local(&mut files), Some(1));
        fs::write(file("memory.events"), &two).unwrap();
        assert_eq!(local(&mut files), Some(2));
        fs::remove_file(file("memory.events.local")).unwrap();
        fs::write(file("memory.events"), events(3)).unwrap();
        assert_eq!(local(&mut files), None);
    }

    #[test]
    fn the_same_size_stands_for_everything_unless_told_otherwise() {
        let (mut files, tree) = small();
        let file = |name: &str| tree.path().join("memory/docker/abc").join(name);
        let mut usage = MemoryUsage::default();
        let mut faults = |files: &mut MemoryFiles, whole, written: u64| {
            fs::write(file("memory.stat"), format!("pgfault {written}\n")).unwrap();
            let now = Instant::now();
            files.read_memory(whole, Duration::ZERO, now, &mut Vec::new(), &mut usage).unwrap();
            usage.stat.get("pgfault")
        };
        assert_eq!(faults(&mut files, false, 1), Some(1));
        assert_eq!(faults(&mut files, false, 2), Some(1));
        assert_eq!(faults(&mut files, true, 3), Some(3));
        assert_eq!(faults(&mut files, false, 4), Some(3));
        fs::write(file("memory.usage_in_bytes"), "2\n").unwrap();
        assert_eq!(faults(&mut files, false, 5), Some(5));
        assert_eq!(faults(&mut files, false, 6), Some(5));
        files.expire();
        assert_eq!(faults(&mut files, false, 7), Some(7));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(text: Vec<u8>) {
            parse_events(&text);
        }
    }
}
