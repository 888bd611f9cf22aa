//! Memory from cgroup files.

use std::{fs, mem, os::unix::fs::MetadataExt as _};

use tare_model::Family;
use tare_parsers::{memory::parse_memory_events, numa_stat::parse_numa_stat};

use crate::{
    cgroup::{Controller, Directory, Hierarchies, KeptFile, ReadError, Version, below, read_once},
    clock::Moment,
    families::{
        cadence::is_memory_stat_due,
        memory::MemoryUsage,
        readers::{CgroupReader, Place, ReadContext, WalkedCgroup},
        walked::{Found, WalkLayout},
    },
    kernel::walk::{self, Digest, Fingerprint},
    process::page_bytes,
};

/// A longer `memory.stat` is malformed: the kernel's has 4 KiB at most.
const MAX_STAT_BYTES: usize = 64 << 10;

/// The files of one cgroup with its memory.
#[derive(Debug)]
pub struct MemoryFiles {
    version: Version,
    directory: Directory,
    /// Those that stay open; `None` beside a walk.
    open: Option<Box<Open>>,
    /// Whether the last reading is whole.
    is_read: bool,
    /// What the last numbers of `memory.stat` were made from, where a walk has its words: as long
    /// as that stays the same, so do they.
    made_from: Option<Fingerprint>,
}

#[derive(Debug)]
struct Open {
    usage: Option<KeptFile>,
    /// v2 only.
    swap: Option<KeptFile>,
    peak: Option<KeptFile>,
    /// v2: `memory.events`. v1: `memory.oom_control`.
    events: Option<KeptFile>,
    /// v1 only.
    failures: Option<KeptFile>,
    stat: Option<KeptFile>,
}

impl CgroupReader for MemoryFiles {
    type Reading = MemoryUsage;

    const FAMILY: Option<Family> = Some(Family::Memory);

    fn is_known(reading: &Self::Reading) -> bool {
        reading.usage_bytes.is_some()
    }

    /// v2: `memory.current`, `.swap.current`, `.peak`, `.events`, `.events.local`, `.stat`,
    /// `.numa_stat`; the root has only the last two. v1: `memory.usage_in_bytes`,
    /// `.max_usage_in_bytes`, `.oom_control`, `.failcnt`, `.stat`, `.numa_stat`.
    fn open(hierarchies: &Hierarchies, path: &str) -> Result<Option<Self>, ReadError> {
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
        let open = Open {
            usage: usage.map_or(Ok(None), |file| KeptFile::open_steady(&file))?,
            swap: open(None, Some("memory.swap.current"))?,
            peak: open(Some("memory.max_usage_in_bytes"), Some("memory.peak"))?,
            events: open(Some("memory.oom_control"), Some("memory.events"))?,
            failures: open(Some("memory.failcnt"), None)?,
            stat: open(Some("memory.stat"), Some("memory.stat"))?,
        };
        Ok((open.usage.is_some() || open.stat.is_some())
            .then(|| Self { open: Some(open.into()), ..Self::beside_walk(controller, path) }))
    }

    fn is_due(_: &ReadContext<'_>) -> bool {
        true
    }

    /// Unless all of it is due, nothing is read again while the size stays the same to the byte:
    /// where no task ran and nothing was charged, only what the kernel adds up late can have
    /// changed.
    fn read(
        &mut self,
        context: &mut ReadContext<'_>,
        latest: &mut MemoryUsage,
    ) -> Result<(), ReadError> {
        let read = self.refresh(context, latest);
        if read.is_err() {
            self.is_read = false;
            latest.stat_read_at = None;
            latest.stat.clear();
            latest.stat_usage_bytes = None;
        }
        read
    }

    fn files(&self) -> impl Iterator<Item = &KeptFile> {
        let files = self.open.iter().flat_map(|open| {
            let Open { usage, swap, peak, events, failures, stat } = &**open;
            [usage, swap, peak, events, failures, stat]
        });
        files.flatten()
    }

    fn opens_on_demand(layout: &WalkLayout) -> bool {
        layout.memory.is_walked()
    }

