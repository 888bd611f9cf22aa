//! File systems of the host, read when a client asks for them.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use hyper::{StatusCode, body::Bytes};
use jiff::Timestamp;
use nix::sys::statvfs::statvfs;
use serde::Serialize;
use tare_parsers::mountinfo::mounts;
use tokio::task;

use super::{Cadvisor, Refusal, catalog::Catalog};
use crate::{
    faces::body::json,
    families::first_process::LOCAL,
    server::{
        Request,
        answer::{Answer, JSON, streamed, text},
    },
};

/// File systems that are listed at most.
const FILESYSTEMS_MAX: usize = 1024;

/// A mount of the host's first process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mounted {
    device: String,
    kind: String,
    mountpoint: PathBuf,
}

/// A file system, as version 2 lists them. Sizes are in bytes.
#[derive(Debug, Serialize)]
pub(super) struct Filesystem {
    timestamp: Timestamp,
    device: String,
    mountpoint: String,
    capacity: u64,
    available: u64,
    usage: u64,
    labels: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inodes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inodes_free: Option<u64>,
}

/// The same, as a machine and its readings have it.
#[derive(Debug, Serialize)]
pub(super) struct OfMachine {
    device: String,
    capacity: u64,
    #[serde(rename = "type")]
    kind: String,
    inodes: u64,
    has_inodes: bool,
}

impl Cadvisor {
    /// All file systems, that with the label, or that with the UUID.
    pub(super) fn storage(&self, catalog: &Catalog, request: &Request) -> Answer {
        let proc_root = self.context.shared.processes.proc_root.clone();
        let get = |name| request.query(name).filter(|text| !text.is_empty());
        let (wanted, is_one) = match chosen(&proc_root, get("label"), get("uuid")) {
            Ok(chosen) => chosen,
            Err(Refusal(message)) => {
                return text(StatusCode::INTERNAL_SERVER_ERROR, format!("{message}\n"));
            }
        };
        let time = catalog.published.pair.newer.time;
        // A device that does not answer leaves its reader waiting.
        let read = task::spawn_blocking(move || {
            let mut found = measured(&proc_root, &wanted, time);
            Bytes::from(match is_one {
                true => json(&found.pop().map(|(_, found)| found)),
                false => json(&found.into_iter().map(|(_, found)| found).collect::<Vec<_>>()),
            })
        });
        let body = futures_util::stream::once(async { read.await.unwrap_or_default() });
        streamed(JSON, body)
    }
}

/// File systems of the machine; may wait for devices.
pub(super) fn of_machine(proc_root: &Path) -> Vec<OfMachine> {
    let found = measured(proc_root, &mounted(proc_root), Timestamp::UNIX_EPOCH);
    let found = found.into_iter().map(|(kind, found)| OfMachine {
        device: found.device,
        capacity: found.capacity,
        kind,
        inodes: found.inodes.unwrap_or(0),
        has_inodes: found.inodes.is_some(),
    });
    found.collect()
}

/// The wanted mounts, and whether it is one by its UUID.
fn chosen(
    proc_root: &Path,
    label: Option<String>,
    uuid: Option<String>,
) -> Result<(Vec<Mounted>, bool), Refusal> {
    let mounted = mounted(proc_root);
    let of = |device: &str| mounted.iter().filter(|it| it.device == device).cloned().collect();
    if let Some(uuid) = uuid {
        let links = hosts_root(proc_root).join("dev/disk/by-uuid");
        let link = Some(&uuid).filter(|uuid| !uuid.contains('/'));
        let target = link.and_then(|uuid| fs::read_link(links.join(uuid)).ok());
        let name = target.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
        let found: Vec<_> = name.map(|name| of(&format!("/dev/{name}"))).unwrap_or_default();
        return match found.is_empty() {
            true => Err(Refusal("cadvisor: no such device".to_owned())),
            false => Ok((found, true)),
        };
    }
    match label.as_deref() {
        None => Ok((mounted, false)),
        Some("root") => {
            let root = mounted.iter().find(|it| it.mountpoint == Path::new("/"));
            Ok((root.map(|root| of(&root.device)).unwrap_or_default(), false))
        }
        Some(other) => Err(Refusal(format!("non-existent label {other:?}"))),
    }
}

