//! Facts about the host that seldom change.

use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tare_model::{Disk, HostHugePages, MemoryModules, NetworkDevice, NumaNode};
use tare_parsers::host_facts::parse_os_name;

use crate::{
    host::{
        cpus::Processors,
        disks, memory_modules, network_devices,
        numa::{read_huge_pages, read_numa_nodes},
        root::HostRoot,
    },
    small_files::read_text,
};

/// How often the lists of devices, nodes and huge pages are read again.
const DEVICES_INTERVAL: Duration = Duration::from_secs(60);

/// Facts about the host that seldom change. `None` is unknown.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct HostFacts {
    /// Names and identifiers of the host.
    pub identity: Identity,
    /// CPUs.
    pub processors: Processors,
    /// NUMA nodes, sorted by number.
    pub numa_nodes: Vec<NumaNode>,
    /// Huge pages, sorted by size.
    pub huge_pages: Vec<HostHugePages>,
    /// Memory modules by type.
    pub memory_modules: BTreeMap<String, MemoryModules>,
    /// Block devices by `major:minor`, without partitions and empty devices.
    pub disks: BTreeMap<String, Disk>,
    /// Network devices by name, without `lo` and veth devices whose peer is in a container.
    pub network_devices: BTreeMap<String, NetworkDevice>,
    #[serde(skip)]
    sys_root: PathBuf,
    #[serde(skip)]
    refreshed: Option<Instant>,
}

/// Names and identifiers of the host. `None` is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Identity {
    /// `/proc/sys/kernel/hostname`: the host name in the UTS namespace of Tare.
    pub hostname: Option<String>,
    /// `/proc/sys/kernel/osrelease`.
    pub kernel: Option<String>,
    /// `PRETTY_NAME`, else `NAME`, of the host's `/etc/os-release`.
    pub os_name: Option<String>,
    /// `/proc/sys/kernel/random/boot_id`, which changes at each boot.
    pub boot_id: Option<String>,
    /// The host's `/etc/machine-id`, which is made at installation (`machine-id(5)`).
    pub machine_id: Option<String>,
    /// `/sys/class/dmi/id/product_uuid` of the firmware. Only root may read it.
    pub system_uuid: Option<String>,
}

impl HostFacts {
    /// Reads the facts. Files that cannot be read leave them unknown.
    pub fn read(proc_root: &Path, sys_root: &Path) -> Self {
        let mut facts = Self {
            identity: Identity::read(proc_root, sys_root),
            processors: Processors::read(proc_root, sys_root),
            memory_modules: memory_modules::read(sys_root),
            sys_root: sys_root.to_owned(),
            ..Self::default()
        };
        facts.refresh();
        facts
    }

    /// Reads devices, NUMA nodes and huge pages again if the last time is a minute ago.
    pub fn refresh(&mut self) {
        let now = Instant::now();
        if self.refreshed.is_none_or(|at| now.duration_since(at) >= DEVICES_INTERVAL) {
            self.refreshed = Some(now);
            self.numa_nodes = read_numa_nodes(&self.sys_root);
            self.huge_pages = read_huge_pages(&self.sys_root);
            self.disks = disks::read(&self.sys_root);
            self.network_devices = network_devices::read(&self.sys_root);
        }
    }
}

impl Identity {
    fn read(proc_root: &Path, sys_root: &Path) -> Self {
        let root = HostRoot::new(proc_root);
        let kernel = proc_root.join("sys/kernel");
        Self {
            hostname: read_text(&kernel.join("hostname")),
            kernel: read_text(&kernel.join("osrelease")),
            os_name: root.read("/etc/os-release").and_then(|text| parse_os_name(&text)),
            boot_id: read_text(&kernel.join("random/boot_id")),
            machine_id: root.read("/etc/machine-id"),
            system_uuid: read_text(&sys_root.join("class/dmi/id/product_uuid")),
        }
    }
}

#[cfg(test)]
mod tests {
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
}
