//! Memory and swap of a cgroup.

use crate::cgroup::error::ReadError;
use crate::cgroup::file::KeptFile;
use crate::cgroup::mounts::{Hierarchies, Version};
use crate::cgroup::stat_table::StatTable;
use crate::cgroup::text::named_number;
use crate::cgroup::walk::below;

/// A v1 limit from here on is none. The kernel's greatest is `i64::MAX` rounded down to whole pages
/// (`include/linux/page_counter.h`, `PAGE_COUNTER_MAX`), and a page has 64 KiB at most.
const V1_UNLIMITED: u64 = i64::MAX as u64 & !0xffff;

/// Memory of a cgroup with all its descendants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    /// Everything charged to the cgroup now, page cache and kernel memory included.
    pub usage_bytes: Option<u64>,
    /// The cgroup's limit; `None` if there is none or it is unknown. On v1 the smallest one up to
    /// the root; on v2 the cgroup's own.
    pub limit_bytes: Option<u64>,
    /// Swap in use; `None` if the kernel does not account for it.
    pub swap_bytes: Option<u64>,
    /// The highest usage so far. v2: since Linux 5.19.
    pub peak_bytes: Option<u64>,
    /// Processes of the cgroup that the kernel killed for want of memory. v1: since Linux 4.13,
    /// and those of descendants are not counted.
    pub oom_kills: Option<u64>,
    /// The whole `memory.stat`. Bytes and events; up to about 2 s old, because the kernel puts off
    /// adding up its per-CPU counts (`mm/memcontrol.c`, `mem_cgroup_flush_stats`).
    pub stat: StatTable,
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

    fn first_of(&self, names: [&str; 2]) -> Option<u64> {
        names.iter().find_map(|name| self.stat.get(name))
    }
}

/// The open files of one cgroup that tell its memory.
#[derive(Debug)]
pub struct MemoryFiles {
    version: Version,
    usage: Option<KeptFile>,
    limit: Option<KeptFile>,
    /// v2 only.
    swap: Option<KeptFile>,
    peak: Option<KeptFile>,
    events: Option<KeptFile>,
    stat: Option<KeptFile>,
}

impl MemoryFiles {
    /// Opens the files of the cgroup at a path such as `/docker/abc`; `None` if there are none.
    ///
    /// v2: `memory.current`, `.max`, `.swap.current`, `.peak`, `.events`, `.stat`; the root has
    /// only the last. v1: `memory.usage_in_bytes`, `.limit_in_bytes`, `.max_usage_in_bytes`,
    /// `.oom_control`, `.stat`.
    ///
    /// # Errors
    ///
    /// If a file is there but cannot be opened.
    pub fn open(hierarchies: &Hierarchies, path: &str) -> Result<Option<Self>, ReadError> {
        let Some(controller) = hierarchies.controller("memory") else { return Ok(None) };
        let directory = below(controller.root, path);
        let [usage, limit, peak, events] = match controller.version {
            Version::V1 => [
                "memory.usage_in_bytes",
                "memory.limit_in_bytes",
                "memory.max_usage_in_bytes",
                "memory.oom_control",
            ],
            Version::V2 => ["memory.current", "memory.max", "memory.peak", "memory.events"],
        };
        let open = |name| KeptFile::open(&directory.join(name));
        let swap = match controller.version {
            Version::V1 => None,
            Version::V2 => open("memory.swap.current")?,
        };
        let files = Self {
            version: controller.version,
            usage: open(usage)?,
            limit: open(limit)?,
            swap,
            peak: open(peak)?,
            events: open(events)?,
            stat: open("memory.stat")?,
        };
        Ok((files.usage.is_some() || files.stat.is_some()).then_some(files))
    }

    /// Reads the memory of the cgroup into `out`, which keeps its memory.
    ///
    /// # Errors
    ///
    /// [`ReadError::Vanished`] when the cgroup was removed. On any error the numbers that were not
    /// read stay what they were.
    pub fn read_memory(
        &self,
        buffer: &mut Vec<u8>,
        out: &mut MemoryUsage,
    ) -> Result<(), ReadError> {
        out.usage_bytes = self.usage.as_ref().map(|file| file.read_number(buffer)).transpose()?;
        out.limit_bytes = match &self.limit {
            Some(file) => file.read_limit(buffer)?,
            None => None,
        };
        out.peak_bytes = self.peak.as_ref().map(|file| file.read_number(buffer)).transpose()?;
        out.oom_kills = match &self.events {
            Some(file) => parse_oom_kills(file.read(buffer)?),
            None => None,
        };
        match &self.stat {
            Some(file) => out.stat.parse_into(file.read(buffer)?),
            None => out.stat.clear(),
        }
        match self.version {
            Version::V1 => complete_v1(out),
            Version::V2 => {
                out.swap_bytes = self.swap.as_ref().map(|f| f.read_number(buffer)).transpose()?;
            }
        }
        Ok(())
    }
}

/// Finds the kills in a `memory.events` of v2 or a `memory.oom_control` of v1
/// (`mm/memcontrol.c`, `memory_events_show`; `mm/memcontrol-v1.c`, `mem_cgroup_oom_control_read`).
pub fn parse_oom_kills(text: &[u8]) -> Option<u64> {
    named_number(text, "oom_kill")
}

