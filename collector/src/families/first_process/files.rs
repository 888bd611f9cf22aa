//! The first process of a cgroup, from `/proc`.

use std::{
    cell::RefCell,
    fs,
    os::fd::{AsRawFd as _, RawFd},
    path::Path,
    sync::Arc,
};

use nix::{
    fcntl::{OFlag, open},
    sys::{stat::Mode, statfs::fstatfs},
};
use tare_parsers::{
    mountinfo::{Mount, mounts},
    process_limits::parse_open_files_limit,
    text::named_number,
};

use crate::{
    cgroup::{Hierarchies, KeptFile, ProcessLists, ReadError, read_once, shared, with_path},
    families::{
        first_process::{FirstProcess, Root, RootPlace},
        readers::{CgroupReader, ReadContext},
        walked::WalkLayout,
    },
};

/// File systems that answer at once. Others, such as those of a network or of a program, may leave
/// their reader waiting.
pub(crate) const LOCAL: [&str; 7] = ["ext4", "xfs", "btrfs", "tmpfs", "f2fs", "ext3", "ext2"];

/// Where the first process of one cgroup is found.
#[derive(Debug)]
pub struct FirstProcessFiles {
    proc_root: Arc<Path>,
    lists: ProcessLists,
    /// Found once for each root.
    place: Option<Place>,
}

/// Where a root is.
#[derive(Debug)]
struct Place {
    /// The mount that it is on. The first process has the host's root until its runtime has
    /// changed it.
    mount: u64,
    /// `None` if it is not one of [`LOCAL`].
    found: Option<Arc<RootPlace>>,
}

impl CgroupReader for FirstProcessFiles {
    type Reading = FirstProcess;

    fn is_known(reading: &Self::Reading) -> bool {
        *reading != FirstProcess::default()
    }

    /// `cgroup.procs` of the cgroup and of those below it, in the hierarchy that limits tasks.
    fn open(hierarchies: &Hierarchies, path: &str) -> Result<Option<Self>, ReadError> {
        Ok(ProcessLists::find(hierarchies, path).map(|lists| Self {
            proc_root: shared(&hierarchies.proc_root),
            lists,
            place: None,
        }))
    }

    /// As seldom as settings.
    fn is_due(context: &ReadContext<'_>) -> bool {
        context.due.details
    }

    /// What belongs to a process that ends meanwhile, or that we may not see, is unknown.
    fn read(
        &mut self,
        context: &mut ReadContext<'_>,
        latest: &mut FirstProcess,
    ) -> Result<(), ReadError> {
        *latest = FirstProcess::default();
        let Some(pid) = self.lists.first(context.buffer)? else { return Ok(()) };
        latest.open_files_limit = self.with_file(pid, "limits", |limits| {
            let limits = read_once(limits, context.buffer).ok().flatten();
            limits.and_then(parse_open_files_limit)
        });
        latest.root = self.root(pid, context.buffer);
        Ok(())
    }

    fn files(&self) -> impl Iterator<Item = &KeptFile> {
        [].into_iter()
    }

    /// None stays open in any case.
    fn opens_on_demand(_: &WalkLayout) -> bool {
        false
    }

    /// A walk sees no processes.
    fn from_record(
        _: Option<&mut Self>,
        _: &mut ReadContext<'_>,
        _: &mut FirstProcess,
    ) -> Result<bool, ReadError> {
        Ok(false)
    }
}

impl FirstProcessFiles {
    /// Calls `then` with the path of a file of a process.
    fn with_file<T>(&self, pid: u32, name: &str, then: impl FnOnce(&Path) -> T) -> T {
        with_path(|path| {
            path.push(&*self.proc_root);
            path.push(itoa::Buffer::new().format(pid));
            path.push(name);
            then(path)
        })
    }

    /// The file system of a process's root, through `/proc/PID/root`, which needs
    /// `CAP_SYS_PTRACE`.
    ///
    /// An overlay answers for the file system of its upper directory, with that directory's project
    /// quota if it has one (`fs/overlayfs/super.c`, `ovl_statfs`; `fs/ext4/super.c`,
    /// `ext4_statfs_project`).
    ///
    /// Opened as a path, a root is asked nothing. Only once it is known to be on a local file
    /// system it is: another one, which a container may mount, could leave Tare waiting.
    fn root(&mut self, pid: u32, buffer: &mut Vec<u8>) -> Option<Root> {
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        let root = self.with_file(pid, "root", |root| open(root, flags, Mode::empty())).ok()?;
        let mount = mount_of(root.as_raw_fd(), buffer)?;
        if self.place.as_ref().is_none_or(|place| place.mount != mount) {
            let own = self.with_file(pid, "mountinfo", |file| fs::read(file)).ok()?;
            let hosts = || fs::read(self.proc_root.join("1/mountinfo")).unwrap_or_default();
            self.place = Some(Place { mount, found: place(mount, &own, hosts).map(shared_place) });
        }
        let place = Arc::clone(self.place.as_ref()?.found.as_ref()?);
        let found = fstatfs(&root).ok()?;
        let block_bytes = u64::try_from(found.block_size()).ok()?;
        Some(Root {
            place,
            size_bytes: found.blocks().checked_mul(block_bytes)?,
            free_bytes: found.blocks_free().checked_mul(block_bytes)?,
            inodes: found.files(),
            inodes_free: found.files_free(),
        })
    }
}

