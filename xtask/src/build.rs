//! Builds `tare` with its kernel side inside.

use std::path::PathBuf;

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