/// Mounts that answer at once: each device once, and each file system in memory.
fn mounted(proc_root: &Path) -> Vec<Mounted> {
    mounted_in(&hosts_table(proc_root))
}

fn hosts_table(proc_root: &Path) -> Vec<u8> {
    fs::read(proc_root.join("1/mountinfo")).unwrap_or_default()
}

/// Where the host's root is found: where Tare itself has the host's mounts, nobody's permission is
/// needed to look at them.
fn hosts_root(proc_root: &Path) -> PathBuf {
    let own = fs::read("/proc/self/mountinfo").unwrap_or_default();
    match own == hosts_table(proc_root) {
        true => PathBuf::from("/"),
        false => proc_root.join("1/root"),
    }
}

fn mounted_in(table: &[u8]) -> Vec<Mounted> {
    let mut seen = HashSet::new();
    let known = mounts(table).filter(|mount| LOCAL.contains(&&*mount.kind)).map(|mount| {
        let source = if mount.kind == "tmpfs" { &mount.path } else { &mount.source };
        let device = source.to_string_lossy().into_owned();
        Mounted { device, kind: mount.kind, mountpoint: mount.path }
    });
    known.filter(|it| seen.insert(it.device.clone())).take(FILESYSTEMS_MAX).collect()
}

/// Asks mounts for their sizes. Those that do not
/// tell are left out.
fn measured(
    proc_root: &Path,
    wanted: &[Mounted],
    timestamp: Timestamp,
) -> Vec<(String, Filesystem)> {
    let root = hosts_root(proc_root);
    let measure = |mounted: &Mounted| {
        let path = root.join(mounted.mountpoint.strip_prefix("/").ok()?);
        let found = statvfs(&path).ok()?;
        let block = found.fragment_size();
        let bytes = |blocks: u64| blocks.saturating_mul(block);
        let inodes = Some(found.files()).filter(|inodes| *inodes > 0);
        let is_root = mounted.mountpoint == Path::new("/");
        let filesystem = Filesystem {
            timestamp,
            device: mounted.device.clone(),
            mountpoint: mounted.mountpoint.to_string_lossy().into_owned(),
            capacity: bytes(found.blocks()),
            available: bytes(found.blocks_available()),
            usage: bytes(found.blocks().saturating_sub(found.blocks_free())),
            labels: if is_root { vec!["root"] } else { Vec::new() },
            inodes,
            inodes_free: inodes.map(|_| found.files_free()),
        };
        Some((mounted.kind.clone(), filesystem))
    };
    wanted.iter().filter_map(measure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
        21 20 8:1 /x /bind rw - ext4 /dev/sda1 rw\n\
        22 20 0:5 / /run rw - tmpfs tmpfs rw\n\
        23 20 0:6 / /tmp rw - tmpfs tmpfs rw\n\
        24 20 0:7 / /net rw - nfs4 server:/x rw\n";

    #[test]
    fn a_device_is_listed_once_and_nothing_that_may_not_answer() {
        let devices: Vec<_> = mounted_in(TABLE).into_iter().map(|it| it.device).collect();
        assert_eq!(devices, ["/dev/sda1", "/run", "/tmp"]);
    }

    #[test]
    fn labels_and_uuids_that_are_not_there_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let proc_root = directory.path();
        fs::create_dir_all(proc_root.join("1")).unwrap();
        fs::write(proc_root.join("1/mountinfo"), TABLE).unwrap();
        let choose = |label: Option<&str>, uuid: Option<&str>| {
            let found = chosen(proc_root, label.map(str::to_owned), uuid.map(str::to_owned));
            found.map(|(found, _)| found.len()).map_err(|Refusal(message)| message)
        };
        assert_eq!(choose(None, None), Ok(3));
        assert_eq!(choose(Some("root"), None), Ok(1));
        assert_eq!(choose(Some("x"), None), Err("non-existent label \"x\"".to_owned()));
        for uuid in ["1234", "../../../etc/passwd"] {
            assert_eq!(choose(None, Some(uuid)), Err("cadvisor: no such device".to_owned()));
        }
    }
}
