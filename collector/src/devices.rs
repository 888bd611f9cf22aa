//! The block devices of the host: what they are called, and which of them only pass I/O on.
//!
//! What is done on a device that stands on others is done on those too. Totals leave such devices
//! out, so that no byte is counted twice.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::sys::statfs::{self, FsType};

use tare_parsers::io::Device;

/// One block device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockDevice {
    /// Its name, such as `nvme0n1`.
    pub name: Option<String>,
    /// Whether it passes its I/O on to devices that count it again.
    pub stacked: bool,
    /// Whether it makes requests; one that does not takes bios as they are.
    pub requests: bool,
}

/// The block devices that were asked for, and those without requests.
#[derive(Debug)]
pub struct Devices {
    sys_root: PathBuf,
    known: BTreeMap<Device, Known>,
    bios: BTreeMap<String, Option<Device>>,
    looked: Option<Instant>,
}

#[derive(Debug)]
struct Known {
    /// Where its link in `/sys/dev/block` points to: another place is another device.
    place: Option<PathBuf>,
    device: BlockDevice,
}

/// How often `/sys/block` is listed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

impl Devices {
    /// Knows none yet.
    pub fn new(sys_root: &Path) -> Self {
        Self {
            sys_root: sys_root.to_owned(),
            known: BTreeMap::new(),
            bios: BTreeMap::new(),
            looked: None,
        }
    }

    /// A device by its numbers. It is asked for once, so a device that was stacked stays so even
    /// when it is taken down, and totals do not jump.
    pub fn get(&mut self, device: Device) -> &BlockDevice {
        let Self { sys_root, known, .. } = self;
        let read = || Known::read(&sys_root.join(format!("dev/block/{device}")));
        &known.entry(device).or_insert_with(read).device
    }

    /// Forgets devices whose numbers were given to others.
    pub fn refresh(&mut self) {
        let root = self.sys_root.join("dev/block");
        self.known.retain(|device, known| {
            fs::read_link(root.join(device.to_string())).ok() == known.place
        });
    }

    /// Devices that take bios as they are, stand on no other device and can hold data: zram, brd,
    /// pmem.
    pub fn bio_leaves(&mut self) -> impl Iterator<Item = Device> {
        let now = Instant::now();
        if self.looked.is_none_or(|looked| now.duration_since(looked) >= LOOK_INTERVAL) {
            self.looked = Some(now);
            self.look();
        }
        self.bios.values().copied().flatten()
    }

    fn look(&mut self) {
        let Ok(entries) = fs::read_dir(self.sys_root.join("block")) else { return };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let names: Vec<String> = names.collect();
        self.bios.retain(|name, _| names.contains(name));
        for name in names {
            // Once counted it stays; one without a size may get one.
            if self.bios.get(&name).copied().flatten().is_none() {
                let place = self.sys_root.join("block").join(&name);
                if !has_requests(&place) {
                    let leaf = !has_entries(&place.join("slaves")) && has_size(&place);
                    self.bios.insert(name, leaf.then(|| numbers(&place)).flatten());
                }
            }
        }
    }
}

impl Known {
    fn read(link: &Path) -> Self {
        let place = fs::read_link(link).ok();
        let name = place.as_deref().and_then(Path::file_name);
        let device = BlockDevice {
            name: name.and_then(|name| name.to_str()).map(str::to_owned),
            stacked: is_stacked(link),
            requests: has_requests(link),
        };
        Self { place, device }
    }
}

/// Whether a device has hardware queues (`block/blk-mq-sysfs.c`), which every device with requests
/// has since Linux 5.0.
fn has_requests(device: &Path) -> bool {
    device.join("mq").is_dir()
}

/// Device mapper, md and bcache name what they stand on in `slaves`; a loop device stands on the
/// disk of its file.
fn is_stacked(device: &Path) -> bool {
    has_entries(&device.join("slaves")) || is_loop(device) && !is_on_no_disk(device)
}

fn is_loop(device: &Path) -> bool {
    const LOOP_MAJOR: &str = "7:";
    fs::read_to_string(device.join("dev")).is_ok_and(|dev| dev.starts_with(LOOP_MAJOR))
}

/// Whether a loop device's file lies where no block device of this host has it: in memory or on
/// another machine. Then the loop device is where its I/O is counted.
fn is_on_no_disk(device: &Path) -> bool {
    const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);
    const CIFS_MAGIC: FsType = FsType(0xff53_4d42);
    const V9FS_MAGIC: FsType = FsType(0x0102_1997);
    let Ok(path) = fs::read_to_string(device.join("loop/backing_file")) else { return false };
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

fn has_size(device: &Path) -> bool {
    fs::read_to_string(device.join("size")).is_ok_and(|sectors| sectors.trim() != "0")
}

fn numbers(device: &Path) -> Option<Device> {
    let text = fs::read_to_string(device.join("dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some(Device { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A `/sys` with these devices: name, numbers, sectors, files and directories (`/` at the end).
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
    fn devices_that_stand_on_others_are_stacked() {
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
    fn a_loop_device_on_a_file_in_memory_is_no_double() {
        let sys = sys(&[("loop0", "7:0", "100", &["mq/0", "loop"])]);
        let place = sys.path().join("devices/loop0");
        fs::write(place.join("loop/backing_file"), "/dev/shm\n").unwrap();
        assert!(!is_stacked(&place));
        fs::write(place.join("loop/backing_file"), "/gone (deleted)\n").unwrap();
        assert!(is_stacked(&place));
    }

    #[test]
    fn bio_leaves_are_devices_without_requests_that_hold_data() {
        let sys = sys(&[
            ("sda", "8:0", "100", &["mq/0"]),
            ("dm-0", "253:0", "100", &["slaves/sda"]),
            ("zram0", "252:0", "0", &[]),
            ("ram0", "1:0", "100", &[]),
        ]);
        let mut devices = Devices::new(sys.path());
        let leaves = |devices: &mut Devices| {
            devices.looked = None;
            devices.bio_leaves().map(|device| device.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(leaves(&mut devices), ["1:0"]);
        fs::write(sys.path().join("devices/zram0/size"), "8\n").unwrap();
        assert_eq!(leaves(&mut devices), ["1:0", "252:0"]);
        fs::remove_file(sys.path().join("block/ram0")).unwrap();
        assert_eq!(leaves(&mut devices), ["252:0"]);
    }

    #[test]
    fn numbers_that_went_to_another_device_are_asked_for_again() {
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
