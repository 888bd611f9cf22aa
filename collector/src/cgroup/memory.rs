//! Memory and swap of a cgroup.

use std::mem;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::cgroup::error::ReadError;
use crate::cgroup::file::{KeptFile, read_once};
use crate::cgroup::mounts::{Hierarchies, Version};
use crate::cgroup::settings::V1_UNLIMITED;
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
        let of_version = |v1: Option<&str>, v2: Option<&str>| {
            let name = match controller.version {
                Version::V1 => v1,
                Version::V2 => v2,
            };
            name.map(|name| directory.join(name))
        };
        let open = |v1, v2| of_version(v1, v2).map_or(Ok(None), |file| KeptFile::open(&file));
        let usage = of_version(Some("memory.usage_in_bytes"), Some("memory.current"));
        let files = Self {
            version: controller.version,
            usage: usage.map_or(Ok(None), |file| KeptFile::open_steady(&file))?,
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
            if latest.rss_bytes().is_none() {
                return Err(file.malformed("it has no line of a memory.stat"));
            }
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
mod tests;
