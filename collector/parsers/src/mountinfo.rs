//! Mounts of cgroup file systems: `/proc/PID/mountinfo`; ids of hierarchies: `/proc/cgroups`.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf, str};

use crate::text::{lines, number, words};

/// Every v1 controller (`include/linux/cgroup_subsys.h`): other mount options are no controllers.
const CONTROLLERS: [&str; 15] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "debug",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
    "rdma",
];

/// A mount of a cgroup file system.
pub struct CgroupMount<'a> {
    /// `major:minor` of its superblock, one for each hierarchy.
    pub device: &'a [u8],
    /// Whether it shows the hierarchy from its root.
    pub whole: bool,
    /// Where it is mounted.
    pub path: PathBuf,
    /// `None` for cgroup2.
    pub controllers: Option<Vec<String>>,
}

/// The mounts of cgroup file systems in the text of a `mountinfo` (`fs/proc_namespace.c`,
/// `show_mountinfo`).
pub fn cgroup_mounts(text: &[u8]) -> impl Iterator<Item = CgroupMount<'_>> {
    lines(text).filter_map(parse_mount)
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The kernel's number of the mount, which `/proc/PID/fdinfo` has too.
    pub id: u64,
    /// Where it is mounted.
    pub path: PathBuf,
    /// The type of the file system, such as `ext4`.
    pub kind: String,
    /// What is mounted, such as `/dev/sda1`; some file systems have any word there.
    pub source: PathBuf,
    /// For an overlay, the directory that takes what is written.
    pub upper: Option<PathBuf>,
}

/// All mounts in the text of a `mountinfo`, those below before those above.
pub fn mounts(text: &[u8]) -> impl Iterator<Item = Mount> {
    lines(text).filter_map(|line| {
        let id = number(words(line).next()?)?;
        let path = words(line).nth(4)?;
        let mut fields = words(line).skip(6).skip_while(|field| *field != b"-").skip(1);
        let (kind, source) = (fields.next()?, fields.next()?);
        let options = fields.next().unwrap_or_default();
        let upper =
            options.split(|byte| *byte == b',').find_map(|it| it.strip_prefix(b"upperdir="));
        Some(Mount {
            id,
            path: path_of(path),
            kind: String::from_utf8_lossy(kind).into_owned(),
            source: path_of(source),
            upper: upper.map(path_of),
        })
    })
}

/// The number of a controller's hierarchy in `/proc/cgroups` (`kernel/cgroup/cgroup-v1.c`,
/// `proc_cgroupstats_show`).
pub fn parse_hierarchy_id(table: &[u8], controller: &str) -> Option<u32> {
    lines(table).find_map(|line| {
        let mut words = words(line);
        let found = words.next()? == controller.as_bytes();
        found.then(|| str::from_utf8(words.next()?).ok()?.parse().ok())?
    })
}

/// `36 35 98:0 /root /mount/point rw,noatime master:1 - cgroup source rw,cpu,cpuacct`, with any
/// number of fields before the dash.
fn parse_mount(line: &[u8]) -> Option<CgroupMount<'_>> {
    let mut fields = words(line);
    let device = fields.nth(2)?;
    let root = fields.next()?;
    let path = fields.next()?;
    let _options = fields.next()?;
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let controllers = match fields.next()? {
        b"cgroup2" => None,
        b"cgroup" => Some(parse_controllers(fields.last()?)),
        _ => return None,
    };
    let path = path_of(path);
    Some(CgroupMount { device, whole: root == b"/", path, controllers })
}

fn parse_controllers(options: &[u8]) -> Vec<String> {
    options
        .split(|byte| *byte == b',')
        .filter_map(|option| str::from_utf8(option).ok())
        .filter(|option| CONTROLLERS.contains(option) || option.starts_with("name="))
        .map(str::to_owned)
        .collect()
}

fn path_of(field: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescape(field)))
}

/// Undoes the kernel's `\040` for white space and backslashes (`fs/seq_file.c`, `mangle_path`).
fn unescape(mut field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    while let Some((&first, rest)) = field.split_first() {
        field = rest;
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..]) =
            (first, rest)
        {
            plain.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
            field = rest;
        } else {
            plain.push(first);
        }
    }
    plain
}
