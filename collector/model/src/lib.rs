//! The contract of Tare: what reports, snapshots and the JSON API hold.
//!
//! Plain types without a kernel and without I/O. Their field names are public and only grow. `None`
//! means unknown and is never written as 0.

mod block;
mod change;
#[cfg(test)]
mod fixture;
mod host;
mod measure;
mod network;
mod point;
mod resources;
mod snapshot;
mod sources;
mod tasks;
mod window;

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    block::{Block, Count, Device, Histogram, Latency},
    change::{Change, Delay, changes},
    host::{
        Cache, Core, Disk, Host, HostCpu, HostMemory, HugePages as HostHugePages, MemoryModules,
        NetworkDevice, NumaNode, Pressures,
    },
    measure::{MEASURES, Measure, Reading, Time, Unit},
    network::{
        Connections, Interface, Level, NamespaceId, NamespaceSockets, Network, NetworkIo, Packets,
        Sockets, TcpEvents, TcpStates, Traffic, UdpSockets,
    },
    point::{POINT_FIELDS, Point},
    resources::{
        CpuSettings, HugePages, MemoryEvents, MemoryLimits, NumaMemory, PerfEventCount, Pressure,
        RootFilesystem, Tree, WritableLayer,
    },
    snapshot::{SNAPSHOT_VERSION, Snapshot},
    sources::{Family, Reconciled, Source, Sources, State},
    tasks::{LoadAverages, Tasks, WaitingTask},
    window::{Ends, Window},
};
/// The lines of the kernel's `memory.stat`.
pub use tare_parsers::stat_table::StatTable;

/// One of a few fixed words, or what a file says in its place.
pub type Word = Cow<'static, str>;

/// Everything Tare knows about a host at one instant.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
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
    /// The cgroups above containers, if they are wanted: the root and pods. Only `/metrics` has
    /// them.
    #[serde(skip)]
    pub parents: Vec<Container>,
}

/// The last known totals of a container that ended.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
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
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Finality {
    /// `final`, `last_sample`, or `unknown` if they were never read.
    pub state: Word,
    /// By how much the last sample was older than the end.
    pub age_seconds: Option<f64>,
}

/// What a row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
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
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Container {
    /// What the row stands for.
    pub kind: Kind,
    /// The runtime's full id; for a service its unit name, for a plain cgroup its path.
    pub id: String,
    /// Its name; `None` until its runtime has answered.
    pub name: Option<String>,
    /// The image reference.
    pub image: Option<String>,
    /// `docker`, `containerd`, `cri-o`, `podman`, `lxc`, `nspawn`, `systemd`; `None` if unknown.
    pub runtime: Option<Word>,
    /// Path below the root of its hierarchy, starting with `/`.
    pub cgroup: String,
    /// Inode of its cgroup2 directory; `None` where no cgroup2 hierarchy holds it.
    pub cgroup_id: Option<u64>,
    /// The Kubernetes pod that it belongs to.
    pub pod: Option<Pod>,
    /// Whether it only holds the namespaces of a pod.
    pub sandbox: Option<bool>,
    /// Where Docker Compose put it.
    pub compose: Option<Compose>,
    /// The labels that `--labels` selects.
    pub labels: BTreeMap<String, String>,
    /// The environment variables that `--environment` selects.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// `running`, `frozen` or `ended`.
    pub state: Word,
    /// When its first process started, from its runtime.
    pub started_at: Option<Timestamp>,
    /// How often its runtime has restarted it.
    pub restart_count: Option<u64>,
    /// The last result of its health check: `starting`, `healthy`, `unhealthy`.
    pub health: Option<Word>,
    /// The exit code of its first process, once it has ended.
    pub exit_code: Option<i64>,
    /// Whether its runtime reports an OOM kill, once it has ended.
    pub oom_killed: Option<bool>,
    /// The steps of its start, from the kernel's events.
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
    /// The file system that its root is on; `None` if unknown.
    #[serde(default)]
    pub root_filesystem: Option<RootFilesystem>,
    /// What it has written to its root; `None` if its runtime does not tell.
    #[serde(default)]
    pub writable_layer: Option<WritableLayer>,
    /// Tasks by state, their load, and who waits.
    #[serde(default)]
    pub tasks: Tasks,
    /// Events that the kernel and the CPU count, by perf's names; `None` unless some are wanted.
    #[serde(default)]
    pub perf_events: Option<BTreeMap<Cow<'static, str>, PerfEventCount>>,
    /// The cgroup as a part of its tree.
    pub tree: Tree,
}