/// The mount that an own descriptor is on.
fn mount_of(descriptor: RawFd, buffer: &mut Vec<u8>) -> Option<u64> {
    with_path(|path| {
        path.push("/proc/self/fdinfo");
        path.push(itoa::Buffer::new().format(descriptor));
        named_number(read_once(path, buffer).ok()??, "mnt_id:")
    })
}

thread_local! {
    /// The last place of this thread: most roots of a host are on the same file system.
    static LATEST: RefCell<Option<Arc<RootPlace>>> = const { RefCell::new(None) };
}

/// The same as the place before, if it is.
fn shared_place(place: RootPlace) -> Arc<RootPlace> {
    LATEST.with_borrow_mut(|latest| match latest {
        Some(latest) if **latest == place => Arc::clone(latest),
        _ => Arc::clone(latest.insert(Arc::new(place))),
    })
}

/// The file system that takes what is written to a mount: of an overlay, the one that its upper
/// directory is on in the host's table of mounts. `None` if it is not known to answer at once.
fn place(mount: u64, own: &[u8], hosts: impl FnOnce() -> Vec<u8>) -> Option<RootPlace> {
    let root = mounts(own).find(|found| found.id == mount)?;
    let mount = match (&*root.kind, &root.upper) {
        ("overlay", Some(upper)) => below_mount(upper, &hosts())?,
        _ => root,
    };
    LOCAL.contains(&&*mount.kind).then(|| RootPlace {
        device: mount.source.to_string_lossy().into_owned(),
        kind: mount.kind,
    })
}

/// The mount that a path is on.
fn below_mount(path: &Path, table: &[u8]) -> Option<Mount> {
    let on = mounts(table).filter(|mount| path.starts_with(&mount.path));
    // Of several on the same place the last.
    on.max_by_key(|mount| mount.path.as_os_str().len())
}

#[cfg(test)]
mod tests {
    use std::{process, time::Instant};

    use super::*;
    use crate::cgroup::find_hierarchies;

    const HOST: &[u8] = b"20 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
        30 20 8:2 / /var/lib rw - xfs /dev/sda2 rw\n\
        31 20 0:40 / /var/lib/other rw - nfs4 server:/x rw\n";

    fn found(own: &str) -> Option<(String, String)> {
        place(90, own.as_bytes(), || HOST.to_vec()).map(|place| (place.device, place.kind))
    }

    #[test]
    fn an_overlay_is_where_its_upper_directory_is() {
        let overlay = |upper: &str| {
            format!(
                "90 80 0:50 / / rw - overlay overlay rw,lowerdir=/l,upperdir={upper},workdir=/w\n"
            )
        };
        let xfs = ("/dev/sda2".to_owned(), "xfs".to_owned());
        assert_eq!(found(&overlay("/var/lib/docker/x/diff")), Some(xfs));
        let root = ("/dev/sda1".to_owned(), "ext4".to_owned());
        assert_eq!(found(&overlay("/var/library/diff")), Some(root));
        assert_eq!(found(&overlay("/var/lib/other/diff")), None, "a network");
        assert_eq!(found("90 80 0:50 / / ro - overlay overlay ro,lowerdir=/l\n"), None);
    }

    #[test]
    fn the_mount_of_the_root_counts() {
        let others = "1 1 0:2 / / rw - rootfs rootfs rw\n91 90 0:5 / /proc rw - proc proc rw\n";
        let disk = "90 1 8:7 /x / rw - btrfs /dev/sdb rw\n";
        let btrfs = ("/dev/sdb".to_owned(), "btrfs".to_owned());
        assert_eq!(found(&format!("{others}{disk}")), Some(btrfs));
        assert_eq!(found("90 1 0:7 / / rw - fuse.sshfs me:/ rw\n"), None);
        assert_eq!((found(others), found("")), (None, None));
    }

    #[test]
    fn the_own_process_has_a_limit_and_a_root() {
        let tree = tempfile::tempdir().unwrap();
        let directory = tree.path().join("pids/abc");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("cgroup.procs"), process::id().to_string()).unwrap();
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        let mut files = FirstProcessFiles::open(&hierarchies, "/abc").unwrap().unwrap();
        let (mut buffer, mut latest) = (Vec::new(), FirstProcess::default());
        let mut context = ReadContext::new(Instant::now(), &mut buffer);
        files.read(&mut context, &mut latest).unwrap();
        assert!(latest.open_files_limit > Some(0), "{latest:?}");
        if let Some(root) = &latest.root {
            assert!(root.size_bytes > root.free_bytes, "{root:?}");
        }
        assert!(files.place.is_some(), "the root of this test is on a mount");
        fs::write(directory.join("cgroup.procs"), "").unwrap();
        files.read(&mut context, &mut latest).unwrap();
        assert_eq!(latest, FirstProcess::default(), "it has no process");
    }
}
