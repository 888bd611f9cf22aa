//! The memory of a kernel map, mapped to be used without system calls.
//!
//! The kernel makes every page of a mapped array resident at once, so a map is mapped from its
//! start only as far as it is used.

use std::{
    cell::Cell,
    io,
    num::NonZeroUsize,
    ops::Range,
    os::fd::{AsFd, OwnedFd},
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicU64, Ordering},
};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use crate::process::page_bytes;

/// What is mapped at first, and at least when more is needed.
const STEP_BYTES: usize = 64 << 10;

/// No page of memory is larger, on any machine.
const PAGE_BYTES_MAX: u64 = 64 << 10;

/// The words of a `BPF_F_MMAPABLE` array (Linux 5.5). The kernel writes them, this process reads.
pub(super) struct Mapping {
    /// Addresses for all words. They never change, so that references stay valid.
    words: NonNull<AtomicU64>,
    count: usize,
    /// How many bytes are mapped, from the start.
    mapped: Cell<usize>,
    access: ProtFlags,
    map: OwnedFd,
}

/// The same, and this process writes too.
pub(super) struct WritableMapping(Mapping);

// SAFETY: the memory is only used atomically, and lives as long as the value.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the first `count` words of a map.
    pub(super) fn of(map: impl AsFd, count: usize) -> io::Result<Self> {
        Self::with(map, count, ProtFlags::PROT_READ)
    }

    fn with(map: impl AsFd, count: usize, access: ProtFlags) -> io::Result<Self> {
        let bytes =
            NonZeroUsize::new(count * size_of::<u64>()).ok_or(io::ErrorKind::InvalidInput)?;
        let map = map.as_fd().try_clone_to_owned()?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: new addresses that the kernel chooses.
        let address = unsafe { mmap_anonymous(None, bytes, ProtFlags::PROT_NONE, flags) }?;
        let mapping = Self { words: address.cast(), count, mapped: Cell::new(0), access, map };
        mapping.map_up_to(1)?;
        Ok(mapping)
    }

    /// The word at `index`; 0 beyond the end.
    pub(super) fn load(&self, index: usize) -> u64 {
        self.words(index..index + 1).map_or(0, |words| words[0].load(Ordering::Relaxed))
    }

    /// How many words there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Some of the words; `None` beyond the end.
    pub(super) fn words(&self, range: Range<usize>) -> Option<&[AtomicU64]> {
        if range.end > self.count || range.start > range.end {
            return None;
        }
        if range.end * size_of::<u64>() > self.mapped.get()
            && let Err(error) = self.map_up_to(range.end * size_of::<u64>())
        {
            tracing::warn!(%error, "cannot map counters");
            return None;
        }
        // SAFETY: these words are mapped, aligned to a page, and stay until the drop.
        Some(unsafe {
            slice::from_raw_parts(self.words.as_ptr().add(range.start), range.end - range.start)
        })
    }

    /// Maps at least so many bytes from the start.
    #[cold]
    fn map_up_to(&self, wanted: usize) -> io::Result<()> {
        let page = usize::try_from(page_bytes().unwrap_or(PAGE_BYTES_MAX)).unwrap_or(STEP_BYTES);
        let all = (self.count * size_of::<u64>()).next_multiple_of(page);
        let before = self.mapped.get();
        // Not in small steps: each is a mapping of its own.
        let end = wanted.max(before + before / 4).next_multiple_of(STEP_BYTES).min(all);
        let Some(more) = NonZeroUsize::new(end.saturating_sub(before)) else { return Ok(()) };
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
        let at = NonZeroUsize::new(self.words.as_ptr().addr() + before);
        // SAFETY: the addresses are ours, and nothing refers to them yet.
        unsafe { mmap(at, more, self.access, flags, &self.map, before as i64) }?;
        self.mapped.set(end);
        Ok(())
    }
}

impl WritableMapping {
    /// Maps the first `count` words of a map.
    pub(super) fn of(map: impl AsFd, count: usize) -> io::Result<Self> {
        Mapping::with(map, count, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE).map(Self)
    }

    /// Some of the words, which may be written; `None` beyond the end.
    pub(super) fn words(&self, range: Range<usize>) -> Option<&[AtomicU64]> {
        self.0.words(range)
    }

    /// Unmaps what is beyond the first `count` words, except for a step.
    pub(super) fn shrink_to(&mut self, count: usize) {
        let kept = (count * size_of::<u64>()).next_multiple_of(STEP_BYTES).max(STEP_BYTES);
        let Some(excess) = self.0.mapped.get().checked_sub(kept).and_then(NonZeroUsize::new) else {
            return;
        };
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE | MapFlags::MAP_FIXED;
        let at = NonZeroUsize::new(self.0.words.as_ptr().addr() + kept);
        // SAFETY: the addresses are ours, and no reference to words outlives the exclusive borrow.
        match unsafe { mmap_anonymous(at, excess, ProtFlags::PROT_NONE, flags) } {
            Ok(_) => self.0.mapped.set(kept),
            Err(error) => tracing::debug!(%error, "counters stay mapped"),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the addresses are ours; no reference outlives `self`.
        if let Err(error) = unsafe { munmap(self.words.cast(), self.count * size_of::<u64>()) } {
            tracing::debug!(%error, "cannot unmap a counter table");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use nix::sys::memfd::{MFdFlags, memfd_create};

    use super::*;

    fn mapped(words: usize) -> WritableMapping {
        let file = File::from(memfd_create("words", MFdFlags::MFD_CLOEXEC).unwrap());
        file.set_len((words * size_of::<u64>()) as u64).unwrap();
        WritableMapping::of(&file, words).unwrap()
    }

    #[test]
    fn a_map_is_mapped_as_far_as_it_is_used() {
        const STEP: usize = STEP_BYTES / size_of::<u64>();
        let mut mapping = mapped(10 * STEP + 1);
        assert_eq!(mapping.0.mapped.get(), STEP_BYTES);
        let last = 3 * STEP - 1;
        mapping.words(last..last + 1).unwrap()[0].store(7, Ordering::Relaxed);
        assert_eq!(mapping.0.mapped.get(), 3 * STEP_BYTES);
        mapping.shrink_to(1);
        assert_eq!(mapping.0.mapped.get(), STEP_BYTES);
        assert_eq!(mapping.0.load(last), 7, "it is in the map, mapped or not");
        assert_eq!(mapping.words(10 * STEP..10 * STEP + 1).map(<[_]>::len), Some(1));
        assert!(mapping.words(10 * STEP..10 * STEP + 2).is_none());
        assert_eq!(mapping.0.load(10 * STEP + 1), 0);
    }
}
