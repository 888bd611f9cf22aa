//! What a container uses, in the fields of cAdvisor. What is unknown is `None`, and left out.

mod diskio;
mod memory;
mod network;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use tare_model::{Container, Point, Pressure, RootFilesystem};

use self::{
    diskio::DiskIo,
    memory::{HugePages, Memory},
    network::Network,
};
use super::{
    Cadvisor,
    catalog::{Item, Reading, nanoseconds},
    spec::Spec,
};

/// One reading.
#[derive(Debug, Serialize)]
pub(super) struct Stats {
    timestamp: Timestamp,
    #[serde(flatten)]
    has: Option<Has>,
    cpu: Option<Cpu>,
    cpu_inst: Option<CpuInst>,
    diskio: Option<DiskIo>,
    memory: Option<Memory>,
    hugetlb: Option<BTreeMap<String, HugePages>>,
    network: Option<Network>,
    filesystem: Option<Vec<Filesystem>>,
    task_stats: Option<Load>,
    load_stats: Option<Load>,
    processes: Option<Processes>,
    cpuset: Option<CpuSet>,
    oom_events: Option<u64>,
    health: Option<Health>,
}

/// What version 2.0 says of the fields of a reading.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Has {
    has_cpu: bool,
    has_diskio: bool,
    has_memory: bool,
    has_hugetlb: bool,
    has_network: bool,
    has_processes: bool,
    has_filesystem: bool,
    has_load: bool,
    has_custom_metrics: bool,
}

/// CPU time in nanoseconds.
#[derive(Debug, Serialize)]
struct Cpu {
    usage: CpuUsage,
    cfs: Option<Cfs>,
    schedstat: Option<Schedstat>,
    /// Thousandths, over 10 s.
    load_average: Option<i32>,
    psi: Option<Psi>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct CpuUsage {
    total: Option<u64>,
    per_cpu_usage: Option<Vec<u64>>,
    user: Option<u64>,
    system: Option<u64>,
}

/// Nanoseconds of CPU time in a second.
#[derive(Debug, Serialize)]
struct CpuInst {
    usage: CpuUsage,
}

#[derive(Debug, Serialize)]
struct Cfs {
    periods: Option<u64>,
    throttled_periods: Option<u64>,
    throttled_time: Option<u64>,
    bursts_periods: Option<u64>,
    burst_time: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Schedstat {
    run_time: Option<u64>,
    runqueue_time: Option<u64>,
    run_periods: Option<u64>,
}

/// Pressure.
#[derive(Debug, Serialize)]
struct Psi {
    full: PsiData,
    some: PsiData,
}

/// Shares in percent, and microseconds.
#[derive(Debug, Serialize)]
struct PsiData {
    total: Option<u64>,
    avg10: Option<f64>,
    avg60: Option<f64>,
    avg300: Option<f64>,
}

/// The file system of the root. How much of it is the container's is unknown.
#[derive(Debug, Serialize)]
struct Filesystem {
    device: String,
    #[serde(rename = "type")]
    kind: String,
    capacity: u64,
    has_inodes: bool,
    inodes: Option<u64>,
    inodes_free: Option<u64>,
}

/// Tasks by state.
#[derive(Debug, Serialize)]
struct Load {
    nr_sleeping: Option<u64>,
    nr_running: Option<u64>,
    nr_stopped: Option<u64>,
    nr_uninterruptible: Option<u64>,
    nr_io_wait: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Processes {
    process_count: Option<u64>,
    fd_count: Option<u64>,
    threads_current: Option<u64>,
    threads_max: Option<u64>,
    ulimits: Option<[Ulimit; 1]>,
}

#[derive(Debug, Serialize)]
struct Ulimit {
    name: &'static str,
    soft_limit: u64,
}

#[derive(Debug, Serialize)]
struct CpuSet {
    memory_migrate: u64,
}

#[derive(Debug, Serialize)]
struct Health {
    status: String,
}

impl Cadvisor {
    /// The latest readings of a container in a time, the oldest first. The last two have
    /// everything, those before what history keeps.
    pub(super) fn stats(
        &self,
        item: &Item,
        count: usize,
        (start, end): (Option<Timestamp>, Option<Timestamp>),
    ) -> Vec<Stats> {
        let is_wanted = |at: Timestamp| {
            start.is_none_or(|start| at >= start) && end.is_none_or(|end| at <= end)
        };
        let oldest = item.older.as_ref().map_or(item.newer.at, |older| older.at);
        let mut stats: Vec<Stats> = Vec::new();
        if let Some(instance) = item.instance.filter(|_| count > 2) {
            let device = network::only_device(&item.newer.row.network);
            let points = self.context.shared.history().points(instance, start);
            let known = points.into_iter().filter(|(at, _)| *at < oldest && is_wanted(*at));
            stats.extend(known.map(|(at, point)| Stats::remembered(at, &point, device)));
        }
        for reading in item.older.iter().chain([&item.newer]) {
            if is_wanted(reading.at) {
                stats.push(Stats::new(reading));
            }
        }
        stats.drain(..stats.len().saturating_sub(count));
        for at in (1..stats.len()).rev() {
            let (before, now) = stats.split_at_mut(at);
            if let (Some(before), Some(now)) = (before.last(), now.first_mut()) {
                now.cpu_inst = CpuInst::between(before, now);
            }
        }
        stats
    }
}

impl Stats {
    fn new(reading: &Reading) -> Self {
        let row = &reading.row;
        let tasks = &row.tasks;
        let load = tasks.read_at.is_some().then(|| Load {
            nr_sleeping: tasks.sleeping,
            nr_running: tasks.running.zip(tasks.runnable).map(|(on, ready)| on + ready),
            nr_stopped: tasks.stopped,
            nr_uninterruptible: tasks.uninterruptible,
            nr_io_wait: tasks.io_wait,
        });
        let migrate = row.cpu.settings.memory_migrate;
        Self {
            timestamp: reading.at,
            cpu: reading.cpu_nanoseconds.map(|total| Cpu::new(total, row)),
            diskio: row.block.source.is_some().then(|| DiskIo::new(&row.block)),
            memory: row.memory.usage_bytes.is_some().then(|| Memory::new(&row.memory)),
            hugetlb: memory::huge_pages(&row.memory),
            network: Network::new(&row.network),
            filesystem: row.root_filesystem.as_ref().map(|root| vec![Filesystem::new(root)]),
            task_stats: load,
            processes: Processes::new(row),
            cpuset: migrate.map(|migrate| CpuSet { memory_migrate: migrate.into() }),
            oom_events: row.memory.oom_kills,
            health: row.health.as_ref().map(|health| Health { status: health.to_string() }),
            ..Self::empty(reading.at)
        }
    }

