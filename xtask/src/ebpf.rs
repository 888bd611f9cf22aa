//! Builds the BPF object that `collector/build.rs` embeds.

use std::{ffi::OsString, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};
use object::{
    build::elf::{Builder, SectionData},
    elf,
};

use crate::{bpf_calls, cmd, project, tools::Tools};

/// A host loads only BPF of its own byte order.
const TARGET: &str =
    if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };

/// Separates the flags in `CARGO_ENCODED_RUSTFLAGS`.
const FLAG_SEPARATOR: &str = "\u{1f}";

/// All functions must be inlined, see [`bpf_calls`].
const INLINE: &str = "-Clink-arg=--llvm-args=--inline-threshold=1000000";

/// Builds the object and returns its path.
pub(crate) fn build(tools: &Tools) -> Result<PathBuf> {
    cmd::run(&mut cargo(tools, "build")?)?;
    let built = directory().join(TARGET).join("release/tare-ebpf");
    let object = object();
    let new = fs::read(&built).with_context(|| format!("cannot read {built:?}"))?;
    let calling = bpf_calls::programs_with_calls(&new).with_context(|| format!("{built:?}"))?;
    if !calling.is_empty() {
        bail!(
            "{} would crash a machine with Linux 5.10: a function was not inlined; see \
             xtask/src/bpf_calls.rs",
            calling.join(", ")
        );
    }
    let new = without_dwarf(&new).with_context(|| format!("{built:?}"))?;
    // Rewriting an unchanged object would make cargo build the collector again.
    if fs::read(&object).ok().as_ref() != Some(&new) {
        let partial = directory().join("tare-ebpf.o.new");
        fs::write(&partial, &new).with_context(|| format!("cannot write {partial:?}"))?;
        fs::rename(&partial, &object).with_context(|| format!("cannot write {object:?}"))?;
    }
    Ok(object)
}

/// A cargo command for the BPF crate, with all that its target needs.
pub(crate) fn cargo(tools: &Tools, subcommand: &str) -> Result<Command> {
    let linker = format!("-Clinker={}", tools.bpf_linker.display());
    let mut flags =
        OsString::from(["-Cdebuginfo=2", "-Clink-arg=--btf", INLINE, &linker].join(FLAG_SEPARATOR));
    // BTF holds the paths of sources.
    for flag in project::remap_flags()? {
        flags.push(FLAG_SEPARATOR);
        flags.push(flag);
    }
    let mut cargo = project::cargo();
    cargo
        .args([subcommand, "--package", "tare-ebpf", "--bin", "tare-ebpf", "--release"])
        .args(["--target", TARGET, "-Z", "build-std=core", "--target-dir"])
        .arg(directory())
        // `build-std` is unstable; this allows it with the pinned stable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags);
    for unwanted in ["RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(unwanted);
    }
    Ok(cargo)
}

/// The object without its DWARF sections, which are nine tenths of it. The kernel and the loader
/// read BTF only.
fn without_dwarf(object: &[u8]) -> Result<Vec<u8>> {
    let mut object = Builder::read(object)?;
    for section in &mut object.sections {
        let name = section.name.as_slice();
        section.delete = name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    }
    object.delete_orphans();
    // LLVM keeps names of sections among those of symbols; the writer wants them apart.
    let names = object.sections.add();
    names.name = b".shstrtab"[..].into();
    names.sh_type = elf::SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut out = Vec::new();
    object.write(&mut out)?;
    Ok(out)
}

/// Where the object is, once it is built.
pub(crate) fn object() -> PathBuf {
    directory().join("tare-ebpf.o")
}

fn directory() -> PathBuf {
    project::target().join("bpf")
}
