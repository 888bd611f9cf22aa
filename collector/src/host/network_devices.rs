//! Network devices of the host and what they are.

use std::{collections::BTreeMap, path::Path};

use tare_model::NetworkDevice;

use crate::small_files::{entry_names, read_number, read_text};

/// Network devices beyond this number are not listed.
const DEVICES_MAX: usize = 4096;

/// Reads the network devices of a `/sys` by name, without `lo` and veth devices whose peer is in
/// another network namespace. `/sys` shows the devices of the network namespace in which it was
/// mounted.
pub(super) fn read(sys_root: &Path) -> BTreeMap<String, NetworkDevice> {
    let root = sys_root.join("class/net");
    let listed = entry_names(&root).filter(|name| !is_left_out(&root.join(name))).take(DEVICES_MAX);
    listed.map(|name| (name.clone(), device(&root.join(name)))).collect()
}

fn device(directory: &Path) -> NetworkDevice {
    const MEGABIT: u64 = 1_000_000;
    // Reading `speed` fails for a device that is down, and gives -1 for a virtual one.
    let megabits =
        read_number(&directory.join("speed")).filter(|speed| *speed != u64::from(u32::MAX));
    NetworkDevice {
        mac: read_text(&directory.join("address")),
        mtu_bytes: read_number(&directory.join("mtu")),
        speed_bits_per_second: megabits.and_then(|speed| speed.checked_mul(MEGABIT)),
        state: read_text(&directory.join("operstate")),
        physical: directory.join("device").exists(),
    }
}

/// Whether a device is the loopback, or is linked to a device of another network namespace, as a
/// veth device whose peer is in a container.
fn is_left_out(directory: &Path) -> bool {
    const LOOPBACK: u64 = 772; // ARPHRD_LOOPBACK
    if read_number(&directory.join("type")) == Some(LOOPBACK) {
        return true;
    }
    let (own, other) =
        (read_number(&directory.join("ifindex")), read_number(&directory.join("iflink")));
    own != other && other.is_some() && !has_lower_device(directory)
}

/// Whether a device has a lower device in the same namespace, as a VLAN does.
fn has_lower_device(directory: &Path) -> bool {
    entry_names(directory).any(|name| name.starts_with("lower_"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_loopback_and_veths_with_a_peer_elsewhere_are_left_out() {
        let sys = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = sys.path().join("class/net").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (name, kind, own, other) in [
            ("lo", "772", "1", "1"),
            ("eth0", "1", "2", "2"),
            ("veth1", "1", "3", "7"),
            ("eth0.5", "1", "4", "2"),
        ] {
            file(&format!("{name}/type"), kind);
            file(&format!("{name}/ifindex"), own);
            file(&format!("{name}/iflink"), other);
        }
        file("eth0/speed", "10000\n");
        file("eth0/mtu", "1500\n");
        file("eth0/address", "02:fc:00:00:00:01\n");
        file("eth0/operstate", "up\n");
        file("eth0/device/vendor", "0x1af4\n");
        file("eth0.5/speed", "-1\n");
        file("eth0.5/lower_eth0", "");
        let eth0 = NetworkDevice {
            mac: Some("02:fc:00:00:00:01".to_owned()),
            mtu_bytes: Some(1500),
            speed_bits_per_second: Some(10_000_000_000),
            state: Some("up".to_owned()),
            physical: true,
        };
        let vlan = NetworkDevice {
            mac: None,
            mtu_bytes: None,
            speed_bits_per_second: None,
            state: None,
            physical: false,
        };
        let expected = [("eth0".to_owned(), eth0), ("eth0.5".to_owned(), vlan)];
        assert_eq!(read(sys.path()), BTreeMap::from(expected));
    }
}
