//! The block devices of the host: their names, and which are stacked on other devices.
//!
//! I/O on a stacked device is done on the devices below it too. Totals leave stacked devices out,
//! so that no byte is counted twice.

use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::sys::statfs::{self, FsType};
use tare_parsers::io::Device;

use crate::small_files::{read_number, read_text};

/// A block device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct BlockDevice {
    /// Its name, such as `nvme0n1`.
    pub name: Option<String>,
    /// Whether its I/O is done on other devices, which count it again.
    pub stacked: bool,
    /// Whether it has request queues. A device without them handles bios directly.
    pub requests: bool,
}

/// A cache of block devices by number, and of devices without request queues.
#[derive(Debug)]
pub struct Devices {
    sys_root: PathBuf,
    known: BTreeMap<Device, Known>,
    /// Devices without request queues by name; `None` while they cannot hold data.
    bio_devices: BTreeMap<String, Option<Device>>,
    listed: Option<Instant>,
}

#[derive(Debug)]
struct Known {
    /// The target of its link in `/sys/dev/block`. Another target is another device.
    target: Option<PathBuf>,
    device: BlockDevice,
}

/// How often `/sys/block` is listed.
const LIST_INTERVAL: Duration = Duration::from_secs(1);

impl Devices {
    /// An empty cache.
    pub fn new(sys_root: &Path) -> Self {
        Self {
            sys_root: sys_root.to_owned(),
            known: BTreeMap::new(),
            bio_devices: BTreeMap::new(),
            listed: None,
        }
    }

    /// The device with this number. It is read from `/sys` once: a device that was stacked stays
    /// stacked while it is taken down, so totals do not jump.
    pub fn get(&mut self, device: Device) -> &BlockDevice {
        let Self { sys_root, known, .. } = self;
        let read = || Known::read(&sys_root.join(format!("dev/block/{device}")));
        &known.entry(device).or_insert_with(read).device
    }

    /// Forgets devices whose numbers were reused for other devices.
    pub fn refresh(&mut self) {
        let root = self.sys_root.join("dev/block");
        self.known.retain(|device, known| {
            fs::read_link(root.join(device.to_string())).ok() == known.target
        });
    }

    /// Devices without request queues that are not stacked and have a size: zram, brd, pmem.
    pub fn bio_leaves(&mut self) -> impl Iterator<Item = Device> {
        let now = Instant::now();
        if self.listed.is_none_or(|at| now.duration_since(at) >= LIST_INTERVAL) {
            self.listed = Some(now);
            self.list();
        }
        self.bio_devices.values().copied().flatten()
    }

    fn list(&mut self) {
        let Ok(entries) = fs::read_dir(self.sys_root.join("block")) else { return };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let names: Vec<String> = names.collect();
        self.bio_devices.retain(|name, _| names.contains(name));
        for name in names {
            // A device that was counted stays; one without a size may get one later.
            if self.bio_devices.get(&name).copied().flatten().is_none() {
                let directory = self.sys_root.join("block").join(&name);
                if !has_requests(&directory) {
                    let leaf = !has_entries(&directory.join("slaves")) && has_size(&directory);
                    self.bio_devices.insert(name, leaf.then(|| number(&directory)).flatten());
                }
            }
        }
    }
}

impl Known {
    fn read(link: &Path) -> Self {
        let target = fs::read_link(link).ok();
        let name = target.as_deref().and_then(Path::file_name);
        let device = BlockDevice {
            name: name.and_then(|name| name.to_str()).map(str::to_owned),
            stacked: is_stacked(link),
            requests: has_requests(link),
        };
        Self { target, device }
    }
}

/// Whether a device has hardware queues (`block/blk-mq-sysfs.c`), as every device with request
/// queues has since Linux 5.0.
fn has_requests(directory: &Path) -> bool {
    directory.join("mq").is_dir()
}

/// Device mapper, md and bcache list the devices below them in `slaves`. A loop device is stacked
/// on the disk of its file.
fn is_stacked(directory: &Path) -> bool {
    has_entries(&directory.join("slaves")) || is_loop(directory) && !is_on_no_disk(directory)
}

fn is_loop(directory: &Path) -> bool {
    const LOOP_MAJOR: u32 = 7;
    number(directory).is_some_and(|device| device.major == LOOP_MAJOR)
}

/// Whether the file of a loop device is in memory or on another machine, so that no other block
/// device of this host counts the I/O.
fn is_on_no_disk(directory: &Path) -> bool {
    const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);
    const CIFS_MAGIC: FsType = FsType(0xff53_4d42);
    const V9FS_MAGIC: FsType = FsType(0x0102_1997);
    let Ok(path) = fs::read_to_string(directory.join("loop/backing_file")) else { return false };
    let Ok(found) = statfs::statfs(path.trim_end_matches('\n')) else { return false };
    let elsewhere = [
        statfs::TMPFS_MAGIC,
        RAMFS_MAGIC,
        statfs::NFS_SUPER_MAGIC,
        CIFS_MAGIC,
        V9FS_MAGIC,
        statfs::FUSE_SUPER_MAGIC,
    ];
    elsewhere.contains(&found.filesystem_type())
}

