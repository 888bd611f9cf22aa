//! Copies of captured hosts with a given number of containers.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::tests;

/// The container that is copied.
const ID: &str = "60891bae9fd3dc0db73688ed83f48be924c2992a4e1b6d74ab4ad46188f5a3ba";

/// A copy of a fixture; removed on drop.
pub(crate) struct Tree {
    directory: TempDir,
}

impl Tree {
    /// Copies a fixture, with `containers` copies of one container.
    pub(crate) fn new(fixture: &str, containers: usize) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a directory")?;
        let source = tests().join("fixtures").join(fixture);
        copy(&source, directory.path(), containers)
            .with_context(|| format!("cannot copy {}", source.display()))?;
        Ok(Self { directory })
    }

    /// A part of the host: `cgroup`, `proc` or `sys`.
    pub(crate) fn part(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

fn copy(from: &Path, to: &Path, containers: usize) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, name) = (entry.path(), entry.file_name());
        let target = to.join(&name);
        if !source.is_dir() {
            fs::copy(&source, &target)?;
            continue;
        }
        fs::create_dir(&target)?;
        copy(&source, &target, containers)?;
        let name = name.to_str().context("a name is not UTF-8")?;
        if from.join(name).is_dir() && name.contains(ID) {
            for number in 1..containers {
                let id = format!("{number:08x}{}", &ID[8..]);
                ensure!(id != ID, "the containers are too many");
                link(&target, &to.join(name.replace(ID, &id)))?;
            }
        }
    }
    Ok(())
}

/// A directory with hard links to the same files.
fn link(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::hard_link(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
