//! Why something could not be read.

use std::{
    io,
    path::{Path, PathBuf},
};

use nix::errno::Errno;

/// Why a file of a cgroup or of a process could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The cgroup or the process ended: expected at any time, and no fault.
    #[error("it ended")]
    Vanished,
    /// The kernel refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// What was read.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The file's content is not what the kernel writes.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// What was read.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl ReadError {
    /// Sorts an error out: see [`is_gone`] for what counts as [`ReadError::Vanished`].
    pub fn from_io(path: &Path, source: io::Error) -> Self {
        if is_gone(&source) { Self::Vanished } else { Self::Io { path: path.into(), source } }
    }
}

/// Whether an error means that a cgroup or a process ended.
///
/// `ENOENT`: its directory is gone. `ENODEV`: a descriptor of a removed cgroup is still open
/// (`fs/kernfs/file.c`: reads need an active reference). `ESRCH`: the process behind a
/// `/proc/PID` file is gone.
pub fn is_gone(error: &io::Error) -> bool {
    const GONE: [i32; 3] = [Errno::ENOENT as i32, Errno::ENODEV as i32, Errno::ESRCH as i32];
    error
        .raw_os_error()
        .map_or_else(|| error.kind() == io::ErrorKind::NotFound, |code| GONE.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_removed_file_means_that_it_ended() {
        for code in [Errno::ENOENT, Errno::ENODEV, Errno::ESRCH] {
            let error = io::Error::from_raw_os_error(code as i32);
            assert!(matches!(ReadError::from_io(Path::new("/x"), error), ReadError::Vanished));
        }
    }

    #[test]
    fn anything_else_keeps_its_path() {
        let error = ReadError::from_io(
            Path::new("/proc/1/ns/net"),
            io::Error::from_raw_os_error(Errno::EACCES as i32),
        );
        assert_eq!(error.to_string(), "cannot read /proc/1/ns/net");
    }
}
