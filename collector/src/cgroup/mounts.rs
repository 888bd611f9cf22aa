//! Where the cgroup hierarchies are mounted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::cgroup::error::ReadError;
use tare_parsers::mountinfo::{CgroupMount, cgroup_mounts, parse_hierarchy_id};

/// The v1 controllers that count usage; a host with any of them is v1 or hybrid.
const USAGE_CONTROLLERS: [&str; 5] = ["cpu", "cpuacct", "memory", "blkio", "pids"];

/// The directories that v1 hierarchies usually have, joint ones first.
const LEGACY_DIRECTORIES: [&str; 10] = [
    "cpu,cpuacct",
    "cpuacct,cpu",
    "cpu",
    "cpuacct",
    "memory",
    "blkio",
    "pids",
    "cpuset",
    "freezer",
    "hugetlb",
];

/// The cgroup hierarchies of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchies {
    /// The `/proc` that they were found in.
    pub proc_root: PathBuf,
    /// Root of the cgroup2 hierarchy. The kernel has only one.
    pub unified: Option<PathBuf>,
    /// The controllers of that hierarchy by their v2 names; `None` if they cannot be read.
    pub unified_controllers: Option<Vec<String>>,
    /// The v1 hierarchies in the order of their mounts.
    pub legacy: Vec<LegacyHierarchy>,
}

/// One cgroup v1 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyHierarchy {
    /// Its controllers; `name=…` for a named hierarchy such as `name=systemd`.
    pub controllers: Vec<String>,
    /// Its root.
    pub path: PathBuf,
    /// The kernel's number for it, from `/proc/cgroups`; cgroup2 is 0.
    pub id: Option<u32>,
}

/// Which of the kernel's two cgroup interfaces a controller is used through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy of its own, `Documentation/admin-guide/cgroup-v1`.
    V1,
    /// The unified hierarchy, `Documentation/admin-guide/cgroup-v2.rst`.
    V2,
}

/// Where one controller's files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controller<'a> {
    /// Which files to expect.
    pub version: Version,
    /// Root of the hierarchy.
    pub root: &'a Path,
}

impl Hierarchies {
    /// `v1`, `v2`, `hybrid` or `none`.
    ///
    /// A v1 hierarchy without a controller that counts usage does not make a host hybrid: hosts
    /// with everything in cgroup2 often keep `name=systemd` or `net_cls` for old programs.
    pub fn layout(&self) -> &'static str {
        let legacy = USAGE_CONTROLLERS.iter().any(|name| self.legacy_controller(name).is_some());
        match (self.unified.is_some(), legacy) {
            (true, true) => "hybrid",
            (true, false) => "v2",
            (false, true) => "v1",
            (false, false) => "none",
        }
    }

    /// Where a controller (by its v1 name: `cpuacct`, `blkio`) has its files.
    ///
    /// A controller can be in one hierarchy only (`kernel/cgroup/cgroup.c`, `rebind_subsystems`):
    /// in a v1 one if that is mounted, else in the unified one. Whether a cgroup has its files is
    /// found when opening them.
    pub fn controller(&self, name: &str) -> Option<Controller<'_>> {
        let legacy = self.legacy_controller(name);
        legacy.map(|root| Controller { version: Version::V1, root }).or_else(|| {
            let root = self.unified.as_deref()?;
            Some(Controller { version: Version::V2, root })
        })
    }

    /// Whether a controller of the unified hierarchy (by its v2 name) is known to be missing there:
    /// not built in, or switched off with `cgroup_disable=`.
    pub fn lacks_unified(&self, name: &str) -> bool {
        let controllers = self.unified_controllers.as_ref();
        controllers.is_some_and(|all| !all.iter().any(|found| found == name))
    }

    /// The kernel's number for the hierarchy at a root: 0 for cgroup2.
    pub fn id(&self, root: &Path) -> Option<u32> {
        if self.unified.as_deref() == Some(root) {
            return Some(0);
        }
        self.legacy.iter().find(|hierarchy| hierarchy.path == root)?.id
    }

    /// The roots of all hierarchies, the unified one first.
    pub fn roots(&self) -> impl Iterator<Item = &Path> {
        let legacy = self.legacy.iter().map(|hierarchy| hierarchy.path.as_path());
        self.unified.as_deref().into_iter().chain(legacy)
    }

    fn legacy_controller(&self, name: &str) -> Option<&Path> {
        let has = |hierarchy: &&LegacyHierarchy| hierarchy.controllers.iter().any(|c| c == name);
        self.legacy.iter().find(has).map(|hierarchy| hierarchy.path.as_path())
    }

    fn is_empty(&self) -> bool {
        self.unified.is_none() && self.legacy.is_empty()
    }
}

