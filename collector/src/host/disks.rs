//! Block devices of the host.

use std::{collections::BTreeMap, path::Path};

use tare_model::Disk;

use crate::host::facts::{names, number, text};

/// More block devices than this are not listed.
const MAX_DISKS: usize = 4096;

/// What Linux calls a sector, whatever the device does (`include/linux/blk_types.h`).
const SECTOR_BYTES: u64 = 512;

/// The block devices of a `/sys` by `major:minor`, without partitions and empty devices.
pub(super) fn read(sys_root: &Path) -> BTreeMap<String, Disk> {
    let root = sys_root.join("block");
    let disk = |name: String| {
        let device = root.join(&name);
        let size_bytes = number(&device.join("size"))?.checked_mul(SECTOR_BYTES)?;
        let disk = Disk {
            model: text(&device.join("device/model")),
            rotational: number(&device.join("queue/rotational")).map(|flag| flag != 0),
            scheduler: text(&device.join("queue/scheduler")).and_then(|all| parse_scheduler(&all)),
            name,
            size_bytes,
        };
        (size_bytes > 0).then_some((text(&device.join("dev"))?, disk))
    };
    names(&root).take(MAX_DISKS).filter_map(disk).collect()
}

/// The one in brackets of `none [mq-deadline] kyber` (`block/elevator.c`, `elv_iosched_show`); a
/// lone word where there is no choice.
fn parse_scheduler(all: &str) -> Option<String> {
    let chosen = all.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    let mut words = all.split_whitespace();
    let lone = words.next().filter(|_| words.next().is_none());
    chosen.or(lone).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn empty_devices_are_left_out() {
        let sys = tempfile::tempdir().unwrap();
        for (name, file, text) in [
            ("sda", "dev", "8:0\n"),
            ("sda", "size", "2048\n"),
            ("sda", "queue/rotational", "0\n"),
            ("sda", "queue/scheduler", "none [mq-deadline] kyber \n"),
            ("sda", "device/model", "Disk 9000   \n"),
            ("loop0", "dev", "7:0\n"),
            ("loop0", "size", "0\n"),
            ("ram0", "dev", "1:0\n"),
            ("ram0", "size", "8\n"),
        ] {
            let path = sys.path().join("block").join(name).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
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

    #[test]
    fn the_scheduler_is_the_chosen_one() {
        assert_eq!(parse_scheduler("none"), Some("none".to_owned()));
        assert_eq!(parse_scheduler("[none] mq-deadline"), Some("none".to_owned()));
        assert_eq!(parse_scheduler("a b"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text: String) {
            parse_scheduler(&text);
        }
    }
}
