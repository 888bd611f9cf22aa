//! Metrics of the parts of the host's hardware: caches, threads, NUMA nodes, memory modules. They
//! are a group of their own, because a large host has a thousand of them.

use std::collections::{BTreeMap, BTreeSet};

use tare_model::{Cache, Core, HostCpu, Report};
use tare_parsers::host_facts::parse_cpu_list;

use crate::{
    exposition::{Collect, Metric, Origin, Samples, gauge_of},
    output::prometheus::host::machine,
};

pub(super) const ORIGIN: Origin = Origin {
    source: "`/sys/devices/system/cpu` and `/sys/devices/system/node`",
    kernel: "all",
    cost: "caches, threads and memory modules at the start, nodes once a minute",
    exceptions: &[
        ("machine_dimm_count", "`/sys/devices/system/edac/mc`", "an EDAC driver"),
        ("machine_dimm_capacity_bytes", "`/sys/devices/system/edac/mc`", "an EDAC driver"),
    ],
};

pub(super) const METRICS: &[Metric] = &[
    gauge_of(
        "machine_cpu_cache_capacity_bytes",
        "Size of the cache of a core, or of all cores of a NUMA node (then core_id is empty), in bytes.",
        Collect::Host(|summary, out| caches(summary.report, out)),
    ),
    gauge_of(
        "machine_thread_siblings_count",
        "Online CPUs of the core that this CPU belongs to.",
        Collect::Host(|summary, out| {
            for core in &summary.report.host.cpu.cores {
                let (node, id) = (node_of(core).to_string(), core.id.to_string());
                for cpu in &core.cpus {
                    let thread = cpu.to_string();
                    let labels = [("node_id", &*node), ("core_id", &*id), ("thread_id", &*thread)];
                    machine(summary.report, out, &labels, Some(core.cpus.len() as u64));
                }
            }
        }),
    ),
    gauge_of(
        "machine_node_memory_capacity_bytes",
        "Memory of a NUMA node, in bytes.",
        Collect::Host(|summary, out| {
            for node in &summary.report.host.numa_nodes {
                let labels = [("node_id", &*node.id.to_string())];
                machine(summary.report, out, &labels, node.memory_bytes);
            }
        }),
    ),
    gauge_of(
        "machine_node_hugepages_count",
        "Huge pages in the pool of a NUMA node; page_size is in kibibytes.",
        Collect::Host(|summary, out| {
            for node in &summary.report.host.numa_nodes {
                let id = node.id.to_string();
                for pages in &node.huge_pages {
                    let size = (pages.size_bytes >> 10).to_string();
                    let labels = [("node_id", &*id), ("page_size", &*size)];
                    machine(summary.report, out, &labels, pages.total);
                }
            }
        }),
    ),
    gauge_of(
        "machine_node_distance",
        "Distance from a NUMA node to the memory of another; 10 is the distance to its own.",
        Collect::Host(|summary, out| {
            for node in &summary.report.host.numa_nodes {
                let id = node.id.to_string();
                for (target, distance) in &node.distances {
                    let labels = [("node_id", &*id), ("target_node_id", target)];
                    machine(summary.report, out, &labels, Some(*distance));
                }
            }
        }),
    ),
    gauge_of(
        "machine_dimm_count",
        "Memory modules, by type; absent without an EDAC driver.",
        Collect::Host(|summary, out| {
            for (kind, modules) in &summary.report.host.memory_modules {
                machine(summary.report, out, &[("type", kind)], Some(modules.count));
            }
        }),
    ),
    gauge_of(
        "machine_dimm_capacity_bytes",
        "Capacity of all memory modules of a type, in bytes; absent without an EDAC driver.",
        Collect::Host(|summary, out| {
            for (kind, modules) in &summary.report.host.memory_modules {
                machine(summary.report, out, &[("type", kind)], Some(modules.capacity_bytes));
            }
        }),
    ),
];

fn caches(report: &Report, out: &mut Samples) {
    for ((node, core, kind, level), bytes) in cache_rows(&report.host.cpu) {
        let (node, level) = (node.to_string(), level.to_string());
        let core = core.map(|core| core.to_string()).unwrap_or_default();
        let labels = [("node_id", &*node), ("core_id", &*core), ("type", kind), ("level", &*level)];
        machine(report, out, &labels, Some(bytes));
    }
}

/// Node, core, type and level of a cache; no core if the whole node shares it.
pub(crate) type CacheRow<'a> = (u32, Option<u32>, &'a str, u32);

/// The sizes of caches, arranged as cAdvisor does: a cache beyond level 2 that all CPUs of a node
/// share is the node's, any other is that of each core which has it.
pub(crate) fn cache_rows(cpu: &HostCpu) -> BTreeMap<CacheRow<'_>, u64> {
    const OUTER_LEVEL_MIN: u32 = 3;
    let mut nodes: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for core in &cpu.cores {
        nodes.entry(node_of(core)).or_default().extend(&core.cpus);
    }
    let mut rows = BTreeMap::new();
    for Cache { level, kind, size_bytes, cpus } in &cpu.caches {
        let shared = parse_cpu_list(cpus).unwrap_or_default();
        for core in cpu.cores.iter().filter(|core| core.cpus.iter().any(|it| shared.contains(it))) {
            let node = node_of(core);
            let whole = nodes.get(&node).is_some_and(|cpus| cpus.is_subset(&shared));
            let of_core = (!whole || *level < OUTER_LEVEL_MIN).then_some(core.id);
            rows.insert((node, of_core, kind.as_str(), *level), *size_bytes);
        }
    }
    rows
}

/// Where the kernel knows no nodes, each package is one.
pub(crate) fn node_of(core: &Core) -> u32 {
    core.node.unwrap_or(core.socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_of_the_whole_node_has_no_core() {
        let core = |id, node, cpus: &[u32]| Core { id, socket: 0, node, cpus: cpus.to_vec() };
        let cache = |level, kind: &str, size_bytes, cpus: &str| Cache {
            level,
            kind: kind.to_owned(),
            size_bytes,
            cpus: cpus.to_owned(),
        };
        let cpu = HostCpu {
            cores: vec![core(0, Some(0), &[0, 2]), core(1, Some(0), &[1, 3]), core(2, None, &[4])],
            caches: vec![
                cache(1, "Data", 32, "0,2"),
                cache(1, "Data", 48, "1,3"),
                cache(2, "Unified", 512, "4"),
                cache(3, "Unified", 8192, "0-3"),
                cache(4, "Unified", 65536, "unreadable"),
            ],
            ..HostCpu::default()
        };
        let expected = BTreeMap::from([
            ((0, Some(0), "Data", 1), 32),
            ((0, Some(1), "Data", 1), 48),
            ((0, Some(2), "Unified", 2), 512),
            ((0, None, "Unified", 3), 8192),
        ]);
        // The core without a node counts to the node of its package's number.
        assert_eq!(cache_rows(&cpu).len(), expected.len() + 1);
        let nodes = HostCpu { cores: cpu.cores[..2].to_vec(), ..cpu };
        let mut of_nodes = expected;
        of_nodes.remove(&(0, Some(2), "Unified", 2));
        assert_eq!(cache_rows(&nodes), of_nodes);
    }
}