/// Finds the hierarchies of the host in `{proc_root}/self/mountinfo`.
///
/// With a `cgroup_root`, only mounts at or below it count, and if there are none, the directory
/// itself is looked at: a copy of a cgroup tree is as good as a mounted one.
///
/// # Errors
///
/// If there is neither a readable `mountinfo` nor a `cgroup_root`.
pub fn find_hierarchies(
    proc_root: &Path,
    cgroup_root: Option<&Path>,
) -> Result<Hierarchies, ReadError> {
    let path = proc_root.join("self/mountinfo");
    let mountinfo = fs::read(&path);
    let mut hierarchies = match cgroup_root {
        None => parse_mountinfo(&mountinfo.map_err(|source| ReadError::Io { path, source })?, None),
        Some(root) => {
            let resolved = fs::canonicalize(root);
            let root = resolved.as_deref().unwrap_or(root);
            let mounted = parse_mountinfo(&mountinfo.unwrap_or_default(), Some(root));
            if mounted.is_empty() { detect(root) } else { mounted }
        }
    };
    proc_root.clone_into(&mut hierarchies.proc_root);
    let controllers = hierarchies.unified.as_ref().map(|root| root.join("cgroup.controllers"));
    hierarchies.unified_controllers = controllers
        .and_then(|path| fs::read_to_string(path).ok())
        .map(|text| text.split_whitespace().map(str::to_owned).collect());
    // Without the table the ids stay unknown, and events of these hierarchies with them.
    let table = fs::read(proc_root.join("cgroups")).unwrap_or_default();
    for hierarchy in &mut hierarchies.legacy {
        hierarchy.id =
            hierarchy.controllers.iter().find_map(|name| parse_hierarchy_id(&table, name));
    }
    Ok(hierarchies)
}

/// Finds the hierarchies in the text of a `mountinfo` (`fs/proc_namespace.c`, `show_mountinfo`).
///
/// Of several mounts of one hierarchy the first that shows its root wins; one that shows only a
/// part of it is taken if there is no other.
pub fn parse_mountinfo(text: &[u8], cgroup_root: Option<&Path>) -> Hierarchies {
    let mut found: Vec<CgroupMount<'_>> = Vec::new();
    for mount in cgroup_mounts(text) {
        if cgroup_root.is_some_and(|root| !mount.path.starts_with(root)) {
            continue;
        }
        match found.iter_mut().find(|other| other.device == mount.device) {
            None => found.push(mount),
            Some(other) if mount.whole && !other.whole => *other = mount,
            Some(_) => {}
        }
    }
    let mut hierarchies = Hierarchies::default();
    for mount in found {
        match mount.controllers {
            Some(controllers) => {
                hierarchies.legacy.push(LegacyHierarchy {
                    controllers,
                    path: mount.path,
                    id: None,
                });
            }
            None => hierarchies.unified = hierarchies.unified.or(Some(mount.path)),
        }
    }
    hierarchies
}

