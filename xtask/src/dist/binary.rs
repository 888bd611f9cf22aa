//! Static binaries, without paths of the machine that builds them.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use clap::ValueEnum;

use crate::{
    cmd, ebpf,
    packages::{self, Needed},
    project, tools,
};

/// What a static binary is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Arch {
    #[value(name = "x86_64")]
    X86_64,
    Aarch64,
}

impl Arch {
    /// The architecture of this machine, if binaries for it can be built.
    pub(crate) fn host() -> Option<Self> {
        match env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// Rust's name of it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// Debian's and Docker's name of it.
    pub(crate) const fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    pub(crate) fn target(self) -> String {
        format!("{}-unknown-linux-musl", self.name())
    }

    /// A name, with the architecture unless it is `x86_64`.
    pub(crate) fn suffixed(self, name: &str) -> String {
        match self {
            Self::X86_64 => name.to_owned(),
            Self::Aarch64 => format!("{name}-{}", self.name()),
        }
    }

    /// The C compiler, which compiles the cryptography of TLS and links.
    fn compiler(self) -> Result<&'static str> {
        if Self::host() == Some(self) {
            return Ok("cc");
        }
        let needed: &'static [Needed] = match self {
            Self::X86_64 => &[("x86_64-linux-gnu-gcc", &["gcc-x86-64-linux-gnu"])],
            Self::Aarch64 => &[("aarch64-linux-gnu-gcc", &["gcc-aarch64-linux-gnu"])],
        };
        packages::install(needed)?;
        Ok(needed[0].0)
    }
}

/// Builds `tare` below `directory` and returns its path.
pub(crate) fn build(arch: Arch, directory: &Path) -> Result<PathBuf> {
    let object = ebpf::build(&tools::ready()?)?;
    let mut cargo = project::cargo();
    cargo
        .args(["rustc", "--package", "tare", "--bin", "tare", "--profile", "dist", "--locked"])
        .arg("--target-dir")
        .arg(directory)
        .env("TARE_EBPF_OBJECT_PATH", object)
        .env("CARGO_ENCODED_RUSTFLAGS", flags()?)
        // C code: no path and no date of this machine.
        .env("SOURCE_DATE_EPOCH", "0")
        .env("CFLAGS", c_flags()?);
    cross(&mut cargo, arch)?;
    cargo.arg("--").args(linker_flags()?);
    cmd::run(&mut cargo)?;
    Ok(directory.join(arch.target()).join("dist/tare"))
}

/// Lets a cargo command build static programs for an architecture.
pub(crate) fn cross(cargo: &mut Command, arch: Arch) -> Result<()> {
    let target = arch.target();
    tools::rust_std(&target)?;
    let compiler = arch.compiler()?;
    cargo.args(["--target", &target]);
    cargo.env(format!("CC_{}", target.replace('-', "_")), compiler);
    cargo.env(linker_variable(&target), compiler);
    Ok(())
}

fn flags() -> Result<OsString> {
    let mut flags = OsString::from(
        "-Ctarget-feature=+crt-static\u{1f}-Clink-arg=-Wl,--build-id=none,-z,pack-relative-relocs",
    );
    for flag in project::remap_flags()? {
        flags.push("\u{1f}");
        flags.push(flag);
    }
    Ok(flags)
}

/// Rust's own linker, which keeps one of several functions with the same instructions.
fn linker_flags() -> Result<[String; 3]> {
    let host = project::rustc_says("host")?;
    let directory = project::sysroot()?.join("lib/rustlib").join(host).join("bin/gcc-ld");
    Ok([
        "-Clink-arg=-fuse-ld=lld".to_owned(),
        format!("-Clink-arg=-B{}", directory.display()),
        "-Clink-arg=-Wl,--icf=all".to_owned(),
    ])
}

fn c_flags() -> Result<OsString> {
    let mut flags = OsString::new();
    for (from, to) in project::path_prefixes()? {
        flags.push(" -ffile-prefix-map=");
        flags.push(from);
        flags.push(format!("={to}"));
    }
    Ok(flags)
}

fn linker_variable(target: &str) -> String {
    format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"))
}
