//! Disk images.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{cmd, project};

/// The size of a file system with project quotas.
const QUOTA_BYTES: u64 = 4 << 20;

/// A sparse image with an empty file system.
pub(super) fn empty(file: &Path, bytes: u64) -> Result<()> {
    resize(File::create(file), file, bytes)?;
    // Lazy initialisation would write in the background, and tests count writes.
    cmd::check(mke2fs()?.args(["-E", "lazy_itable_init=0,lazy_journal_init=0"]).arg(file))
}

/// An empty file system that knows projects: its user space tools are not in the machine.
pub(super) fn with_quotas() -> Result<PathBuf> {
    let file = project::target().join("vm/quota.img");
    resize(File::create(&file), &file, QUOTA_BYTES)?;
    let mut format = mke2fs()?;
    format.args(["-O", "quota,project,^has_journal", "-E", "quotatype=prjquota"]);
    cmd::check(format.arg(&file))?;
    Ok(file)
}

/// Copies an image, with space for more files.
pub(super) fn grown(image: &Path, file: &Path, bytes: u64) -> Result<()> {
    cmd::run(Command::new("cp").arg("--sparse=always").arg(image).arg(file))?;
    resize(File::options().write(true).open(file), file, bytes)?;
    let resize = cmd::find("resize2fs").context("resize2fs is missing")?;
    cmd::check(Command::new(resize).arg("-f").arg(file))
}

fn resize(opened: std::io::Result<File>, file: &Path, bytes: u64) -> Result<()> {
    let opened = opened.with_context(|| format!("cannot make {file:?}"))?;
    opened.set_len(bytes).with_context(|| format!("cannot size {file:?}"))
}

fn mke2fs() -> Result<Command> {
    let mut format = Command::new(cmd::find("mke2fs").context("mke2fs is missing")?);
    format.args(["-q", "-F", "-t", "ext4"]);
    Ok(format)
}
