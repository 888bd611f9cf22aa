//! Block devices of the host and what they are.

use std::{collections::BTreeMap, path::Path};

use tare_model::Disk;
use tare_parsers::host_facts::parse_io_scheduler;

use crate::small_files::{entry_names, read_number, read_text};

/// Block devices beyond this number are not listed.
const DISKS_MAX: usize = 4096;

/// Unit of `size`, whatever the sector size of the device (`include/linux/blk_types.h`).
const SECTOR_BYTES: u64 = 512;

/// Reads the block devices of a `/sys` by `major:minor`, without partitions and empty devices.
pub(super) fn read(sys_root: &Path) -> BTreeMap<String, Disk> {
    let root = sys_root.join("block");
    let disk = |name: String| {
        let device = root.join(&name);
        let size_bytes = read_number(&device.join("size"))?.checked_mul(SECTOR_BYTES)?;
        let disk = Disk {
            model: read_text(&device.join("device/model")),
            rotational: read_number(&device.join("queue/rotational")).map(|flag| flag != 0),
            scheduler: read_text(&device.join("queue/scheduler"))
                .and_then(|text| parse_io_scheduler(&text)),
            name,
            size_bytes,
        };
        (size_bytes > 0).then_some((read_text(&device.join("dev"))?, disk))
    };
    entry_names(&root).take(DISKS_MAX).filter_map(disk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::write;

    #[test]
    fn empty_devices_are_left_out() {
        let sys = tempfile::tempdir().unwrap();
        write(
            sys.path(),
            &[
                ("block/sda/dev", "8:0\n"),
                ("block/sda/size", "2048\n"),
                ("block/sda/queue/rotational", "0\n"),
                ("block/sda/queue/scheduler", "none [mq-deadline] kyber \n"),
                ("block/sda/device/model", "Disk 9000   \n"),
                ("block/loop0/dev", "7:0\n"),
                ("block/loop0/size", "0\n"),
                ("block/ram0/dev", "1:0\n"),
                ("block/ram0/size", "8\n"),
            ],
        );
        let sda = Disk {
            name: "sda".to_owned(),
            size_bytes: 1 << 20,
            model: Some("Disk 9000".to_owned()),
            rotational: Some(false),
            scheduler: Some("mq-deadline".to_owned()),
        };
        let ram = Disk {
            name: "ram0".to_owned(),
            size_bytes: 4096,
            model: None,
            rotational: None,
            scheduler: None,
        };
        let expected = [("1:0".to_owned(), ram), ("8:0".to_owned(), sda)];
        assert_eq!(read(sys.path()), BTreeMap::from(expected));
    }
}