/// Detects the hierarchies of a cgroup tree by its files.
fn detect(root: &Path) -> Hierarchies {
    let is_unified = |path: &Path| path.join("cgroup.controllers").is_file();
    if is_unified(root) {
        return Hierarchies { unified: Some(root.to_owned()), ..Hierarchies::default() };
    }
    let unified = Some(root.join("unified")).filter(|path| is_unified(path));
    let mut hierarchies = Hierarchies { unified, ..Hierarchies::default() };
    for name in LEGACY_DIRECTORIES {
        let path = root.join(name);
        // `cpu` and `cpuacct` are often links to the joint directory.
        let known = |name| hierarchies.legacy_controller(name).is_some();
        if path.is_dir() && !name.split(',').all(known) {
            let controllers = name.split(',').map(str::to_owned).collect();
            hierarchies.legacy.push(LegacyHierarchy { controllers, path, id: None });
        }
    }
    hierarchies
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    fn legacy(controllers: &[&str], path: &str) -> LegacyHierarchy {
        let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
        LegacyHierarchy { controllers, path: path.into(), id: None }
    }

    fn make(root: &Path, directories: &[&str], files: &[&str]) {
        for directory in directories {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for file in files {
            fs::write(root.join(file), "").unwrap();
        }
    }

    #[test]
    fn a_hybrid_host_has_v1_controllers_and_cgroup2() {
        let found = parse_mountinfo(HYBRID.as_bytes(), None);
        assert_eq!(found.layout(), "hybrid");
        assert_eq!(found.unified.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(found.legacy[5], legacy(&["name=systemd"], "/sys/fs/cgroup/systemd"));
        let root = Path::new("/sys/fs/cgroup/cpuacct");
        assert_eq!(found.controller("cpuacct"), Some(Controller { version: Version::V1, root }));
        let root = Path::new("/sys/fs/cgroup/unified");
        assert_eq!(found.controller("cpuset"), Some(Controller { version: Version::V2, root }));
        assert_eq!(found.roots().count(), 7);
    }

    #[test]
    fn optional_fields_and_lsm_options_are_skipped() {
        let text = b"28 21 0:25 / /sys/fs/cgroup rw,nosuid shared:4 master:1 propagate_from:2 - \
                     cgroup2 cgroup2 rw,seclabel,nsdelegate\n\
                     29 21 0:26 / /x rw shared:5 - cgroup cgroup rw,seclabel,xattr,cpu,cpuacct,clone_children";
        let found = parse_mountinfo(text, None);
        assert_eq!(found.unified.as_deref(), Some(Path::new("/sys/fs/cgroup")));
        assert_eq!(found.legacy, [legacy(&["cpu", "cpuacct"], "/x")]);
    }

    #[test]
    fn a_v1_hierarchy_that_tare_does_not_read_leaves_a_host_v2() {
        let text = b"28 21 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
                     29 21 0:26 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                     30 21 0:27 / /run/net_cls rw - cgroup net_cls rw,net_cls\n";
        assert_eq!(parse_mountinfo(text, None).layout(), "v2");
        assert_eq!(parse_mountinfo(b"", None).layout(), "none");
        let text = b"29 21 0:26 / /cgroup/pids rw - cgroup none rw,pids\n";
        assert_eq!(parse_mountinfo(text, None).layout(), "v1");
    }

    #[test]
    fn the_first_mount_from_the_root_wins() {
        let text = b"1 0 0:30 /docker/abc /part rw - cgroup cgroup rw,memory\n\
                     2 0 0:30 / /whole rw - cgroup cgroup rw,memory\n\
                     3 0 0:30 / /again rw - cgroup cgroup rw,memory\n\
                     4 0 0:31 /docker/abc /only rw - cgroup2 cgroup rw\n\
                     5 0 0:31 /docker/abc /later rw - cgroup2 cgroup rw\n";
        let found = parse_mountinfo(text, None);
        assert_eq!(found.legacy, [legacy(&["memory"], "/whole")]);
        assert_eq!(found.unified.as_deref(), Some(Path::new("/only")));
    }

    #[test]
    fn a_cgroup_root_selects_by_whole_names() {
        let text = b"1 0 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
                     2 0 0:30 / /host/cgroups rw - cgroup2 cgroup2 rw\n\
                     3 0 0:30 / /host/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = parse_mountinfo(text, Some(Path::new("/host/cgroup")));
        assert_eq!(found.unified.as_deref(), Some(Path::new("/host/cgroup/unified")));
    }

    #[test]
    fn escapes_are_decoded() {
        let text = br"1 0 0:30 / /mnt/a\040b\134c\09 rw - cgroup2 cgroup2 rw";
        let found = parse_mountinfo(text, None);
        assert_eq!(found.unified.as_deref(), Some(Path::new(r"/mnt/a b\c\09")));
    }

    #[test]
    fn a_copied_v2_tree_is_detected() {
        let tree = tempfile::tempdir().unwrap();
        make(tree.path(), &["memory"], &["cgroup.controllers"]);
        let found = find_hierarchies(Path::new("/nonexistent"), Some(tree.path())).unwrap();
        assert_eq!(found.layout(), "v2");
        assert_eq!(found.unified.as_deref(), Some(tree.path()));
        assert!(found.lacks_unified("memory"));
        fs::write(tree.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
        let found = find_hierarchies(Path::new("/nonexistent"), Some(tree.path())).unwrap();
        assert!(found.lacks_unified("io") && !found.lacks_unified("memory"));
        assert!(!Hierarchies::default().lacks_unified("memory"));
    }

    #[test]
    fn a_copied_hybrid_tree_is_detected() {
        let tree = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(tree.path()).unwrap();
        make(&root, &["cpu,cpuacct", "memory", "unified"], &["unified/cgroup.controllers"]);
        std::os::unix::fs::symlink("cpu,cpuacct", root.join("cpu")).unwrap();
        let found = find_hierarchies(Path::new("/proc"), Some(&root)).unwrap();
        assert_eq!(found.layout(), "hybrid");
        assert_eq!(found.unified, Some(root.join("unified")));
        let paths: Vec<_> = found.legacy.iter().map(|hierarchy| &hierarchy.path).collect();
        assert_eq!(paths, [&root.join("cpu,cpuacct"), &root.join("memory")]);
    }

    #[test]
    fn a_proc_without_mountinfo_is_an_error_with_its_path() {
        let error = find_hierarchies(Path::new("/nonexistent"), None).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nonexistent/self/mountinfo");
        find_hierarchies(Path::new("/proc"), None).unwrap();
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(text: Vec<u8>) {
            parse_mountinfo(&text, Some(Path::new("/sys")));
        }

        #[test]
        fn any_escape_is_taken(path in r"(/|\\|[0-9]|a)*") {
            let text = format!("1 0 0:1 / {path} rw - cgroup2 x rw");
            parse_mountinfo(text.as_bytes(), None);
        }
    }
}