/// Swap comes from `memory.stat`: the difference between `memory.memsw.usage_in_bytes` and
/// `memory.usage_in_bytes` is that of two instants, and shows swap where memory only grew.
fn complete_v1(out: &mut MemoryUsage) {
    let inherited = out.stat.get("hierarchical_memory_limit");
    let limits = [out.limit_bytes, inherited].into_iter().flatten();
    out.limit_bytes = limits.min().filter(|limit| *limit < V1_UNLIMITED);
    out.swap_bytes = out.first_of(["total_swap", "swap"]);
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
        let files = MemoryFiles::open(&hierarchies, "/docker/abc").unwrap().unwrap();
        let mut usage = MemoryUsage::default();
        files.read_memory(&mut Vec::new(), &mut usage).unwrap();
        assert!(MemoryFiles::open(&hierarchies, "/docker/gone").unwrap().is_none());
        (usage, tree)
    }

    #[test]
    fn v1_is_read_whole() {
        let files = [
            ("memory.usage_in_bytes", "874614784\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.max_usage_in_bytes", "900000000\n"),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
            ("memory.stat", V1_STAT),
        ];
        let (usage, _tree) = read("memory", &files);
        assert_eq!(usage.usage_bytes, Some(874_614_784));
        assert_eq!(usage.limit_bytes, None);
        assert_eq!(usage.swap_bytes, Some(4096));
        assert_eq!(usage.peak_bytes, Some(900_000_000));
        assert_eq!(usage.oom_kills, Some(2));
        assert_eq!(usage.inactive_file_bytes(), Some(418_217_984));
        assert_eq!(usage.rss_bytes(), Some(13_664_256));
        assert_eq!(usage.cache_bytes(), Some(861_159_424));
    }

    #[test]
    fn v2_is_read_whole() {
        let files = [
            ("memory.current", "8912896\n"),
            ("memory.max", "67108864\n"),
            ("memory.swap.current", "8192\n"),
            ("memory.peak", "9000000\n"),
            ("memory.events", "low 0\nhigh 0\nmax 5\noom 1\noom_kill 3\noom_group_kill 0\n"),
            ("memory.stat", V2_STAT),
        ];
        let (usage, _tree) = read("", &files);
        assert_eq!(usage.usage_bytes, Some(8_912_896));
        assert_eq!(usage.limit_bytes, Some(67_108_864));
        assert_eq!(usage.swap_bytes, Some(8192));
        assert_eq!(usage.peak_bytes, Some(9_000_000));
        assert_eq!(usage.oom_kills, Some(3));
        assert_eq!(usage.inactive_file_bytes(), Some(4_153_344));
        assert_eq!(usage.rss_bytes(), Some(1_765_376));
        assert_eq!(usage.cache_bytes(), Some(5_947_392));
        assert_eq!(usage.stat.len(), 10);
    }

    #[test]
    fn what_an_old_kernel_does_not_tell_is_unknown() {
        let files = [("memory.current", "1\n"), ("memory.max", "max\n"), ("memory.stat", V2_STAT)];
        let (usage, _tree) = read("", &files);
        assert_eq!(usage.limit_bytes, None);
        assert_eq!((usage.swap_bytes, usage.peak_bytes, usage.oom_kills), (None, None, None));
    }

    #[test]
    fn a_smaller_limit_further_up_counts_on_v1() {
        let mut usage = MemoryUsage { limit_bytes: Some(2000), ..MemoryUsage::default() };
        usage.stat.parse_into(b"hierarchical_memory_limit 1000\n");
        complete_v1(&mut usage);
        assert_eq!(usage.limit_bytes, Some(1000));
        usage.limit_bytes = Some(500);
        complete_v1(&mut usage);
        assert_eq!(usage.limit_bytes, Some(500));
    }

    #[test]
    fn no_limit_is_recognised_for_every_page_size() {
        for page in [4096, 16 << 10, 64 << 10] {
            let most = i64::MAX as u64 / page * page;
            let mut usage = MemoryUsage { limit_bytes: Some(most), ..MemoryUsage::default() };
            complete_v1(&mut usage);
            assert_eq!(usage.limit_bytes, None, "{page}");
        }
    }

    #[test]
    fn a_failed_read_keeps_the_last_numbers() {
        let files = [("memory.usage_in_bytes", "1\n"), ("memory.limit_in_bytes", "7\n")];
        let (mut usage, tree) = read("memory", &files);
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        let files = MemoryFiles::open(&hierarchies, "/docker/abc").unwrap().unwrap();
        fs::write(tree.path().join("memory/docker/abc/memory.usage_in_bytes"), "?").unwrap();
        assert!(files.read_memory(&mut Vec::new(), &mut usage).is_err());
        assert_eq!((usage.usage_bytes, usage.limit_bytes), (Some(1), Some(7)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(text: Vec<u8>) {
            parse_oom_kills(&text);
            let mut usage = MemoryUsage::default();
            usage.stat.parse_into(&text);
            complete_v1(&mut usage);
        }
    }
}