    /// Only `memory.numa_stat`, which does not stay open.
    fn open_beside_walk(
        hierarchies: &Hierarchies,
        path: &str,
        _: &WalkLayout,
    ) -> Result<Option<Self>, ReadError> {
        Ok(hierarchies.controller("memory").map(|found| Self::beside_walk(found, path)))
    }

    fn from_record(
        mut beside: Option<&mut Self>,
        context: &mut ReadContext<'_>,
        latest: &mut MemoryUsage,
    ) -> Result<bool, ReadError> {
        let ReadContext { now, time, memory_stat_interval, due, buffer, walked, place, .. } =
            context;
        let is_partial = &mut context.is_partial;
        let read_at = Moment { instant: *now, time: *time };
        let (Some(walked), Some(place)) = (walked, place) else { return Ok(false) };
        if !walked.records.layout().memory.is_walked() {
            return Ok(false);
        }
        let record = match walked.records.memory() {
            Found::NotWalked => return Ok(false),
            Found::Absent => None,
            // The root has few files.
            Found::Record(record) if record.level() == 0 => return Ok(false),
            Found::Record(record) => Some(record),
        };
        let Some((record, memory)) = record.and_then(|found| Some((found, found.memory()?))) else {
            // Not in a hierarchy with the controller, or the controller is not enabled for it.
            *latest = MemoryUsage::default();
            return Ok(true);
        };
        let Some(events) = record.memory_events() else { return Ok(false) };
        latest.usage_bytes = Some(memory.usage_bytes);
        latest.peak_bytes = Some(memory.peak_bytes);
        latest.swap_bytes = memory.swap_bytes;
        latest.events = events;
        latest.events_local = record.memory_events_local().unwrap_or_default();
        if is_memory_stat_due(latest.stat_read_at, *memory_stat_interval, *now) {
            latest.stat_read_at = None;
            let made_from = beside.as_mut().map(|files| &mut files.made_from);
            if !read_stat(walked, &record, place, buffer, made_from, latest)? {
                return Ok(false);
            }
            latest.stat_read_at = (!memory_stat_interval.is_zero()).then_some(read_at);
            latest.stat_usage_bytes = latest.usage_bytes;
        } else {
            *is_partial = true;
        }
        if let Some(files) = beside
            && due.details
        {
            files.refresh_numa(buffer, latest)?;
        }
        let controller = place.hierarchies.controller("memory");
        if controller.is_some_and(|found| found.version == Version::V1) {
            latest.swap_bytes = latest.first_of(["total_swap", "swap"]);
        }
        Ok(true)
    }
}

/// Takes `memory.stat` from a record, or from the file where the words do not decide a number;
/// `false` if the file is not there.
fn read_stat(
    walked: &mut WalkedCgroup<'_>,
    record: &walk::Record<'_>,
    place: &Place<'_>,
    buffer: &mut Vec<u8>,
    made_from: Option<&mut Option<Fingerprint>>,
    latest: &mut MemoryUsage,
) -> Result<bool, ReadError> {
    let Some(stat) = &mut walked.stat else { return Ok(false) };
    let now = fingerprint(record, stat.revision());
    let mut nowhere = None;
    let made_from = made_from.unwrap_or(&mut nowhere);
    if now.is_some() && made_from.take() == now {
        *made_from = now;
        return Ok(true);
    }
    if stat.decode(record, &mut latest.stat).is_ok() {
        *made_from = now;
        return Ok(true);
    }
    let Some(controller) = place.hierarchies.controller("memory") else { return Ok(false) };
    let directory = below(controller.root, place.path);
    let file = directory.join("memory.stat");
    let Some(text) = read_once(&file, buffer)? else { return Ok(false) };
    latest.stat.parse_into(text);
    // Afterwards: if the cgroup is there now, it was there when its file was opened.
    let id = fs::metadata(&directory).ok().map(|found| found.ino());
    if id != place.layout.memory_id(&place.ids) {
        return Err(ReadError::Vanished);
    }
    stat.learn_from(record.id(), || file);
    let is_whole = latest.rss_bytes().is_some();
    *made_from = now.filter(|_| is_whole);
    Ok(is_whole)
}

