//! The project's directories, and its compiler.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::cmd;

/// The workspace's directory.
pub(crate) fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map(Path::to_path_buf).unwrap_or(manifest)
}

/// Cargo's target directory, for all that is built or installed.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(target) => root().join(target),
        None => root().join("target"),
    }
}

/// A command of the cargo that runs this program, in the workspace.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// The directories of all crates of the workspace.
pub(crate) fn members() -> Result<Vec<PathBuf>> {
    let mut metadata = cargo();
    metadata.args(["metadata", "--format-version", "1", "--no-deps", "--locked"]);
    let metadata: serde_json::Value = serde_json::from_str(&cmd::capture(&mut metadata)?)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifests = packages.filter_map(|package| package["manifest_path"].as_str());
    Ok(manifests.filter_map(|path| Some(Path::new(path).parent()?.to_owned())).collect())
}

/// Prefixes of paths on this machine, and what replaces them in binaries.
pub(crate) fn path_prefixes() -> Result<[(PathBuf, &'static str); 4]> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let cargo = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo = cargo.or_else(|| Some(home?.join(".cargo"))).context("there is no CARGO_HOME")?;
    let sysroot = sysroot()?;
    // rustup's name of the toolchain may be a link to another one.
    let real = sysroot.canonicalize().with_context(|| format!("cannot read {sysroot:?}"))?;
    Ok([(root(), "tare"), (cargo, "cargo"), (sysroot, "rust"), (real, "rust")])
}

/// The directory of the toolchain.
pub(crate) fn sysroot() -> Result<PathBuf> {
    let mut rustc = Command::new("rustc");
    let sysroot = cmd::capture(rustc.args(["--print", "sysroot"]).current_dir(root()))?;
    Ok(PathBuf::from(sysroot.trim_end()))
}

/// Flags for rustc that keep paths of this machine out of binaries.
pub(crate) fn remap_flags() -> Result<Vec<OsString>> {
    let flag = |(from, to): (PathBuf, &str)| {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from);
        flag.push(format!("={to}"));
        flag
    };
    Ok(path_prefixes()?.into_iter().map(flag).collect())
}

/// A value of `rustc -vV`, which prints lines `key: value`.
pub(crate) fn rustc_says(key: &str) -> Result<String> {
    let text = cmd::capture(Command::new("rustc").arg("-vV").current_dir(root()))?;
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
        .map(str::to_owned)
        .with_context(|| format!("`rustc -vV` says no `{key}`"))
}
