//! Real kernels in a virtual machine: `cargo xtask vm`.
//!
//! Each boot has a Debian kernel, an empty disk, and a user space of static programs: busybox,
//! `tare`, the loads and the tests. The CPU is emulated: most machines that run tests are virtual
//! machines without nested virtualisation.

mod boot;
mod debian;
mod disk;
mod initramfs;
mod kernel;
mod modules;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use self::{
    boot::{Machine, boot},
    initramfs::Content,
    kernel::{Kernel, RELEASED},
};
pub(crate) use self::{debian::run as package, kernel::Series};
use crate::{
    build::Statics,
    cmd,
    dist::Arch,
    packages::{self, Needed},
    project,
    results::{self, Results, Tally},
};

const NEEDED: [Needed; 3] =
    [("mke2fs", &["e2fsprogs"]), ("xz", &["xz-utils"]), ("zstd", &["zstd"])];

const INIT: &[u8] = include_bytes!("init.sh");

/// Drivers of the disk and of the devices that the tests use.
const MODULES: [&str; 10] = [
    "virtio_pci",
    "virtio_blk",
    "veth",
    "macvlan",
    "ipvlan",
    "loop",
    "null_blk",
    "brd",
    "overlay",
    "quota_v2",
];

const DISK_BYTES: u64 = 512 << 20;
const MEMORY_MEBIBYTES: u32 = 1024;

/// The test that loads every program.
const LOADS: &str = "every_program_is_accepted";

/// Which cgroups the machine mounts.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cgroups {
    /// Version 2 alone.
    V2,
    /// Version 1 alone.
    V1,
}

/// Runs the tests and prints a total; returns whether everything passed.
pub(crate) fn run_alone(
    series: &[Series],
    arch: Arch,
    cgroups: Cgroups,
    args: &[String],
) -> Result<bool> {
    passed(run(series, arch, cgroups, args)?)
}

/// Loads every program on every kernel that can be had, on both architectures, and once with
/// cgroup v1 alone; returns whether everything passed.
pub(crate) fn load_everywhere() -> Result<bool> {
    let (all, only) = (Series::value_variants(), [LOADS.to_owned()]);
    let mut total = run(all, Arch::X86_64, Cgroups::V2, &only)?;
    total.add(run(&[Series::V6_1], Arch::X86_64, Cgroups::V1, &only)?);
    total.add(run(all, Arch::Aarch64, Cgroups::V2, &only)?);
    passed(total)
}

fn passed(tally: Tally) -> Result<bool> {
    println!("\n{} passed, {} failed", tally.passed, tally.failed);
    Ok(tally.failed == 0)
}

/// Boots these kernels, or those of Debian's releases, one after the other. A kernel that cannot be
/// fetched, or does not run to the end, counts as one failed test.
pub(crate) fn run(
    series: &[Series],
    arch: Arch,
    cgroups: Cgroups,
    args: &[String],
) -> Result<Tally> {
    ready_to_boot(arch)?;
    let wanted = if series.is_empty() { &RELEASED } else { series };
    let kernel::Parts { kernels, busybox } = kernel::ready(arch, wanted)?;
    let statics = Statics::of(arch)?;
    let content = Content {
        init: INIT,
        modules: &MODULES,
        files: vec![
            ("bin/busybox", busybox),
            ("bin/tare", statics.build_tare()?),
            ("bin/tare-load", statics.build("tare-tests", "tare-load")?),
            ("bin/vm-tests", static_tests(&statics, "vm")?),
            ("quota.img", disk::with_quotas()?),
        ],
    };
    let mut total = Tally::default();
    for (series, kernel) in kernels {
        if cmd::interrupted() {
            bail!("interrupted");
        }
        let started = Instant::now();
        let result = kernel.and_then(|kernel| {
            results::with_second_try(|names| {
                run_once(&kernel, cgroups, &content, &names_or(args, names))
            })
        });
        let seconds = started.elapsed().as_secs_f64();
        let name = arch.suffixed(series.name());
        let mut tally = result.unwrap_or_else(|error| {
            eprintln!("Linux {name}: {error:#}");
            Tally::one_failed()
        });
        for test in &mut tally.at_second_try {
            *test = format!("{test} on Linux {name}");
        }
        let Tally { passed, failed, .. } = &tally;
        println!("Linux {name}: {passed} passed, {failed} failed, {seconds:.1} s");
        total.add(tally);
    }
    Ok(total)
}

fn run_once(
    kernel: &Kernel,
    cgroups: Cgroups,
    content: &Content,
    args: &[String],
) -> Result<Results> {
    println!("\n--- Linux {} ---", kernel.release);
    let directory = project::target().join("vm");
    let machine = Machine {
        kernel,
        cgroups,
        initramfs: directory.join("initramfs"),
        disk: directory.join("disk.img"),
        memory_mebibytes: MEMORY_MEBIBYTES,
        limit: limit(kernel.arch),
    };
    initramfs::write(kernel, content, args, &machine.initramfs)?;
    disk::empty(&machine.disk, DISK_BYTES)?;
    boot(&machine, &kernel.arch.suffixed(kernel.series.name()))
}

/// Emulation is slow, the more so on a busy machine and of another architecture.
const fn limit(arch: Arch) -> Duration {
    match arch {
        Arch::X86_64 => Duration::from_secs(480),
        Arch::Aarch64 => Duration::from_secs(1800),
    }
}

/// Installs what builds a machine and emulates it.
fn ready_to_boot(arch: Arch) -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        bail!("QEMU is called as on x86_64");
    }
    packages::install(&NEEDED)?;
    packages::install(boot::needed(arch))
}

/// Arguments of the test program: the given ones, or the names of tests to repeat.
fn names_or(args: &[String], names: &[String]) -> Vec<String> {
    match names {
        [] => args.to_vec(),
        names => [&["--exact".to_owned()], names].concat(),
    }
}

/// Builds the tests that run in a machine and returns the path of their program. `name` is that of
/// the tests and of their feature.
fn static_tests(statics: &Statics, name: &str) -> Result<PathBuf> {
    let mut cargo = statics.cargo("test")?;
    cargo.args(["--package", "tare-tests", "--features", name, "--test", name, "--no-run"]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    let messages = cmd::capture(&mut cargo)?;
    // One JSON object on each line; only the test itself has this name.
    let named = format!("\"name\":\"{name}\"");
    let path = messages.lines().filter(|line| line.contains(&named)).find_map(|line| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        rest.split('"').next().map(PathBuf::from)
    });
    path.context("cargo names no executable of the tests")
}