fn has_entries(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}

fn has_size(directory: &Path) -> bool {
    read_number(&directory.join("size")).is_some_and(|sectors| sectors > 0)
}

/// The number of a device, from its directory in `/sys`.
fn number(directory: &Path) -> Option<Device> {
    let text = read_text(&directory.join("dev"))?;
    let (major, minor) = text.split_once(':')?;
    Some(Device { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A `/sys` with these devices: name, number, sectors and directories.
    fn sys(devices: &[(&str, &str, &str, &[&str])]) -> tempfile::TempDir {
        let sys = tempfile::tempdir().unwrap();
        let root = sys.path();
        fs::create_dir_all(root.join("dev/block")).unwrap();
        fs::create_dir_all(root.join("block")).unwrap();
        for (name, numbers, sectors, parts) in devices {
            let place = root.join("devices").join(name);
            fs::create_dir_all(place.join("slaves")).unwrap();
            fs::write(place.join("dev"), format!("{numbers}\n")).unwrap();
            fs::write(place.join("size"), format!("{sectors}\n")).unwrap();
            for part in *parts {
                fs::create_dir_all(place.join(part)).unwrap();
            }
            symlink(&place, root.join("dev/block").join(numbers)).unwrap();
            symlink(&place, root.join("block").join(name)).unwrap();
        }
        sys
    }

    #[test]
    fn devices_on_other_devices_are_stacked() {
        let sys = sys(&[
            ("sda", "8:0", "100", &["mq/0"]),
            ("dm-0", "253:0", "100", &["slaves/sda"]),
            ("dm-1", "253:1", "100", &["mq/0", "slaves/sda", "slaves/sdb"]),
            ("loop0", "7:0", "100", &["mq/0"]),
            ("zram0", "252:0", "100", &[]),
        ]);
        let mut devices = Devices::new(sys.path());
        let mut get = |major, minor| devices.get(Device { major, minor }).clone();
        let device = |name: &str, stacked, requests| BlockDevice {
            name: Some(name.to_owned()),
            stacked,
            requests,
        };
        assert_eq!(get(8, 0), device("sda", false, true));
        assert_eq!(get(253, 0), device("dm-0", true, false));
        assert_eq!(get(253, 1), device("dm-1", true, true));
        assert_eq!(get(7, 0), device("loop0", true, true));
        assert_eq!(get(252, 0), device("zram0", false, false));
        assert_eq!(get(9, 9), BlockDevice::default());
    }

    #[test]
    fn a_loop_device_on_a_file_in_memory_is_not_stacked() {
        let sys = sys(&[("loop0", "7:0", "100", &["mq/0", "loop"])]);
        let place = sys.path().join("devices/loop0");
        fs::write(place.join("loop/backing_file"), "/dev/shm\n").unwrap();
        assert!(!is_stacked(&place));
        fs::write(place.join("loop/backing_file"), "/gone (deleted)\n").unwrap();
        assert!(is_stacked(&place));
    }

    #[test]
    fn bio_leaves_are_devices_without_queues_that_have_a_size() {
        let sys = sys(&[
            ("sda", "8:0", "100", &["mq/0"]),
            ("dm-0", "253:0", "100", &["slaves/sda"]),
            ("zram0", "252:0", "0", &[]),
            ("ram0", "1:0", "100", &[]),
        ]);
        let mut devices = Devices::new(sys.path());
        let leaves = |devices: &mut Devices| {
            devices.listed = None;
            devices.bio_leaves().map(|device| device.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(leaves(&mut devices), ["1:0"]);
        fs::write(sys.path().join("devices/zram0/size"), "8\n").unwrap();
        assert_eq!(leaves(&mut devices), ["1:0", "252:0"]);
        fs::remove_file(sys.path().join("block/ram0")).unwrap();
        assert_eq!(leaves(&mut devices), ["252:0"]);
    }

    #[test]
    fn a_reused_number_is_read_again() {
        let sys = sys(&[("dm-0", "253:0", "1", &["slaves/sda"]), ("vdb", "9:9", "1", &["mq/0"])]);
        let mut devices = Devices::new(sys.path());
        let device = Device { major: 253, minor: 0 };
        assert!(devices.get(device).stacked);
        fs::remove_dir(sys.path().join("devices/dm-0/slaves/sda")).unwrap();
        devices.refresh();
        assert!(devices.get(device).stacked, "a device that is taken down stays what it was");
        let link = sys.path().join("dev/block/253:0");
        fs::remove_file(&link).unwrap();
        symlink(sys.path().join("devices/vdb"), &link).unwrap();
        devices.refresh();
        assert_eq!(devices.get(device).name.as_deref(), Some("vdb"));
        assert!(!devices.get(device).stacked);
    }
}
