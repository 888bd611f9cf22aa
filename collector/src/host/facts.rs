//! What seldom changes about the host.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tare_model::{Disk, HostHugePages as HugePages, NetworkDevice, NumaNode};

use crate::host::{HostRoot, Processors, cpus, disks, interfaces};

/// How often devices are looked for: they may come and go.
const DEVICES_INTERVAL: Duration = Duration::from_secs(60);

/// What seldom changes about the host. `None` is unknown.
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    /// Who it is.
    pub identity: Identity,
    /// Its CPUs.
    pub processors: Processors,
    /// Its NUMA nodes.
    pub numa_nodes: Vec<NumaNode>,
    /// Its huge pages by size.
    pub huge_pages: Vec<HugePages>,
    /// Its block devices by `major:minor`, without empty ones and partitions.
    pub disks: BTreeMap<String, Disk>,
    /// Its network devices by name, without `lo` and those whose other end is in a container.
    pub network_devices: BTreeMap<String, NetworkDevice>,
    sys_root: PathBuf,
    looked: Option<Instant>,
}

/// Who a host is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `/proc/sys/kernel/hostname`: that of the reader's UTS namespace.
    pub hostname: Option<String>,
    /// `/proc/sys/kernel/osrelease`.
    pub kernel: Option<String>,
    /// `PRETTY_NAME` of the host's `/etc/os-release`.
    pub os_name: Option<String>,
    /// `/proc/sys/kernel/random/boot_id`: another one after each boot.
    pub boot_id: Option<String>,
    /// The host's `/etc/machine-id`: another one for each installation.
    pub machine_id: Option<String>,
    /// The firmware's `product_uuid`, which only root may read.
    pub system_uuid: Option<String>,
}

impl HostFacts {
    /// Reads the facts; what cannot be read is unknown.
    pub fn read(proc_root: &Path, sys_root: &Path) -> Self {
        let mut facts = Self {
            identity: Identity::read(proc_root, sys_root),
            processors: Processors::read(proc_root, sys_root),
            sys_root: sys_root.to_owned(),
            ..Self::default()
        };
        facts.refresh();
        facts
    }

    /// Looks again for what may come and go, if it is time to.
    pub fn refresh(&mut self) {
        let now = Instant::now();
        if self.looked.is_none_or(|looked| now.duration_since(looked) >= DEVICES_INTERVAL) {
            self.looked = Some(now);
            self.numa_nodes = cpus::numa_nodes(&self.sys_root);
            self.huge_pages = cpus::huge_pages(&self.sys_root);
            self.disks = disks::read(&self.sys_root);
            self.network_devices = interfaces::read(&self.sys_root);
        }
    }
}

impl Identity {
    fn read(proc_root: &Path, sys_root: &Path) -> Self {
        let root = HostRoot::new(proc_root);
        let kernel = proc_root.join("sys/kernel");
        Self {
            hostname: text(&kernel.join("hostname")),
            kernel: text(&kernel.join("osrelease")),
            os_name: root.read("/etc/os-release").and_then(|text| parse_os_name(&text)),
            boot_id: text(&kernel.join("random/boot_id")),
            machine_id: root.read("/etc/machine-id"),
            system_uuid: text(&sys_root.join("class/dmi/id/product_uuid")),
        }
    }
}

/// A file's text, trimmed; `None` if it cannot be read or is empty.
pub(super) fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The number in a file.
pub(super) fn number(path: &Path) -> Option<u64> {
    text(path)?.parse().ok()
}

/// Names in a directory.
pub(super) fn names(directory: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// `PRETTY_NAME`, else `NAME` with `VERSION`, of an `os-release` file.
fn parse_os_name(text: &str) -> Option<String> {
    let value = |name: &str| {
        let quoted = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        let value = quoted.trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    };
    value("PRETTY_NAME").or_else(|| value("NAME"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_host_is_read() {
        let facts = HostFacts::read(Path::new("/proc"), Path::new("/sys"));
        assert!(facts.identity.kernel.is_some_and(|kernel| !kernel.contains('\n')));
        assert!(facts.identity.boot_id.is_some_and(|id| id.len() == 36));
        assert!(facts.identity.os_name.is_some());
        assert!(facts.processors.physical_cores > Some(0));
        let nothing = HostFacts::read(Path::new("/nonexistent"), Path::new("/nonexistent"));
        assert_eq!(nothing.identity, Identity::default());
        assert_eq!(nothing.processors, Processors::default());
        assert!(nothing.disks.is_empty() && nothing.network_devices.is_empty());
    }

    #[test]
    fn the_name_for_people_comes_first() {
        let text = "NAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(parse_os_name(text).as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(parse_os_name("NAME=Alpine\n").as_deref(), Some("Alpine"));
        assert_eq!(parse_os_name("NAMES=x\nPRETTY_NAME=\"\"\n"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text: String) {
            parse_os_name(&text);
        }
    }
}
