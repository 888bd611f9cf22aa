//! A little of everything, like a working container.

use std::{
    hint::black_box,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    num::NonZeroUsize,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Args;
use nix::{
    libc,
    sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap},
};

/// Interval of the work.
const ROUND: Duration = Duration::from_millis(100);
const BURN: Duration = Duration::from_millis(1);
const MEMORY: usize = 1 << 20;
const MESSAGE: usize = 16 << 10;
const BLOCK: usize = 4 << 10;

#[derive(Args, Debug)]
pub(super) struct Work {
    /// A file for direct writes.
    #[arg(long)]
    file: PathBuf,
}

impl Work {
    /// Ten times a second: CPU time, memory, bytes over TCP and a block to the disk.
    pub(super) fn run(self) -> Result<()> {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .custom_flags(libc::O_DIRECT)
            .open(&self.file)
            .with_context(|| format!("open {}", self.file.display()))?;
        // Direct writes need page-aligned memory.
        let mut block = Pages::touch(BLOCK)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
        let mut ours = TcpStream::connect(listener.local_addr()?).context("connect")?;
        let mut theirs = listener.accept().context("accept")?.0;
        let mut message = vec![0; MESSAGE];
        super::say("ready")?;
        let mut next = Instant::now();
        loop {
            next += ROUND;
            burn(BURN);
            let held = Pages::touch(MEMORY)?;
            ours.write_all(&message).context("send")?;
            theirs.read_exact(&mut message).context("receive")?;
            file.write_all_at(block.bytes(), 0).context("write")?;
            thread::sleep(next.saturating_duration_since(Instant::now()));
            drop(held);
        }
    }
}

/// Burns CPU for this time.
pub(super) fn burn(time: Duration) {
    let end = Instant::now() + time;
    let mut x = 1_u64;
    while Instant::now() < end {
        for _ in 0..100 {
            x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}

/// Memory mapped from the kernel and unmapped on drop; an allocator would keep it.
pub(super) struct Pages {
    start: std::ptr::NonNull<libc::c_void>,
    bytes: usize,
}

impl Pages {
    /// Maps `bytes` and writes to all of them.
    pub(super) fn touch(bytes: usize) -> Result<Self> {
        let length = NonZeroUsize::new(bytes).context("no bytes")?;
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping of nothing, where the kernel finds room.
        let start = unsafe { mmap_anonymous(None, length, rights, MapFlags::MAP_PRIVATE) };
        let mut pages = Self { start: start.context("mmap")?, bytes };
        pages.bytes().fill(1);
        Ok(pages)
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping has so many bytes, can be read and written, and is ours alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.cast().as_ptr(), self.bytes) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and no borrow of it is left.
        let _ = unsafe { munmap(self.start, self.bytes) };
    }
}
