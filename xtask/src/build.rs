//! Builds `tare` with its kernel side inside, and programs that run where no library is.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::{cmd, ebpf, project, tools};

/// How `tare` is compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Debug,
    Release,
}

/// Builds the BPF object, then the binary around it, and returns where the binary is.
pub(crate) fn build(profile: Profile) -> Result<PathBuf> {
    ebpf::build(&tools::ready()?)?;
    let mut cargo = project::cargo();
    cargo.args(["build", "--package", "tare"]);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    cmd::run(&mut cargo)?;
    let directory = match profile {
        Profile::Debug => "debug",
        Profile::Release => "release",
    };
    Ok(project::target().join(directory).join("tare"))
}

/// Builds the program that makes known loads; static, so that it runs in an empty image.
pub(crate) fn static_load() -> Result<PathBuf> {
    static_program("tare-load")
}

/// Builds a program of the tests; static, likewise.
pub(crate) fn static_program(name: &str) -> Result<PathBuf> {
    let mut cargo = static_cargo("build")?;
    cmd::run(cargo.args(["--package", "tare-tests", "--bin", name]))?;
    Ok(static_directory()?.join(name))
}

/// Builds `tare` with its kernel side inside; static, for a machine that holds nothing else.
pub(crate) fn static_tare() -> Result<PathBuf> {
    ebpf::build(&tools::ready()?)?;
    let mut cargo = static_cargo("build")?;
    cmd::run(cargo.args(["--package", "tare", "--bin", "tare"]))?;
    Ok(static_directory()?.join("tare"))
}

/// A cargo command on static programs for this machine's kind.
pub(crate) fn static_cargo(subcommand: &str) -> Result<Command> {
    let mut cargo = project::cargo();
    cargo
        .args([subcommand, "--release"])
        // With a target named, the flags are not for build scripts and macros.
        .args(["--target", &project::rustc_says("host")?, "--target-dir"])
        .arg(static_target())
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    Ok(cargo)
}

fn static_directory() -> Result<PathBuf> {
    Ok(static_target().join(project::rustc_says("host")?).join("release"))
}

fn static_target() -> PathBuf {
    project::target().join("static")
}