    /// What a history has kept.
    fn remembered(at: Timestamp, point: &Point, device: Option<&str>) -> Self {
        let [cpu, working_set, rx, tx, _, _, _, _, pids, periods, throttled, rest @ ..] = point;
        let [throttled_time, oom, _, usage, anonymous, cache, swap, ..] = *rest;
        let (cpu, periods) = (*cpu, *periods);
        let has_quota = periods.is_some_and(|periods| periods > 0);
        let cfs = has_quota.then_some(Cfs {
            periods,
            throttled_periods: *throttled,
            throttled_time,
            bursts_periods: None,
            burst_time: None,
        });
        let cpu_usage = CpuUsage { total: cpu, ..CpuUsage::default() };
        Self {
            cpu: cpu.map(|_| Cpu {
                usage: cpu_usage,
                cfs,
                schedstat: None,
                load_average: None,
                psi: None,
            }),
            memory: Memory::remembered([*working_set, usage, anonymous, cache, swap]),
            network: device.and_then(|name| Network::remembered(name, *rx, *tx)),
            processes: pids
                .map(|pids| Processes { threads_current: Some(pids), ..Processes::EMPTY }),
            oom_events: oom,
            ..Self::empty(at)
        }
    }

    fn empty(timestamp: Timestamp) -> Self {
        Self {
            timestamp,
            has: None,
            cpu: None,
            cpu_inst: None,
            diskio: None,
            memory: None,
            hugetlb: None,
            network: None,
            filesystem: None,
            task_stats: None,
            load_stats: None,
            processes: None,
            cpuset: None,
            oom_events: None,
            health: None,
        }
    }

    pub(super) fn version_1(self) -> Self {
        Self { cpu_inst: None, ..self }
    }

    pub(super) fn version_2_0(self, has: Has) -> Self {
        let has = Has { has_load: self.task_stats.is_some(), ..has };
        Self { has: Some(has), ..self.version_2() }
    }

    /// Of a file system version 2.1 has only how much the container uses of it.
    pub(super) fn version_2_1(self) -> Self {
        Self { filesystem: None, ..self.version_2() }
    }

    /// Of the whole machine.
    pub(super) fn of_machine(self) -> Self {
        let machine = self.version_2_1();
        Self { diskio: None, hugetlb: None, processes: None, cpuset: None, ..machine }
    }