/// All that `memory.stat` of this record is made from, with the revision of what is known of it.
/// Some of the words only grow, with each page that is charged, so the same words do not come back.
fn fingerprint(record: &walk::Record<'_>, revision: u64) -> Option<Fingerprint> {
    let mut digest = Digest::new(revision);
    digest.add_words(record.stat()?);
    let (memory, both) = record.hierarchical_limits()?;
    digest.add_number(memory);
    digest.add_number(both.unwrap_or(u64::MAX));
    Some(digest.finish())
}

impl MemoryFiles {
    /// What a walk leaves to be read, none of which stays open.
    fn beside_walk(controller: Controller<'_>, path: &str) -> Self {
        Self {
            version: controller.version,
            directory: Directory::new(controller.root, path),
            open: None,
            is_read: false,
            made_from: None,
        }
    }

    fn refresh(
        &mut self,
        context: &mut ReadContext<'_>,
        latest: &mut MemoryUsage,
    ) -> Result<(), ReadError> {
        let ReadContext { now, time, memory_stat_interval, due, buffer, .. } = context;
        let read_at = Moment { instant: *now, time: *time };
        let before = latest.usage_bytes.take();
        let Some(open) = self.open.as_deref() else { return Ok(()) };
        latest.usage_bytes = number(open.usage.as_ref(), buffer)?;
        let unchanged = before.is_some() && before == latest.usage_bytes;
        if !due.memory && unchanged && self.is_read {
            return Ok(());
        }
        self.refresh_events(open, buffer, latest)?;
        (latest.peak_bytes, latest.swap_bytes) = (None, None);
        latest.peak_bytes = number(open.peak.as_ref(), buffer)?;
        latest.swap_bytes = number(open.swap.as_ref(), buffer)?;
        let stat_due = is_memory_stat_due(latest.stat_read_at, *memory_stat_interval, *now);
        if let Some(file) = open.stat.as_ref().filter(|_| stat_due) {
            let text = file.read(buffer)?;
            if text.len() > MAX_STAT_BYTES {
                return Err(file.malformed("too long for a memory.stat"));
            }
            latest.stat.parse_into(text);
            if latest.rss_bytes().is_none() {
                return Err(file.malformed("it has no line of a memory.stat"));
            }
            (latest.stat_read_at, latest.stat_usage_bytes) = (Some(read_at), latest.usage_bytes);
        }
        if self.version == Version::V1 {
            // The difference between `memory.memsw.usage_in_bytes` and the usage is that of two
            // instants, and shows swap where memory only grew.
            latest.swap_bytes = latest.first_of(["total_swap", "swap"]);
        }
        if due.details {
            self.refresh_numa(buffer, latest)?;
        }
        self.is_read = true;
        Ok(())
    }

    fn refresh_numa(
        &self,
        buffer: &mut Vec<u8>,
        latest: &mut MemoryUsage,
    ) -> Result<(), ReadError> {
        latest.numa.clear();
        self.directory.with("memory.numa_stat", |file| {
            if let (Some(text), Some(page_bytes)) = (read_once(file, buffer)?, page_bytes()) {
                parse_numa_stat(text, page_bytes, &mut latest.numa);
            }
            Ok(())
        })
    }

    fn refresh_events(
        &self,
        open: &Open,
        buffer: &mut Vec<u8>,
        latest: &mut MemoryUsage,
    ) -> Result<(), ReadError> {
        let before = mem::take(&mut latest.events);
        if let Some(file) = &open.events {
            latest.events = parse_memory_events(file.read(buffer)?);
        }
        if self.version == Version::V1 {
            latest.events.max = number(open.failures.as_ref(), buffer)?;
        }
        // The local events are a part of the others, so they stand still where those do.
        if self.version == Version::V2 && (!self.is_read || latest.events != before) {
            let local = self.directory.with("memory.events.local", |file| {
                Ok(read_once(file, buffer)?.map(parse_memory_events))
            });
            latest.events_local = local?.unwrap_or_default();
        }
        Ok(())
    }
}

/// The number in a file, if it is there.
fn number(file: Option<&KeptFile>, buffer: &mut Vec<u8>) -> Result<Option<u64>, ReadError> {
    file.map(|file| file.read_number(buffer)).transpose()
}

#[cfg(test)]
mod tests;