impl Container {
    /// A container of which only the id is known.
    pub fn unknown(kind: Kind, id: String) -> Self {
        Self {
            kind,
            id,
            name: None,
            image: None,
            runtime: None,
            cgroup: String::new(),
            cgroup_id: None,
            pod: None,
            sandbox: None,
            compose: None,
            labels: BTreeMap::new(),
            environment: BTreeMap::new(),
            state: "running".into(),
            startup: Startup::default(),
            started_at: None,
            restart_count: None,
            health: None,
            exit_code: None,
            oom_killed: None,
            cpu: Cpu::default(),
            memory: Memory::default(),
            network: Network::default(),
            block: Block::default(),
            pids: Pids::default(),
            root_filesystem: None,
            writable_layer: None,
            tasks: Tasks::default(),
            perf_events: None,
            tree: Tree::default(),
        }
    }

    /// The name of its Kubernetes pod, or else the pod's uid.
    pub fn pod_name(&self) -> Option<&str> {
        let pod = self.pod.as_ref()?;
        pod.name.as_deref().or(pod.uid.as_deref())
    }

    /// The namespace of its Kubernetes pod.
    pub fn pod_namespace(&self) -> Option<&str> {
        self.pod.as_ref()?.namespace.as_deref()
    }
}

/// A Kubernetes pod: uid and class from the cgroup path, names from the runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Pod {
    /// The pod's uid, with dashes.
    pub uid: Option<String>,
    /// `guaranteed`, `burstable` or `besteffort`.
    pub qos: Option<Word>,
    /// The pod's name.
    pub name: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// The container's name in the pod.
    pub container: Option<String>,
}

/// Where Docker Compose put a container.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Compose {
    /// The project.
    pub project: String,
    /// The service in it.
    pub service: Option<String>,
}

/// The steps of a container's start; `null` if they were before Tare started, or are to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Startup {
    /// Its cgroup was made.
    pub made_at: Option<Timestamp>,
    /// Its first program was executed.
    pub exec_at: Option<Timestamp>,
    /// Its first TCP socket listened.
    pub listen_at: Option<Timestamp>,
}

/// A process that the kernel killed because memory ran out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct OomKill {
    /// When.
    pub at: Timestamp,
    /// Its id on the host.
    pub pid: u32,
    /// Its command, 15 bytes at most.
    pub command: String,
}

/// CPU time.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
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
    /// Periods in which it used more than its quota, from saved-up quota.
    pub bursts: Option<u64>,
    /// Seconds by which it did.
    pub burst_seconds: Option<f64>,
    /// CPU seconds used on each CPU (v1). Some seconds old.
    pub per_cpu_seconds: Option<Vec<f64>>,
    /// CPUs that the tightest quota allows, of its own and those above it; `None` without one.
    pub limit_cores: Option<f64>,
    /// The cgroup's own settings.
    pub settings: CpuSettings,
    /// Time lost to waiting for a CPU.
    pub pressure: Option<Pressure>,
}

/// Memory and swap.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
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
    /// Page cache that processes have mapped.
    pub mapped_bytes: Option<u64>,
    /// Highest usage so far.
    pub peak_bytes: Option<u64>,
    /// Most swap in use so far (v2, since Linux 6.5).
    pub swap_peak_bytes: Option<u64>,
    /// Most memory and swap together in use so far (v1).
    pub memory_and_swap_peak_bytes: Option<u64>,
    /// Processes that the kernel killed because memory ran out.
    pub oom_kills: Option<u64>,
    /// The last of them, as the kernel reported it.
    pub last_oom_kill: Option<OomKill>,
    /// Whether tasks wait now because the limit is reached (v1).
    pub under_oom: Option<bool>,
    /// What happened at the limits.
    pub events: MemoryEvents,
    /// The part of it that was not in cgroups below its own (v2).
    pub events_local: MemoryEvents,
    /// The cgroup's own limits.
    pub limits: MemoryLimits,
    /// Huge pages, by size; they are not part of usage.
    pub huge_pages: BTreeMap<String, HugePages>,
    /// Memory on each NUMA node, by the node's number, some seconds old at most.
    pub numa_nodes: BTreeMap<String, NumaMemory>,
    /// Time lost to waiting for memory.
    pub pressure: Option<Pressure>,
    /// When `stat` was read, and the usage that the working set is a part of: also the time of
    /// everything that is derived from these.
    pub stat_at: Option<Timestamp>,
    /// The kernel's `memory.stat`, whole.
    pub stat: StatTable,
}

/// Processes and threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Pids {
    /// Tasks now: threads, not processes.
    pub current: Option<u64>,
    /// Processes, some seconds old at most.
    pub processes: Option<u64>,
    /// The most tasks that existed at a time.
    pub peak: Option<u64>,
    /// The most that may exist; `None` is unlimited or unknown.
    pub limit: Option<u64>,
    /// Tasks that could not be made because of the limit.
    pub limit_hits: Option<u64>,
    /// Files that its first process may have open (the soft limit), some seconds old at most.
    pub open_files_limit: Option<u64>,
}
