//! Two samples in, what people read out: rates, percentages, working sets.
//!
//! Pure: no clock, no files, no kernel. The types are the JSON contract, so their field names are
//! public and only grow. `None` means unknown and is never written as 0.

mod block;
mod derive;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

pub use self::block::{Block, Count, Device, Histogram, Latency};
pub use self::derive::report;
/// Counters of one network device.
pub use crate::network::InterfaceCounters as Interface;
pub use crate::sources::{Family, Source, Sources, State};

/// Everything Tare knows about a host at one instant.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// When the newer sample was taken.
    pub time: Timestamp,
    /// Seconds between the two samples that the rates come from; `None` with a single sample.
    pub interval_seconds: Option<f64>,
    /// The host as a whole.
    pub host: Host,
    /// Which source each family of numbers came from, and why a better one is off.
    pub sources: Sources,
    /// Containers, services or plain cgroups, in no promised order.
    pub containers: Vec<Container>,
    /// Receipts of containers that ended, the latest first.
    pub ended: Vec<Ended>,
}

/// The last known totals of a container that ended.
#[derive(Clone, Debug, Serialize)]
pub struct Ended {
    /// Everything as of its end; `state` is `ended`.
    #[serde(flatten)]
    pub container: Container,
    /// When its last process ended, or when that was noticed.
    pub ended_at: Timestamp,
    /// How sure each family's numbers are.
    pub finality: BTreeMap<Family, Finality>,
}

/// How sure a receipt's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Finality {
    /// `final`, `last_sample`, or `unknown` if they were never read.
    pub state: &'static str,
    /// By how much the last sample was older than the end.
    pub age_seconds: Option<f64>,
}

/// The host as a whole.
#[derive(Clone, Debug, Serialize)]
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
    pub cgroup_layout: &'static str,
}

/// What a row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A cgroup that a container runtime made for one container.
    Container,
    /// A service of the host's init system.
    Service,
    /// Any other cgroup.
    Other,
}

/// One container, service or plain cgroup with all its descendants.
#[derive(Clone, Debug, Serialize)]
pub struct Container {
    /// What the row stands for.
    pub kind: Kind,
    /// The runtime's full id; for a service its unit name, for a plain cgroup its path.
    pub id: String,
    /// The name people gave it; `None` until a runtime told it.
    pub name: Option<String>,
    /// The image reference.
    pub image: Option<String>,
    /// `docker`, `containerd`, `cri-o`, `podman`, `lxc`, `nspawn`, `systemd`; `None` if unknown.
    pub runtime: Option<&'static str>,
    /// Path below the root of its hierarchy, starting with `/`.
    pub cgroup: String,
    /// Inode of its cgroup2 directory; `None` where no cgroup2 hierarchy holds it.
    pub cgroup_id: Option<u64>,
    /// The Kubernetes pod that it belongs to.
    pub pod: Option<Pod>,
    /// The runtime's labels.
    pub labels: BTreeMap<String, String>,
    /// `running` or `ended`.
    pub state: &'static str,
    /// When its first process started, as its runtime tells.
    pub started_at: Option<Timestamp>,
    /// How it came to life, by the kernel's own events.
    pub startup: Startup,
    /// CPU time.
    pub cpu: Cpu,
    /// Memory and swap.
    pub memory: Memory,
    /// Network, seen from the devices and from the sockets.
    pub network: Network,
    /// Block I/O.
    pub block: Block,
    /// Processes and threads.
    pub pids: Pids,
}

/// A Kubernetes pod as far as a cgroup path tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pod {
    /// The pod's uid, with dashes.
    pub uid: String,
    /// `guaranteed`, `burstable` or `besteffort`.
    pub qos: Option<&'static str>,
}

/// When a container came to life; `null` if it did so before Tare looked, or has not yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Startup {
    /// Its cgroup was made.
    pub made_at: Option<Timestamp>,
    /// Its first program was executed.
    pub exec_at: Option<Timestamp>,
    /// Its first TCP socket listened.
    pub listen_at: Option<Timestamp>,
}

/// A process that the kernel killed for want of memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OomKill {
    /// When.
    pub at: Timestamp,
    /// Its id on the host.
    pub pid: u32,
    /// Its command, 15 bytes at most.
    pub command: String,
}