    fn version_2(self) -> Self {
        let network = self.network.map(Network::version_2);
        Self { network, load_stats: self.task_stats, task_stats: None, ..self }
    }
}

impl Has {
    pub(super) fn new(spec: &Spec) -> Self {
        Self {
            has_cpu: spec.has_cpu,
            has_diskio: spec.has_diskio,
            has_memory: spec.has_memory,
            has_hugetlb: spec.has_hugetlb,
            has_network: spec.has_network,
            has_processes: spec.has_processes,
            has_filesystem: spec.has_filesystem,
            has_load: false,
            has_custom_metrics: false,
        }
    }
}

impl Cpu {
    fn new(total: u64, row: &Container) -> Self {
        let (cpu, tasks) = (&row.cpu, &row.tasks);
        let per_cpu = cpu.per_cpu_seconds.as_ref();
        let has_quota = cpu.periods.is_some_and(|periods| periods > 0);
        Self {
            usage: CpuUsage {
                total: Some(total),
                per_cpu_usage: per_cpu
                    .map(|seconds| seconds.iter().copied().map(nanoseconds).collect()),
                user: cpu.user_seconds.map(nanoseconds),
                system: cpu.system_seconds.map(nanoseconds),
            },
            cfs: has_quota.then(|| Cfs {
                periods: cpu.periods,
                throttled_periods: cpu.throttled_periods,
                throttled_time: cpu.throttled_seconds.map(nanoseconds),
                bursts_periods: cpu.bursts,
                burst_time: cpu.burst_seconds.map(nanoseconds),
            }),
            schedstat: tasks.run_seconds.is_some().then(|| Schedstat {
                run_time: tasks.run_seconds.map(nanoseconds),
                runqueue_time: tasks.run_queue_seconds.map(nanoseconds),
                run_periods: tasks.run_periods,
            }),
            load_average: tasks.load.map(|load| (load.ten_seconds * 1000.0).round() as i32),
            psi: cpu.pressure.as_ref().map(Psi::new),
        }
    }
}

impl CpuInst {
    fn between(before: &Stats, now: &Stats) -> Option<Self> {
        let seconds = now.timestamp.duration_since(before.timestamp).as_secs_f64();
        let (before, now) = (&before.cpu.as_ref()?.usage, &now.cpu.as_ref()?.usage);
        let rate = |before: Option<u64>, now: Option<u64>| {
            let grown = now?.checked_sub(before?)?;
            (seconds > 0.0).then(|| (grown as f64 / seconds) as u64)
        };
        Some(Self {
            usage: CpuUsage {
                total: Some(rate(before.total, now.total)?),
                // CPUs are read less often than samples are taken.
                per_cpu_usage: None,
                user: rate(before.user, now.user),
                system: rate(before.system, now.system),
            },
        })
    }
}

impl Psi {
    fn new(pressure: &Pressure) -> Self {
        let total = |seconds: Option<f64>| seconds.map(|seconds| (seconds * 1e6).round() as u64);
        Self {
            full: PsiData {
                total: total(pressure.full_seconds),
                avg10: pressure.full_avg10_percent,
                avg60: pressure.full_avg60_percent,
                avg300: pressure.full_avg300_percent,
            },
            some: PsiData {
                total: total(pressure.some_seconds),
                avg10: pressure.some_avg10_percent,
                avg60: pressure.some_avg60_percent,
                avg300: pressure.some_avg300_percent,
            },
        }
    }
}

impl Filesystem {
    fn new(root: &RootFilesystem) -> Self {
        let has_inodes = root.inodes > 0;
        Self {
            device: root.device.clone(),
            kind: root.kind.clone(),
            capacity: root.size_bytes,
            has_inodes,
            inodes: has_inodes.then_some(root.inodes),
            inodes_free: has_inodes.then_some(root.inodes_free),
        }
    }
}

impl Processes {
    const EMPTY: Self = Self {
        process_count: None,
        fd_count: None,
        threads_current: None,
        threads_max: None,
        ulimits: None,
    };

    fn new(row: &Container) -> Option<Self> {
        let open_files = row.pids.open_files_limit;
        row.pids.current.map(|threads| Self {
            process_count: row.pids.processes.or(row.tasks.processes),
            fd_count: row.tasks.file_descriptors,
            threads_current: Some(threads),
            threads_max: row.pids.limit,
            ulimits: open_files.map(|soft_limit| [Ulimit { name: "max_open_files", soft_limit }]),
        })
    }
}
