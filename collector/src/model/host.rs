//! The host as a whole.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    host::{CpuTimes, HostFacts, HostMemory, HostUsage, Processors},
    model::{Pressure, Word, resources::pressure},
};

/// A block device.
pub use crate::host::Disk;
/// Huge pages of one size.
pub use crate::host::HugePages;
/// A network device.
pub use crate::host::NetworkDevice;
/// A NUMA node.
pub use crate::host::NumaNode;

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
    pub memory: Memory,
    /// What its tasks wait for.
    pub pressure: Pressures,
    /// Its NUMA nodes.
    pub numa_nodes: Vec<NumaNode>,
    /// Its huge pages by size.
    pub huge_pages: Vec<HugePages>,
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

/// Where the host's memory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Memory {
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

/// What the host's tasks wait for; `None` where the kernel does not tell.
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

/// What is known of the host at an instant.
pub(super) fn host(
    usage: &HostUsage,
    cpu_percent: Option<f64>,
    facts: &HostFacts,
    cgroup_layout: &'static str,
) -> Host {
    let identity = facts.identity.clone();
    let boot = usage.boot_time_seconds.and_then(|seconds| i64::try_from(seconds).ok());
    Host {
        hostname: identity.hostname,
        kernel: identity.kernel,
        online_cpus: usage.online_cpus,
        memory_bytes: usage.memory_bytes,
        memory_available_bytes: usage.memory_available_bytes,
        cpu_percent,
        load_average: usage.load_average_hundredths.map(|averages| averages.map(hundredths)),
        cgroup_layout: cgroup_layout.into(),
        os_name: identity.os_name,
        boot_id: identity.boot_id,
        machine_id: identity.machine_id,
        system_uuid: identity.system_uuid,
        booted_at: boot.and_then(|seconds| Timestamp::from_second(seconds).ok()),
        uptime_seconds: usage.uptime_hundredths.map(|hundredths| hundredths as f64 / 100.0),
        cpu: cpu(&usage.cpu, &facts.processors),
        memory: memory(&usage.memory),
        pressure: Pressures {
            cpu: pressure(usage.pressures.cpu),
            memory: pressure(usage.pressures.memory),
            io: pressure(usage.pressures.io),
        },
        numa_nodes: facts.numa_nodes.clone(),
        huge_pages: facts.huge_pages.clone(),
        block_devices: facts.disks.clone(),
        network_devices: facts.network_devices.clone(),
    }
}

fn cpu(times: &CpuTimes, processors: &Processors) -> HostCpu {
    let seconds = |time: Option<u64>| time.map(|nanoseconds| nanoseconds as f64 / 1e9);
    HostCpu {
        model: processors.model.clone(),
        sockets: processors.sockets,
        physical_cores: processors.physical_cores,
        max_frequency_hertz: processors.max_frequency_hertz,
        user_seconds: seconds(times.user_nanoseconds),
        nice_seconds: seconds(times.nice_nanoseconds),
        system_seconds: seconds(times.system_nanoseconds),
        idle_seconds: seconds(times.idle_nanoseconds),
        iowait_seconds: seconds(times.iowait_nanoseconds),
        irq_seconds: seconds(times.irq_nanoseconds),
        softirq_seconds: seconds(times.softirq_nanoseconds),
        steal_seconds: seconds(times.steal_nanoseconds),
    }
}

fn memory(memory: &HostMemory) -> Memory {
    let HostMemory { free_bytes, buffers_bytes, cached_bytes, swap_bytes, swap_free_bytes, .. } =
        *memory;
    Memory { free_bytes, buffers_bytes, cached_bytes, swap_bytes, swap_free_bytes }
}

fn hundredths(value: u64) -> f64 {
    value as f64 / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::{self, Stall};

    #[test]
    fn what_is_unknown_stays_so() {
        let host = host(&HostUsage::default(), None, &HostFacts::default(), "none");
        let value = serde_json::to_value(&host).unwrap();
        for pointer in ["/booted_at", "/uptime_seconds", "/cpu/user_seconds", "/pressure/cpu"] {
            assert_eq!(value.pointer(pointer), Some(&serde_json::Value::Null), "{pointer}");
        }
    }

    #[test]
    fn units_are_those_of_the_names() {
        let some = Stall {
            total_microseconds: Some(1_500_000),
            avg10: Some(12_50),
            avg60: Some(0),
            avg300: Some(1),
        };
        let io = cgroup::Pressure { some, ..cgroup::Pressure::default() };
        let usage = HostUsage {
            boot_time_seconds: Some(60),
            uptime_hundredths: Some(150),
            load_average_hundredths: Some([25, 0, 100]),
            pressures: cgroup::Pressures { io: Some(io), ..cgroup::Pressures::default() },
            cpu: CpuTimes { user_nanoseconds: Some(2_500_000_000), ..CpuTimes::default() },
            ..HostUsage::default()
        };
        let host = host(&usage, None, &HostFacts::default(), "v2");
        assert_eq!(host.booted_at, Timestamp::from_second(60).ok());
        assert_eq!((host.uptime_seconds, host.cpu.user_seconds), (Some(1.5), Some(2.5)));
        assert_eq!(host.load_average, Some([0.25, 0.0, 1.0]));
        let expected = Pressure {
            some_seconds: Some(1.5),
            some_avg10_percent: Some(12.5),
            some_avg60_percent: Some(0.0),
            some_avg300_percent: Some(0.01),
            ..Pressure::default()
        };
        assert_eq!((host.pressure.io, host.pressure.cpu), (Some(expected), None));
    }
}
