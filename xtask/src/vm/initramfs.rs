//! The machine's whole user space in one archive (`Documentation/driver-api/early-userspace`).
//!
//! Not compressed: an emulated CPU is slower at unpacking than this one is at copying.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::kernel::Kernel;
use super::modules::{Module, load_order};

const INIT: &[u8] = include_bytes!("init.sh");

/// Drivers of the disk and of the devices that the tests work on.
const MODULES: [&str; 8] =
    ["virtio_pci", "virtio_blk", "veth", "macvlan", "ipvlan", "loop", "null_blk", "brd"];

/// The programs in it.
pub(super) struct Programs {
    pub(super) busybox: PathBuf,
    pub(super) tare: PathBuf,
    pub(super) load: PathBuf,
    pub(super) tests: PathBuf,
}

/// Writes the archive for a kernel; `args` are for the test program.
pub(super) fn write(
    kernel: &Kernel,
    programs: &Programs,
    args: &[String],
    file: &Path,
) -> Result<()> {
    let mut archive = Archive::default();
    for directory in ["bin", "modules", "proc", "sys", "dev", "tmp", "data"] {
        archive.add(directory, DIRECTORY | 0o755, &[]);
    }
    archive.add("init", FILE | 0o755, INIT);
    for (name, from) in [
        ("busybox", &programs.busybox),
        ("tare", &programs.tare),
        ("tare-load", &programs.load),
        ("vm-tests", &programs.tests),
    ] {
        let contents = fs::read(from).with_context(|| format!("cannot read {from:?}"))?;
        archive.add(&format!("bin/{name}"), FILE | 0o755, &contents);
    }
    let modules = load_order(kernel, &MODULES)?;
    let names: Vec<&str> = modules.iter().map(|module| module.name.as_str()).collect();
    archive.add("modules/order", FILE | 0o644, names.join("\n").as_bytes());
    for Module { name, contents } in &modules {
        archive.add(&format!("modules/{name}.ko"), FILE | 0o644, contents);
    }
    let lines: String = args.iter().map(|arg| format!("{arg}\n")).collect();
    archive.add("arguments", FILE | 0o644, lines.as_bytes());
    let bytes = archive.finish();
    fs::write(file, bytes).with_context(|| format!("cannot write {file:?}"))
}

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

/// A cpio archive of the format `newc`.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, contents: &[u8]) {
        self.entries += 1;
        let links = if mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
        let size = u32::try_from(contents.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        // Inode, mode, uid, gid, links, mtime, size, device, device of a node, name, checksum.
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes().chain([0]));
        self.pad();
        self.bytes.extend(contents);
        self.pad();
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }

    /// Names and contents end at multiples of four bytes.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_the_form_that_the_kernel_reads() {
        let mut archive = Archive::default();
        archive.add("a", FILE | 0o644, b"hello");
        let bytes = archive.finish();
        assert!(bytes.starts_with(b"07070100000001000081a4"));
        assert_eq!(&bytes[110..112], b"a\0");
        assert_eq!(&bytes[112..120], b"hello\0\0\0");
        assert!(bytes[120..].starts_with(b"070701"));
        assert_eq!(bytes.len() % 4, 0);
    }
}
