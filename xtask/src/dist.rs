//! The release archive: binary, man pages, completions and a checksum.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    build::{self, Profile},
    cmd, project,
};

/// Shells, and the file names that they expect for completions.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "tare.bash"), ("zsh", "_tare"), ("fish", "tare.fish")];

/// Files that are copied unchanged.
const DOCUMENTS: [&str; 4] = ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"];

/// Builds everything into `target/dist` and returns the path of the archive.
pub(crate) fn run() -> Result<PathBuf> {
    let built = build::build(Profile::Release)?;
    let name = format!("tare-{}-{}", env!("CARGO_PKG_VERSION"), project::rustc_says("host")?);
    let dist = project::target().join("dist");
    let content = dist.join(&name);
    if content.exists() {
        fs::remove_dir_all(&content).with_context(|| format!("cannot remove {content:?}"))?;
    }
    let (manuals, completions) = (content.join("man/man1"), content.join("completions"));
    for directory in [&manuals, &completions] {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {directory:?}"))?;
    }

    let tare = content.join("tare");
    cmd::run(Command::new("strip").arg("--strip-all").arg("-o").arg(&tare).arg(built))?;
    cmd::run(Command::new(&tare).arg("manuals").arg(&manuals))?;
    for (shell, file) in COMPLETIONS {
        let script = cmd::capture(Command::new(&tare).args(["completions", shell]))?;
        write(&completions.join(file), &script)?;
    }
    for paper in DOCUMENTS {
        let from = project::root().join(paper);
        fs::copy(&from, content.join(paper)).with_context(|| format!("cannot copy {from:?}"))?;
    }
    pack(&dist, &name)
}

/// Packs the directory `name` and writes a checksum file next to the archive.
fn pack(dist: &Path, name: &str) -> Result<PathBuf> {
    let archive = format!("{name}.tar.gz");
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--create", "--gzip"]);
    cmd::run(tar.args(["--file", &archive, name]).current_dir(dist))?;
    let sum = cmd::capture(Command::new("sha256sum").arg(&archive).current_dir(dist))?;
    write(&dist.join(format!("{archive}.sha256")), &sum)?;
    Ok(dist.join(archive))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {path:?}"))
}
