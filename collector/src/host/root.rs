//! Files of the host that are neither in `/proc` nor in `/sys`.

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

/// The most that is read of one file.
const MAX_BYTES: u64 = 64 << 10;

/// The root directory of the host, seen through its first process.
///
/// With the host's `/proc` at hand this reaches the host's files from inside of a container too;
/// it takes the right to look at that process (`CAP_SYS_PTRACE`).
#[derive(Clone, Debug)]
pub struct HostRoot(PathBuf);

impl HostRoot {
    /// The root of the first process of this `/proc`; for our own `/proc`, our own root, for which
    /// no rights are needed.
    pub fn new(proc_root: &Path) -> Self {
        if proc_root == Path::new("/proc") {
            return Self("/".into());
        }
        Self(proc_root.join("1/root"))
    }

    /// Where a path of the host is for us. Links on the way to it would be followed from our own
    /// root: for files whose way has none.
    pub fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// A text file of the host, trimmed; `None` if it cannot be read or is empty. Links are followed
    /// as the host would.
    pub fn read(&self, path: &str) -> Option<String> {
        let file = self.open(path).ok()?;
        let mut text = Vec::new();
        File::from(file).take(MAX_BYTES).read_to_end(&mut text).ok()?;
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
    fn links_are_followed_as_the_host_would() {
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
    fn our_own_root_needs_no_rights() {
        assert_eq!(HostRoot::new(Path::new("/proc")).path("/run/x"), Path::new("/run/x"));
    }
}
