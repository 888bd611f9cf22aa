//! Builds `tare` with the BPF object embedded, and static programs for tests.

use std::{path::PathBuf, process::Command, thread};

use anyhow::Result;

use crate::{
    cmd,
    dist::{self, Arch},
    ebpf, project, tools,
};

/// How `tare` is compiled: a profile of `Cargo.toml`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Debug,
    /// Optimised, and compiled in half the time of `Release`.
    Quick,
    /// What is released, tested and measured.
    Release,
}

impl Profile {
    /// Its name for cargo.
    const fn name(self) -> &'static str {
        match self {
            Self::Debug => "dev",
            Self::Quick => "quick",
            Self::Release => "release",
        }
    }

    /// Its directory in the target directory.
    const fn directory(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Quick | Self::Release => self.name(),
        }
    }
}

/// Builds the BPF object, then `tare`, and returns the path of the binary.
pub(crate) fn build(profile: Profile) -> Result<PathBuf> {
    if ebpf::object().exists() {
        ebpf::build(&tools::ready()?)?;
    } else {
        build_object_and_dependencies(profile)?;
    }
    let mut cargo = project::cargo();
    cmd::run(cargo.args(["build", "--package", "tare", "--profile", profile.name()]))?;
    Ok(project::target().join(profile.directory()).join("tare"))
}

/// The first build: `tare` needs the BPF object, whose tools take a while. The dependencies of
/// `tare` do not, and are compiled at the same time. If that fails, so will the build of `tare`,
/// which reports it.
fn build_object_and_dependencies(profile: Profile) -> Result<()> {
    let dependencies = dependencies()?;
    eprintln!("Building {} dependencies of tare at the same time", dependencies.len());
    let mut cargo = project::cargo();
    cargo.args(["build", "--lib", "--quiet", "--profile", profile.name()]);
    for dependency in dependencies {
        cargo.args(["--package", &dependency]);
    }
    thread::scope(|scope| {
        scope.spawn(move || cmd::run(&mut cargo));
        ebpf::build(&tools::ready()?).map(|_| ())
    })
}

/// The crates that `tare` depends on directly, as `name@version`.
fn dependencies() -> Result<Vec<String>> {
    let mut tree = project::cargo();
    tree.args(["tree", "--package", "tare", "--edges", "normal", "--depth", "1"]);
    let tree = cmd::capture(tree.args(["--prefix", "none", "--format", "{p}"]))?;
    Ok(tree.lines().filter_map(registry_package).collect())
}

/// `name@version` for `name vVERSION`; nothing for crates of the workspace, whose path follows.
fn registry_package(line: &str) -> Option<String> {
    let (name, version) = line.split_once(" v")?;
    (!version.contains(' ')).then(|| format!("{name}@{version}"))
}

/// Builds `tare-load`, statically linked: it runs in an empty image.
pub(crate) fn static_load() -> Result<PathBuf> {
    static_program("tare-load")
}

/// Builds a program of the tests, statically linked.
pub(crate) fn static_program(name: &str) -> Result<PathBuf> {
    Statics::host()?.build("tare-tests", name)
}

/// How static programs are built: for this machine with glibc, for another architecture with musl.
pub(crate) struct Statics {
    target: String,
    /// If it is not this machine's.
    other: Option<Arch>,
}

impl Statics {
    /// For this machine.
    pub(crate) fn host() -> Result<Self> {
        Ok(Self { target: project::rustc_says("host")?, other: None })
    }

    /// For an architecture.
    pub(crate) fn of(arch: Arch) -> Result<Self> {
        if Arch::host() == Some(arch) {
            return Self::host();
        }
        Ok(Self { target: arch.target(), other: Some(arch) })
    }

    /// Builds a program and returns its path.
    pub(crate) fn build(&self, package: &str, name: &str) -> Result<PathBuf> {
        let mut cargo = self.cargo("build")?;
        cmd::run(cargo.args(["--package", package, "--bin", name]))?;
        Ok(self.directory().join(&self.target).join("release").join(name))
    }

    /// Builds `tare`, for a virtual machine without libraries.
    pub(crate) fn build_tare(&self) -> Result<PathBuf> {
        ebpf::build(&tools::ready()?)?;
        self.build("tare", "tare")
    }

    /// A cargo command for statically linked programs.
    pub(crate) fn cargo(&self, subcommand: &str) -> Result<Command> {
        let mut cargo = project::cargo();
        cargo
            .args([subcommand, "--release", "--target-dir"])
            .arg(self.directory())
            .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
        match self.other {
            Some(arch) => dist::cross(&mut cargo, arch)?,
            // With an explicit target, the flags do not apply to build scripts and macros.
            None => {
                cargo.args(["--target", &self.target]);
            }
        }
        Ok(cargo)
    }

    fn directory(&self) -> PathBuf {
        project::target().join("static")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_crates_of_the_registry() {
        assert_eq!(registry_package("nix v0.31.3"), Some("nix@0.31.3".to_owned()));
        assert_eq!(registry_package("tare-ebpf v0.1.0 (/home/me/tare/collector-ebpf)"), None);
        let found = dependencies().unwrap();
        assert!(found.iter().any(|one| one.starts_with("tokio@")), "{found:?}");
        assert!(!found.iter().any(|one| one.starts_with("tare")), "{found:?}");
    }
}
