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
use clap::ValueEnum as _;

use self::initramfs::Programs;
pub(crate) use self::kernel::Series;
use crate::{
    build, cmd,
    packages::{self, Needed},
    project,
    results::{self, Tally},
};

const NEEDED: [Needed; 4] = [
    ("qemu-system-x86_64", &["qemu-system-x86"]),
    ("mke2fs", &["e2fsprogs"]),
    ("xz", &["xz-utils"]),
    ("zstd", &["zstd"]),
];

/// Runs the tests and prints a total; returns whether everything passed.
pub(crate) fn run_alone(series: &[Series], args: &[String]) -> Result<bool> {
    let tally = run(series, args)?;
    println!("\n{} passed, {} failed", tally.passed, tally.failed);
    Ok(tally.failed == 0)
}

/// Boots these kernels, or all, one after the other. A kernel that cannot be fetched, or does not
/// run to the end, counts as one failed test.
pub(crate) fn run(series: &[Series], args: &[String]) -> Result<Tally> {
    if !cfg!(target_arch = "x86_64") {
        bail!("the kernels to boot are for x86_64, and `tare` is not");
    }
    packages::install(&NEEDED)?;
    let wanted = if series.is_empty() { Series::value_variants() } else { series };
    let kernel::Parts { kernels, busybox } = kernel::ready(wanted)?;
    let programs = Programs {
        busybox,
        tare: build::static_tare()?,
        load: build::static_load()?,
        tests: static_tests()?,
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
                boot::boot(&kernel, &archive)
            })
        });
        let seconds = started.elapsed().as_secs_f64();
        let mut tally = result.unwrap_or_else(|error| {
            eprintln!("Linux {}: {error:#}", series.name());
            Tally::one_failed()
        });
        for name in &mut tally.at_second_try {
            *name = format!("{name} on Linux {}", series.name());
        }
        let Tally { passed, failed, .. } = &tally;
        println!("Linux {}: {passed} passed, {failed} failed, {seconds:.1} s", series.name());
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
fn static_tests() -> Result<PathBuf> {
    let mut cargo = build::static_cargo("test")?;
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
