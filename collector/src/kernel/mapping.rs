//! The memory of a kernel map, mapped to be used without system calls.

use std::{
    io,
    num::NonZeroUsize,
    os::fd::AsFd,
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicU64, Ordering},
};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// The words of a `BPF_F_MMAPABLE` array (Linux 5.5). The kernel writes them, this process reads.
pub(super) struct Mapping {
    words: NonNull<AtomicU64>,
    count: usize,
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
        // SAFETY: a new mapping at an address that the kernel chooses.
        let address = unsafe { mmap(None, bytes, access, MapFlags::MAP_SHARED, map, 0) }?;
        Ok(Self { words: address.cast(), count })
    }

    /// The word at `index`; 0 beyond the end.
    pub(super) fn load(&self, index: usize) -> u64 {
        self.words().get(index).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// All words.
    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: `count` words were mapped, are aligned to a page, and stay until the drop.
        unsafe { slice::from_raw_parts(self.words.as_ptr(), self.count) }
    }
}

impl WritableMapping {
    /// Maps the first `count` words of a map.
    pub(super) fn of(map: impl AsFd, count: usize) -> io::Result<Self> {
        Mapping::with(map, count, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE).map(Self)
    }

    /// All words, which may be written.
    pub(super) fn words(&self) -> &[AtomicU64] {
        self.0.words()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `of` with this length; no reference outlives `self`.
        if let Err(error) = unsafe { munmap(self.words.cast(), self.count * size_of::<u64>()) } {
            tracing::debug!(%error, "cannot unmap a counter table");
        }
    }
}
