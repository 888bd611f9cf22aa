//! Release archives and packages, in `target/dist`. Nothing in them depends on the time, or on
//! paths of this machine.

mod binary;
mod deb;
mod image;
mod licences;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

pub(crate) use self::{
    binary::{Arch, cross},
    image::{build as image, run as build_and_save_image},
};
use crate::{
    build::{self, Profile},
    cmd, project, tools,
};

/// The version that is built.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Shells, and the file names that they expect for completions.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "tare.bash"), ("zsh", "_tare"), ("fish", "tare.fish")];

/// Files that are copied unchanged, and where to.
const DOCUMENTS: [(&str, &str); 6] = [
    ("README.md", "README.md"),
    ("CHANGELOG.md", "CHANGELOG.md"),
    ("LICENSE-APACHE", "LICENSE-APACHE"),
    ("LICENSE-MIT", "LICENSE-MIT"),
    ("deploy/systemd/tare.service", "systemd/tare.service"),
    ("deploy/systemd/tare.sysusers.conf", "systemd/tare.sysusers.conf"),
];

/// Builds archives and packages for these architectures, and returns the path of the checksums.
pub(crate) fn run(archs: &[Arch]) -> Result<PathBuf> {
    let dist = directory();
    fs::create_dir_all(&dist).with_context(|| format!("cannot make {dist:?}"))?;
    let common = common_files(&dist)?;
    let mut made = Vec::new();
    for &arch in archs {
        let name = format!("tare-{VERSION}-linux-{}", arch.debian());
        let content = empty(&dist.join(&name))?;
        cmd::run(
            Command::new("cp")
                .args(["--recursive", "--no-target-directory"])
                .args([&common, &content]),
        )?;
        copy(&binary(arch)?, &content.join("tare"))?;
        let licences = licences::text(&arch.target())?;
        write(&content.join("LICENSES-THIRD-PARTY.txt"), &licences)?;
        write(&content.join("tare.cdx.json"), &sbom(&arch.target())?)?;
        made.push(pack(&dist, &name)?);
        made.push(deb::pack(arch, &content, &dist)?);
    }
    checksums(&dist, &made)
}

/// The path of the Debian package that `run` makes.
pub(crate) fn package(arch: Arch) -> PathBuf {
    directory().join(deb::name(arch))
}

/// Builds the static binary of an architecture and returns its path.
pub(crate) fn binary(arch: Arch) -> Result<PathBuf> {
    binary::build(arch, &project::target().join("dist-build"))
}

fn directory() -> PathBuf {
    project::target().join("dist")
}

/// Man pages, completions and documents, which are the same for all architectures.
fn common_files(dist: &Path) -> Result<PathBuf> {
    let common = empty(&dist.join("common"))?;
    let (manuals, completions) = (common.join("man/man1"), common.join("completions"));
    for directory in [&manuals, &completions, &common.join("systemd")] {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {directory:?}"))?;
    }
    let tare = build::build(Profile::Debug)?;
    cmd::run(Command::new(&tare).arg("manuals").arg(&manuals))?;
    for (shell, file) in COMPLETIONS {
        let script = cmd::capture(Command::new(&tare).args(["completions", shell]))?;
        write(&completions.join(file), &script)?;
    }
    for (from, to) in DOCUMENTS {
        copy(&project::root().join(from), &common.join(to))?;
    }
    Ok(common)
}

/// The components of the binary, as `CycloneDX`.
fn sbom(target: &str) -> Result<String> {
    const NAME: &str = "sbom";
    let mut cyclonedx = Command::new(tools::cargo_cyclonedx()?);
    cyclonedx.args(["cyclonedx", "--format", "json", "--target", target]);
    cyclonedx.args(["--no-build-deps", "--override-filename", NAME]);
    cyclonedx.args(["--manifest-path", "collector/Cargo.toml"]);
    // Otherwise the document would be another one each time.
    cyclonedx.env("SOURCE_DATE_EPOCH", "0").current_dir(project::root());
    cmd::run(&mut cyclonedx)?;
    // It writes a document beside the manifest of each member of the workspace.
    let text = fs::read_to_string(project::root().join("collector").join(format!("{NAME}.json")));
    for directory in project::members()? {
        let file = directory.join(format!("{NAME}.json"));
        fs::remove_file(&file).with_context(|| format!("cannot remove {file:?}"))?;
    }
    let mut document: serde_json::Value =
        serde_json::from_str(&text?).context("cargo-cyclonedx wrote no document")?;
    if let Some(document) = document.as_object_mut() {
        // A random number.
        document.remove("serialNumber");
    }
    let text = serde_json::to_string_pretty(&document)?;
    // Packages of the workspace are named by their paths.
    Ok(text.replace(&project::root().display().to_string(), "."))
}

/// Packs the directory `name`.
fn pack(dist: &Path, name: &str) -> Result<String> {
    let archive = format!("{name}.tar.gz");
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"]);
    tar.args(["--mode=u=rwX,go=rX", "--use-compress-program=gzip --no-name -9"]);
    cmd::run(tar.args(["--create", "--file", &archive, name]).current_dir(dist))?;
    Ok(archive)
}

fn checksums(dist: &Path, files: &[String]) -> Result<PathBuf> {
    let sums = cmd::capture(Command::new("sha256sum").args(files).current_dir(dist))?;
    let file = dist.join("SHA256SUMS");
    write(&file, &sums)?;
    Ok(file)
}

/// Makes a directory, empty.
fn empty(directory: &Path) -> Result<PathBuf> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("cannot remove {directory:?}"))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot make {directory:?}"))?;
    Ok(directory.to_owned())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {from:?} to {to:?}"))?;
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {path:?}"))
}
