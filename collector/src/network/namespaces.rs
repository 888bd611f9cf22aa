//! One open file for each network namespace in use.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cgroup::error::is_gone;
use crate::cgroup::{KeptFile, ReadError};
use crate::network::netdev::{InterfaceCounters, parse_net_dev};

/// A network namespace by the inode of `/proc/PID/ns/net`.
///
/// The kernel gives the number to another namespace only after this one is gone, which does not
/// happen while its file is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceId(pub u64);

/// The network namespaces of the containers that are alive.
///
/// Each has one open `/proc/PID/net/dev`, which is still readable when the process ended, and which
/// keeps the namespace and its devices alive: call [`Namespaces::retain`] when a container ends.
#[derive(Debug)]
pub struct Namespaces {
    proc_root: PathBuf,
    host: Option<NamespaceId>,
    files: HashMap<NamespaceId, KeptFile>,
}

impl Namespaces {
    /// No namespace yet.
    pub fn new(proc_root: &Path) -> Self {
        let host = host_namespace(proc_root);
        Self { proc_root: proc_root.to_owned(), host, files: HashMap::new() }
    }

    /// Learns the network namespace of a process, and opens its devices unless they are open.
    /// `None` if the process ended or moved meanwhile.
    ///
    /// A runtime moves a container's first process into its namespace only after it made the
    /// cgroup; asked too early, the answer is the namespace of the runtime.
    ///
    /// # Errors
    ///
    /// Processes of others need `CAP_SYS_PTRACE` (`fs/proc/namespaces.c`, `proc_ns_get_link`).
    pub fn join(&mut self, pid: u32) -> Result<Option<NamespaceId>, ReadError> {
        let Some(id) = namespace_of(&self.proc_root, pid)? else { return Ok(None) };
        if self.files.contains_key(&id) {
            return Ok(Some(id));
        }
        let path = self.proc_root.join(pid.to_string()).join("net/dev");
        let Some(file) = KeptFile::open(&path)? else { return Ok(None) };
        // The file is of the namespace that the process was in when it was opened.
        if namespace_of(&self.proc_root, pid)?.is_some_and(|now| now != id) {
            return Ok(None);
        }
        self.files.insert(id, file);
        Ok(Some(id))
    }

    /// Reads the devices of a namespace, without `lo`, into `out`, which keeps its memory.
    ///
    /// # Errors
    ///
    /// [`ReadError::Vanished`] for a namespace that is not open (any more).
    pub fn read(
        &self,
        id: NamespaceId,
        buffer: &mut Vec<u8>,
        out: &mut Vec<(String, InterfaceCounters)>,
    ) -> Result<(), ReadError> {
        let file = self.files.get(&id).ok_or(ReadError::Vanished)?;
        parse_net_dev(file.read_records(buffer)?, out);
        Ok(())
    }

    /// Closes the namespaces that nobody uses.
    pub fn retain(&mut self, mut is_used: impl FnMut(NamespaceId) -> bool) {
        self.files.retain(|id, _| is_used(*id));
    }

    /// The host's namespace; `None` if it cannot be told.
    pub fn host(&self) -> Option<NamespaceId> {
        self.host
    }
}

/// The host's first process is in it, and so are kernel threads, which a security module may leave
/// readable where it hides the first process. Without the host's processes there is neither.
fn host_namespace(proc_root: &Path) -> Option<NamespaceId> {
    let of = |pid| namespace_of(proc_root, pid).ok().flatten();
    of(1).or_else(|| {
        let name = fs::read_to_string(proc_root.join("2/comm")).ok()?;
        of(2).filter(|_| name.trim_end() == "kthreadd")
    })
}

/// `None` if the process ended.
pub(super) fn namespace_of(proc_root: &Path, pid: u32) -> Result<Option<NamespaceId>, ReadError> {
    let path = proc_root.join(pid.to_string()).join("ns/net");
    match fs::metadata(&path) {
        Ok(metadata) => Ok(Some(NamespaceId(metadata.ino()))),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(ReadError::from_io(&path, error)),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{self, Command};

    use super::*;

    #[test]
    fn a_namespace_is_read_until_nobody_uses_it() {
        let mut namespaces = Namespaces::new(Path::new("/proc"));
        let id = namespaces.join(process::id()).unwrap().unwrap();
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        assert_eq!(own.to_str(), Some(format!("net:[{}]", id.0).as_str()));
        let (mut buffer, mut devices) = (Vec::new(), Vec::new());
        namespaces.read(id, &mut buffer, &mut devices).unwrap();
        let table = fs::read_to_string("/proc/self/net/dev").unwrap();
        assert_eq!(devices.len(), table.lines().skip(2).filter(|l| !l.contains("lo:")).count());

        namespaces.retain(|used| used == id);
        namespaces.read(id, &mut buffer, &mut devices).unwrap();
        namespaces.retain(|_| false);
        let error = namespaces.read(id, &mut buffer, &mut devices).unwrap_err();
        assert!(matches!(error, ReadError::Vanished));
    }

    #[test]
    fn the_file_of_an_ended_process_is_still_read() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let mut namespaces = Namespaces::new(Path::new("/proc"));
        let id = namespaces.join(child.id()).unwrap().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(namespaces.join(child.id()).unwrap(), None);
        namespaces.read(id, &mut Vec::new(), &mut Vec::new()).unwrap();
    }

    #[test]
    fn an_unreadable_host_is_unknown() {
        assert_eq!(Namespaces::new(Path::new("/nonexistent")).host(), None);
    }
}
