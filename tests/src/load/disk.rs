//! Block I/O.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use nix::libc;
use serde_json::{Value, json};

use super::units;

/// What buffers, offsets and lengths of direct I/O are aligned to; enough for every block device.
const ALIGNMENT: usize = 4096;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WriteMode {
    /// `O_DIRECT`: data are on the device when a call returns.
    Direct,
    /// Through the page cache; the kernel writes back later.
    Buffered,
    /// `O_SYNC`: through the page cache, written back before each call returns.
    Sync,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReadMode {
    /// `O_DIRECT`: from the device.
    Direct,
    /// Through the page cache.
    Buffered,
}

#[derive(Args, Debug)]
pub(super) struct Write {
    /// How many bytes.
    #[arg(long, value_parser = units::size)]
    bytes: u64,
    /// The file, made or emptied first.
    #[arg(long)]
    path: PathBuf,
    /// Overwrite an existing file instead.
    #[arg(long)]
    in_place: bool,
    /// Bytes of each call.
    #[arg(long, default_value = "1MiB", value_parser = units::buffer_size)]
    block: usize,
    #[arg(long, value_enum, default_value_t = WriteMode::Direct)]
    mode: WriteMode,
    /// End with `fsync`.
    #[arg(long)]
    fsync: bool,
}

impl Write {
    /// Overwrites existing data with one direct call. Where it allocates, a file system may fall
    /// back to the page cache, whose writeback may be charged to another cgroup.
    pub(super) fn direct_in_place(path: PathBuf, bytes: u64) -> Self {
        let block = clamp(bytes, 1 << 20);
        Self { bytes, path, in_place: true, block, mode: WriteMode::Direct, fsync: false }
    }

    pub(super) fn apply(self) -> Result<Value> {
        let flags = match self.mode {
            WriteMode::Direct => {
                check_alignment(self.bytes, self.block)?;
                libc::O_DIRECT
            }
            WriteMode::Buffered => 0,
            WriteMode::Sync => libc::O_SYNC,
        };
        let file = OpenOptions::new()
            .write(true)
            .create(!self.in_place)
            .truncate(!self.in_place)
            .custom_flags(flags)
            .open(&self.path)
            .with_context(|| format!("open {} for writing", self.path.display()))?;
        let calls = self
            .fill(&file)
            .with_context(|| format!("write {} bytes to {}", self.bytes, self.path.display()))?;
        if self.fsync {
            file.sync_all().with_context(|| format!("fsync {}", self.path.display()))?;
        }
        Ok(json!({ "load": "write", "bytes": self.bytes, "calls": calls }))
    }

    fn fill(&self, mut file: &File) -> Result<u64> {
        let mut buffer = Aligned::new(self.block);
        buffer.bytes().fill(b't');
        let (mut left, mut calls) = (self.bytes, 0);
        while left > 0 {
            let want = clamp(left, self.block);
            let done = file.write(&buffer.bytes()[..want])?;
            ensure!(done > 0, "nothing was written with {left} bytes left");
            left -= done as u64;
            calls += 1;
        }
        Ok(calls)
    }
}

#[derive(Args, Debug)]
pub(super) struct Read {
    /// How many bytes.
    #[arg(long, value_parser = units::size)]
    bytes: u64,
    /// The file, which must hold that many.
    #[arg(long)]
    path: PathBuf,
    /// Bytes of each call.
    #[arg(long, default_value = "1MiB", value_parser = units::buffer_size)]
    block: usize,
    #[arg(long, value_enum, default_value_t = ReadMode::Direct)]
    mode: ReadMode,
}

impl Read {
    pub(super) fn apply(self) -> Result<Value> {
        let flags = match self.mode {
            ReadMode::Direct => {
                check_alignment(self.bytes, self.block)?;
                libc::O_DIRECT
            }
            ReadMode::Buffered => 0,
        };
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(&self.path)
            .with_context(|| format!("open {} for reading", self.path.display()))?;
        let calls = self
            .drain(&file)
            .with_context(|| format!("read {} bytes of {}", self.bytes, self.path.display()))?;
        Ok(json!({ "load": "read", "bytes": self.bytes, "calls": calls }))
    }

    fn drain(&self, mut file: &File) -> Result<u64> {
        let mut buffer = Aligned::new(self.block);
        let (mut left, mut calls) = (self.bytes, 0);
        while left > 0 {
            let want = clamp(left, self.block);
            let done = file.read(&mut buffer.bytes()[..want])?;
            ensure!(done > 0, "the file ends {left} bytes too early");
            left -= done as u64;
            calls += 1;
        }
        Ok(calls)
    }
}

fn check_alignment(bytes: u64, block: usize) -> Result<()> {
    if !bytes.is_multiple_of(ALIGNMENT as u64) || !block.is_multiple_of(ALIGNMENT) {
        bail!("direct I/O needs --bytes and --block in multiples of {ALIGNMENT}");
    }
    Ok(())
}

/// The smaller of the two.
pub(super) fn clamp(left: u64, at_most: usize) -> usize {
    usize::try_from(left).map_or(at_most, |left| left.min(at_most))
}

/// A buffer that direct I/O accepts.
struct Aligned {
    storage: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    fn new(len: usize) -> Self {
        let storage = vec![0; len + ALIGNMENT];
        let start = storage.as_ptr().align_offset(ALIGNMENT);
        Self { storage, start, len }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_buffers_are_aligned_and_whole() {
        let mut buffer = Aligned::new(3 * ALIGNMENT);
        assert_eq!(buffer.bytes().len(), 3 * ALIGNMENT);
        assert_eq!(buffer.bytes().as_ptr() as usize % ALIGNMENT, 0);
    }

    #[test]
    fn unaligned_direct_lengths_are_refused() {
        assert!(check_alignment(4096, 8192).is_ok());
        assert!(check_alignment(4097, 4096).is_err());
        assert!(check_alignment(4096, 512).is_err());
    }
}
