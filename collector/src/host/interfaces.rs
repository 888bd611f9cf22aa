//! Network devices of the host.

use std::{collections::BTreeMap, fs, path::Path};

use tare_model::NetworkDevice;

use crate::host::facts::{names, number, text};

/// More network devices than this are not listed.
const MAX_DEVICES: usize = 4096;

/// The network devices of a `/sys` by name. `/sys` shows those of the network namespace that it
/// was mounted in.
pub(super) fn read(sys_root: &Path) -> BTreeMap<String, NetworkDevice> {
    let root = sys_root.join("class/net");
    let listed = names(&root).filter(|name| !is_left_out(&root.join(name))).take(MAX_DEVICES);
    listed.map(|name| (name.clone(), device(&root.join(name)))).collect()
}

fn device(place: &Path) -> NetworkDevice {
    const MEGABIT: u64 = 1_000_000;
    // Asked for its speed, a device that is down answers with an error, a virtual one with -1.
    let megabits = number(&place.join("speed")).filter(|speed| *speed != u64::from(u32::MAX));
    NetworkDevice {
        mac: text(&place.join("address")),
        mtu_bytes: number(&place.join("mtu")),
        speed_bits_per_second: megabits.and_then(|speed| speed.checked_mul(MEGABIT)),
        state: text(&place.join("operstate")),
        physical: place.join("device").exists(),
    }
}

/// The loopback device, and devices that stand for another one which is not here: the ends of a
/// veth pair that leads into a container.
fn is_left_out(place: &Path) -> bool {
    const LOOPBACK: u64 = 772; // ARPHRD_LOOPBACK
    if number(&place.join("type")) == Some(LOOPBACK) {
        return true;
    }
    let (own, other) = (number(&place.join("ifindex")), number(&place.join("iflink")));
    own != other && other.is_some() && !stands_on_another(place)
}

/// Whether a device stands on one of the same namespace, as a VLAN does.
fn stands_on_another(place: &Path) -> bool {
    let mut entries = fs::read_dir(place).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().starts_with("lower_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_pairs_and_the_loopback_are_left_out() {
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
