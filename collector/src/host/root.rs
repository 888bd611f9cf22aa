//! Files of the host outside `/proc` and `/sys`.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::Mode,
};

/// Bytes of a file that are read; the rest is ignored.
const BYTES_MAX: u64 = 64 << 10;

/// The root directory of the host.
///
/// Inside a container with the host's `/proc` it is `PROC/1/root`, the root of the host's first
/// process, which needs `CAP_SYS_PTRACE` (`fs/proc/base.c`, `proc_pid_get_link`).
#[derive(Clone, Debug)]
pub struct HostRoot(PathBuf);

impl HostRoot {
    /// The root of the first process of this `/proc`. For `/proc` itself it is our own root, which
    /// needs no capability.
    pub fn new(proc_root: &Path) -> Self {
        if proc_root == Path::new("/proc") {
            return Self("/".into());
        }
        Self(proc_root.join("1/root"))
    }

    /// Our path to a file of the host. Absolute symbolic links on it would be resolved from our
    /// own root, so use it only for paths without links.
    pub fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// Reads a text file of the host, trimmed. `None` if it cannot be read or is empty. Symbolic
    /// links are resolved within the host's root.
    pub fn read(&self, path: &str) -> Option<String> {
        let file = self.open(path).ok()?;
        let mut text = Vec::new();
        File::from(file).take(BYTES_MAX).read_to_end(&mut text).ok()?;
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    fn open(&self, path: &str) -> io::Result<OwnedFd> {
        let root =
            open(&self.0, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        Ok(openat2(&root, path, how)?)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn links_are_resolved_within_the_root_of_the_host() {
        let proc = tempfile::tempdir().unwrap();
        let root = proc.path().join("1/root");
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::create_dir_all(root.join("usr")).unwrap();
        fs::write(root.join("usr/release"), "ID=host\n").unwrap();
        symlink("/usr/release", root.join("etc/release")).unwrap();
        symlink("../../../../../../../etc/passwd", root.join("etc/out")).unwrap();
        let host = HostRoot::new(proc.path());
        assert_eq!(host.read("/etc/release").as_deref(), Some("ID=host"));
        assert_eq!(host.read("/etc/out"), None);
        assert_eq!(host.read("/etc/missing"), None);
        assert_eq!(host.path("/run/x"), root.join("run/x"));
    }

    #[test]
    fn the_root_for_our_own_proc_is_our_own() {
        assert_eq!(HostRoot::new(Path::new("/proc")).path("/run/x"), Path::new("/run/x"));
    }
}
