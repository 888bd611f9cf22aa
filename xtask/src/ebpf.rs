//! Builds the kernel side of Tare into the object that `collector/build.rs` embeds.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::tools::Tools;
use crate::{calls, cmd, project};

/// BPF has two byte orders; a host loads only its own.
const TARGET: &str =
    if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };

/// Separates the flags in `CARGO_ENCODED_RUSTFLAGS`.
const FLAG_SEPARATOR: &str = "\u{1f}";

/// No function of a program may remain one, see [`calls`].
const INLINE: &str = "-Clink-arg=--llvm-args=--inline-threshold=1000000";

/// Builds the object and returns where it is.
pub(crate) fn build(tools: &Tools) -> Result<PathBuf> {
    cmd::run(&mut cargo(tools, "build"))?;
    let built = directory().join(TARGET).join("release/tare-ebpf");
    let object = directory().join("tare-ebpf.o");
    let new = fs::read(&built).with_context(|| format!("cannot read {built:?}"))?;
    let calling = calls::programs_with_calls(&new).with_context(|| format!("no ELF: {built:?}"))?;
    if !calling.is_empty() {
        bail!(
            "{} would stop a machine with Linux 5.10: a function was not inlined; see \
             xtask/src/calls.rs",
            calling.join(", ")
        );
    }
    // An untouched object spares the collector a build.
    if fs::read(&object).ok().as_ref() != Some(&new) {
        let partial = directory().join("tare-ebpf.o.new");
        fs::write(&partial, &new).with_context(|| format!("cannot write {partial:?}"))?;
        fs::rename(&partial, &object).with_context(|| format!("cannot write {object:?}"))?;
    }
    Ok(object)
}

/// A cargo command on the kernel side alone, with everything set that its target needs.
pub(crate) fn cargo(tools: &Tools, subcommand: &str) -> Command {
    let linker = format!("-Clinker={}", tools.bpf_linker.display());
    let flags = ["-Cdebuginfo=2", "-Clink-arg=--btf", INLINE, &linker].join(FLAG_SEPARATOR);
    let mut cargo = project::cargo();
    cargo
        .args([subcommand, "--package", "tare-ebpf", "--bin", "tare-ebpf", "--release"])
        .args(["--target", TARGET, "-Z", "build-std=core", "--target-dir"])
        .arg(directory())
        // The pinned stable compiler builds `core` too, where it is told that it may.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags);
    for unwanted in ["RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(unwanted);
    }
    cargo
}

fn directory() -> PathBuf {
    project::target().join("bpf")
}
