//! The cgroups that container engines leave behind.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{cmd, mounts};

/// The parents that Docker, Podman, containerd and Kubernetes make for their containers' cgroups
/// and never remove.
const PARENTS: [&str; 5] = ["docker", "libpod_parent", "default", "kubepods", "kubepods.slice"];

/// Removes the parents that containers made since [`CgroupCleanup::begin`], on drop.
#[must_use]
pub(crate) struct CgroupCleanup {
    /// Parents that did not exist at the beginning.
    absent: Vec<PathBuf>,
}

impl CgroupCleanup {
    pub(crate) fn begin() -> Result<Self> {
        let all = mounts::read()?;
        let roots = all.iter().filter(|one| one.filesystem.starts_with("cgroup"));
        let parents = roots.flat_map(|root| PARENTS.map(|name| root.point.join(name)));
        Ok(Self { absent: parents.filter(|path| !path.exists()).collect() })
    }
}

impl Drop for CgroupCleanup {
    fn drop(&mut self) {
        for parent in self.absent.iter().filter(|path| path.exists()) {
            // The kernel refuses to remove a cgroup that others use by now.
            let mut remove = cmd::as_root("rmdir", &[]);
            let _ = cmd::check(remove.args(inner_first(parent)));
        }
    }
}

/// A directory and all below it, each after its subdirectories.
fn inner_first(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let inner = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut all: Vec<PathBuf> = inner.flat_map(|entry| inner_first(&entry.path())).collect();
    all.push(directory.to_owned());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subdirectories_come_before_their_directory() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let all = inner_first(here);
        let place = |path: &str| all.iter().position(|each| *each == here.join(path));
        assert!(place("src/bench").is_some() && place("src/bench") < place("src"));
        assert_eq!(all.last().map(PathBuf::as_path), Some(here));
    }
}
