//! The host as a whole.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Pressure, Word};

/// The host as a whole.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Host {
    /// `/proc/sys/kernel/hostname`.
    pub hostname: Option<String>,
    /// `/proc/sys/kernel/osrelease`.
    pub kernel: Option<String>,
    /// CPUs that are online.
    pub online_cpus: Option<u32>,
    /// `MemTotal`.
    pub memory_bytes: Option<u64>,
    /// `MemAvailable`.
    pub memory_available_bytes: Option<u64>,
    /// Share of one CPU that all CPUs together were busy over the interval: at most 100 times
    /// `online_cpus`.
    pub cpu_percent: Option<f64>,
    /// Tasks that ran or waited uninterruptibly, averaged over 1, 5 and 15 minutes.
    pub load_average: Option<[f64; 3]>,
    /// Tasks that run or wait for a CPU at this instant, Tare's own included.
    pub runnable_tasks: Option<u64>,
    /// `v1`, `v2` or `hybrid`.
    pub cgroup_layout: Word,
    /// `PRETTY_NAME` of `/etc/os-release`.
    pub os_name: Option<String>,
    /// Another one after each boot.
    pub boot_id: Option<String>,
    /// Another one for each installation.
    pub machine_id: Option<String>,
    /// The firmware's, which only root may read.
    pub system_uuid: Option<String>,
    /// When it booted, by the clock of today.
    pub booted_at: Option<Timestamp>,
    /// Since boot, sleep included.
    pub uptime_seconds: Option<f64>,
    /// Its CPUs and their time.
    pub cpu: HostCpu,
    /// Where its memory is.
    pub memory: HostMemory,
    /// Time that its tasks lost to waiting.
    pub pressure: Pressures,
    /// Its NUMA nodes.
    pub numa_nodes: Vec<NumaNode>,
    /// Its huge pages by size.
    pub huge_pages: Vec<HugePages>,
    /// Its memory modules by type, such as `Unbuffered-DDR4`; empty where no driver knows them.
    pub memory_modules: BTreeMap<String, MemoryModules>,
    /// Its block devices by `major:minor`, without empty ones and partitions.
    pub block_devices: BTreeMap<String, Disk>,
    /// Its network devices by name, without `lo` and those that lead into containers.
    pub network_devices: BTreeMap<String, NetworkDevice>,
}

/// The host's CPUs; times are of all of them since boot.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct HostCpu {
    /// The first CPU's name.
    pub model: Option<String>,
    /// Packages.
    pub sockets: Option<u32>,
    /// Cores, each of which may be several CPUs.
    pub physical_cores: Option<u32>,
    /// The highest of any CPU.
    pub max_frequency_hertz: Option<u64>,
    /// Cores with a CPU that was online when Tare started.
    pub cores: Vec<Core>,
    /// Their caches, each once.
    pub caches: Vec<Cache>,
    /// Programs, guests of virtual machines included.
    pub user_seconds: Option<f64>,
    /// Programs of low priority.
    pub nice_seconds: Option<f64>,
    /// The kernel.
    pub system_seconds: Option<f64>,
    pub idle_seconds: Option<f64>,
    /// Idle while a task waited for I/O.
    pub iowait_seconds: Option<f64>,
    pub irq_seconds: Option<f64>,
    pub softirq_seconds: Option<f64>,
    /// Taken by the hypervisor for others.
    pub steal_seconds: Option<f64>,
}

/// A core.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Core {
    /// Its number, which other packages may have too.
    pub id: u32,
    /// Its package.
    pub socket: u32,
    /// Its NUMA node; `None` where the kernel knows no nodes.
    pub node: Option<u32>,
    /// Its CPUs that are online.
    pub cpus: Vec<u32>,
}

/// A CPU cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(default)]
pub struct Cache {
    /// 1 is the nearest to the core.
    pub level: u32,
    /// `Data`, `Instruction` or `Unified`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its size.
    pub size_bytes: u64,
    /// The CPUs that share it, such as `0-3,8-11`.
    pub cpus: String,
}

/// Memory modules of one type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct MemoryModules {
    /// How many there are.
    pub count: u64,
    /// What they hold together.
    pub capacity_bytes: u64,
}

/// Where the host's memory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct HostMemory {
    /// Used for nothing at all.
    pub free_bytes: Option<u64>,
    /// Cached blocks of devices.
    pub buffers_bytes: Option<u64>,
    /// The page cache.
    pub cached_bytes: Option<u64>,
    /// All swap there is.
    pub swap_bytes: Option<u64>,
    /// Swap that is not used.
    pub swap_free_bytes: Option<u64>,
}

/// Time that the host's tasks lost to waiting; `None` where the kernel does not account for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Pressures {
    /// For a CPU.
    pub cpu: Option<Pressure>,
    /// For memory.
    pub memory: Option<Pressure>,
    /// For block I/O.
    pub io: Option<Pressure>,
}

/// A block device.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Disk {
    /// Its name, such as `nvme0n1`.
    pub name: String,
    /// Its capacity.
    pub size_bytes: u64,
    /// Its model as the maker names it. Virtual devices have none.
    pub model: Option<String>,
    /// The `rotational` flag of its queue. Many virtual disks have it, whatever is below.
    pub rotational: Option<bool>,
    /// Its I/O scheduler. `None` for devices without request queues.
    pub scheduler: Option<String>,
}

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct NetworkDevice {
    /// Its hardware address.
    pub mac: Option<String>,
    /// Its MTU.
    pub mtu_bytes: Option<u64>,
    /// Its speed. Unknown where the link is down and for virtual devices.
    pub speed_bits_per_second: Option<u64>,
    /// Its operational state, such as `up`, `down` or `unknown` (RFC 2863).
    pub state: Option<String>,
    /// Whether it belongs to a device of the machine, real or emulated by a hypervisor.
    pub physical: bool,
}

/// A NUMA node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct NumaNode {
    /// The kernel's number of the node.
    pub id: u32,
    /// Its CPUs, such as `0-3,8-11`; empty for memory without CPUs.
    pub cpus: String,
    /// Its memory.
    pub memory_bytes: Option<u64>,
    /// How far each node's memory is, by the node's number: 10 is its own, 20 costs twice as much.
    #[serde(default)]
    pub distances: BTreeMap<String, u64>,
    /// Its part of the huge pages, by size.
    #[serde(default)]
    pub huge_pages: Vec<HugePages>,
}

/// Huge pages of one size.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct HugePages {
    /// Size of one page.
    pub size_bytes: u64,
    /// Pages in the pool.
    pub total: Option<u64>,
    /// Pages in the pool that are not allocated.
    pub free: Option<u64>,
}
