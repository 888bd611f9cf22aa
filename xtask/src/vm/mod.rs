//! Real kernels in a virtual machine: `cargo xtask vm`.
//!
//! Each boot has a Debian kernel, an empty disk, and a user space of static programs: busybox,
//! `tare`, the loads and the tests. The CPU is emulated: most machines that run tests are virtual
//! machines without nested virtualisation.

mod boot;
mod initramfs;
mod kernel;
mod modules;

use std::{path::PathBuf, time::Instant};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

pub(crate) use self::kernel::Series;
use self::{initramfs::Programs, kernel::RELEASED};
use crate::{
    build::Statics,
    cmd,
    dist::Arch,
    packages::{self, Needed},
    project,
    results::{self, Tally},
};

const NEEDED: [Needed; 3] =
    [("mke2fs", &["e2fsprogs"]), ("xz", &["xz-utils"]), ("zstd", &["zstd"])];

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
    if !cfg!(target_arch = "x86_64") {
        bail!("QEMU is called as on x86_64");
    }
    packages::install(&NEEDED)?;
    packages::install(boot::needed(arch))?;
    let wanted = if series.is_empty() { &RELEASED } else { series };
    let kernel::Parts { kernels, busybox } = kernel::ready(arch, wanted)?;
    let statics = Statics::of(arch)?;
    let programs = Programs {
        busybox,
        tare: statics.build_tare()?,
        load: statics.build("tare-tests", "tare-load")?,
        tests: static_tests(&statics)?,
    };
    let mut total = Tally::default();
    for (series, kernel) in kernels {
        if cmd::interrupted() {
            bail!("interrupted");
        }
        let started = Instant::now();
        let result = kernel.and_then(|kernel| {
            results::with_second_try(|names| {
                println!("\n--- Linux {} ---", kernel.release);
                let archive = project::target().join("vm/initramfs");
                initramfs::write(&kernel, &programs, &arguments(args, names), &archive)?;
                boot::boot(&kernel, cgroups, &archive)
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

/// Arguments of the test program: the given ones, or the names of tests to repeat.
fn arguments(args: &[String], names: &[String]) -> Vec<String> {
    match names {
        [] => args.to_vec(),
        names => [&["--exact".to_owned()], names].concat(),
    }
}

/// Builds the tests that run in the machine and returns the path of their program.
fn static_tests(statics: &Statics) -> Result<PathBuf> {
    let mut cargo = statics.cargo("test")?;
    cargo.args(["--package", "tare-tests", "--features", "vm", "--test", "vm", "--no-run"]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    let messages = cmd::capture(&mut cargo)?;
    // One JSON object on each line; only the test itself has this name.
    let path = messages.lines().filter(|line| line.contains("\"name\":\"vm\"")).find_map(|line| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        rest.split('"').next().map(PathBuf::from)
    });
    path.context("cargo names no executable of the tests")
}