/// CPU time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// CPU seconds used since the cgroup was made.
    pub usage_seconds: Option<f64>,
    /// Part of it in user mode.
    pub user_seconds: Option<f64>,
    /// Part of it in the kernel.
    pub system_seconds: Option<f64>,
    /// Share of one CPU over the interval: 100 is one CPU fully used, as `docker stats` counts.
    pub percent: Option<f64>,
    /// CFS periods in which the cgroup could run.
    pub periods: Option<u64>,
    /// Periods in which it was throttled.
    pub throttled_periods: Option<u64>,
    /// Seconds for which it was throttled.
    pub throttled_seconds: Option<f64>,
    /// CPUs that its quota allows; `None` without one.
    pub limit_cores: Option<f64>,
    /// Time lost to waiting for a CPU.
    pub pressure: Option<Pressure>,
}

/// Time lost to waiting for a resource (`Documentation/accounting/psi.rst`, Linux 4.20).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// Seconds in which some task waited.
    pub some_seconds: Option<f64>,
    /// Seconds in which no task could do anything but wait.
    pub full_seconds: Option<f64>,
}

/// Memory and swap.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Everything charged to the cgroup, page cache included.
    pub usage_bytes: Option<u64>,
    /// Usage without inactive file pages: `MEM USAGE` of `docker stats`.
    pub working_set_bytes: Option<u64>,
    /// The limit in force, never more than the host has.
    pub limit_bytes: Option<u64>,
    /// Working set as a share of the limit.
    pub percent: Option<f64>,
    /// Anonymous memory.
    pub rss_bytes: Option<u64>,
    /// Page cache.
    pub cache_bytes: Option<u64>,
    /// Swap in use.
    pub swap_bytes: Option<u64>,
    /// Highest usage so far.
    pub peak_bytes: Option<u64>,
    /// Processes that the kernel killed for want of memory.
    pub oom_kills: Option<u64>,
    /// The last of them, as the kernel told it.
    pub last_oom_kill: Option<OomKill>,
    /// Time lost to waiting for memory.
    pub pressure: Option<Pressure>,
    /// The kernel's `memory.stat`, whole.
    pub stat: BTreeMap<String, u64>,
}

/// Network.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Network {
    /// Devices of the network namespace without `lo`; shared by all who share the namespace.
    pub interfaces: Option<BTreeMap<String, Interface>>,
    /// The container's own sockets, right in shared namespaces too.
    pub sockets: Option<Sockets>,
    /// What became of the TCP connections of the container's own sockets.
    pub tcp_events: Option<TcpEvents>,
    /// Ids of the others in the same network namespace; `None` if unknown.
    pub shared_with: Option<Vec<String>>,
    /// Whether that namespace is the host's.
    pub host_namespace: Option<bool>,
}

/// What a container's sockets carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sockets {
    /// What a byte means here.
    pub level: Level,
    /// When counting began; `None` if that was before the container did anything.
    pub since: Option<Timestamp>,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// The same, by transport (level `payload`).
    pub tcp: Option<Traffic>,
    /// The same, by transport (level `payload`).
    pub udp: Option<Traffic>,
    /// Packets received (level `l3`).
    pub rx_packets: Option<u64>,
    /// Packets sent (level `l3`).
    pub tx_packets: Option<u64>,
    /// What went over the loopback device, which is not part of the sums above (level `l3`).
    pub loopback: Option<Packets>,
}

/// What became of a container's TCP connections. A socket belongs to the container that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TcpEvents {
    /// When counting began; `None` if that was before the container did anything.
    pub since: Option<Timestamp>,
    /// Segments sent again, SYNs included.
    pub retransmits: Option<u64>,
    /// Connections.
    pub connections: Option<Connections>,
}

/// How TCP connections began and ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// Established on the container's own initiative.
    pub opened: u64,
    /// Established on that of others, whether or not the program has called `accept` by now.
    pub accepted: u64,
    /// Established once and over in both directions, orderly or not.
    pub closed: u64,
    /// Asked for by the container and never established: refused, timed out or given up.
    pub failed: u64,
}

/// What a byte of the socket view means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// What programs passed to and got from their sockets.
    Payload,
    /// IP packets with their headers.
    L3,
}

/// Calls and bytes of one transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Traffic {
    pub rx_bytes: u64,
    pub rx_calls: u64,
    pub tx_bytes: u64,
    pub tx_calls: u64,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Packets {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
}

/// Processes and threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pids {
    /// Tasks now.
    pub current: Option<u64>,
    /// The most that may exist; `None` is unlimited or unknown.
    pub limit: Option<u64>,
}
