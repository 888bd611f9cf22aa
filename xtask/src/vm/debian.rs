//! A Debian with systemd and Docker, in which the package is installed.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    Cgroups, Series,
    boot::{Machine, boot},
    disk,
    initramfs::{self, Content},
    kernel, names_or, ready_to_boot, static_tests,
};
use crate::{
    apt::{Apt, Archive},
    build::Statics,
    cmd,
    dist::{self, Arch},
    packages, project,
    results::{self, Tally},
};

/// The suite, and the kernel of its release.
const SUITE: &str = "bookworm";
const KERNEL: Series = Series::V6_1;

/// What the tests call, beside Debian's essential packages and apt.
const PACKAGES: &str = "systemd-sysv,docker.io,apparmor,bpftool,curl";

const INIT: &[u8] = include_bytes!("debian.sh");

/// Drivers of the disk, and the file system that Docker uses.
const MODULES: [&str; 3] = ["virtio_pci", "virtio_blk", "overlay"];

const DISK_BYTES: u64 = 2 << 30;
const MEMORY_MEBIBYTES: u32 = 1536;
/// Six minutes on a quiet machine.
const LIMIT: Duration = Duration::from_secs(1800);

/// Builds the package, boots Debian and runs the tests of the package there.
pub(crate) fn run() -> Result<Tally> {
    let arch = Arch::X86_64;
    dist::run(&[arch])?;
    ready_to_boot(arch)?;
    let kernel::Parts { mut kernels, busybox } = kernel::ready(arch, &[KERNEL])?;
    let (_, kernel) = kernels.pop().context("no kernel")?;
    let (kernel, image, statics) = (kernel?, image()?, Statics::of(arch)?);
    let content = Content {
        init: INIT,
        modules: &MODULES,
        files: vec![
            ("bin/busybox", busybox),
            ("package/tare.deb", dist::package(arch)),
            ("package/tare-load", statics.build("tare-tests", "tare-load")?),
            ("package/tests", static_tests(&statics, "package")?),
        ],
    };
    let directory = project::target().join("vm");
    let machine = Machine {
        kernel: &kernel,
        cgroups: Cgroups::V2,
        initramfs: directory.join("debian.initramfs"),
        disk: directory.join("debian.disk"),
        memory_mebibytes: MEMORY_MEBIBYTES,
        limit: LIMIT,
    };
    results::with_second_try(|names| {
        println!("\n--- Debian {SUITE}, Linux {} ---", kernel.release);
        initramfs::write(&kernel, &content, &names_or(&[], names), &machine.initramfs)?;
        disk::grown(&image, &machine.disk, DISK_BYTES)?;
        boot(&machine, "debian")
    })
}

/// An image of the installed system; fetched once.
fn image() -> Result<PathBuf> {
    let image = project::target().join("vm/debian.ext2");
    if image.exists() {
        return Ok(image);
    }
    packages::install(&[("mmdebstrap", &["mmdebstrap"]), ("genext2fs", &["genext2fs"])])?;
    let apt = Apt::open(&BTreeSet::from([(Archive::Main, SUITE)]))?;
    let partial = image.with_extension("partial");
    let mut make = Command::new("mmdebstrap");
    make.args(["--quiet", "--variant=apt", "--format=ext2"]);
    make.arg(format!("--include={PACKAGES}")).arg(SUITE).arg(&partial);
    cmd::run(make.arg(apt.sources_list()))?;
    fs::rename(&partial, &image).with_context(|| format!("cannot make {image:?}"))?;
    Ok(image)
}
