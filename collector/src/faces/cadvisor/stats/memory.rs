//! Memory.

use std::collections::BTreeMap;

use serde::Serialize;
use tare_model::{Memory as Known, NumaMemory};

use super::Psi;
use crate::process::page_bytes;

/// Bytes, and events.
#[derive(Debug, Default, Serialize)]
pub(super) struct Memory {
    usage: Option<u64>,
    max_usage: Option<u64>,
    cache: Option<u64>,
    rss: Option<u64>,
    swap: Option<u64>,
    mapped_file: Option<u64>,
    working_set: Option<u64>,
    total_active_file: Option<u64>,
    total_inactive_file: Option<u64>,
    file_dirty: Option<u64>,
    file_writeback: Option<u64>,
    pgscan: Option<u64>,
    pgsteal: Option<u64>,
    workingset_refault_file: Option<u64>,
    workingset_refault_anon: Option<u64>,
    failcnt: Option<u64>,
    kernel: Option<u64>,
    container_data: Option<Faults>,
    hierarchical_data: Option<Faults>,
    psi: Option<Psi>,
    events: Option<Events>,
}

#[derive(Debug, Serialize)]
struct Faults {
    pgfault: Option<u64>,
    pgmajfault: Option<u64>,
    numa_stats: Option<Numa>,
}

/// Pages on each node.
#[derive(Debug, Serialize)]
struct Numa {
    file: BTreeMap<String, u64>,
    anon: BTreeMap<String, u64>,
    unevictable: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
struct Events {
    high: Option<u64>,
    max: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(in super::super) struct HugePages {
    usage: Option<u64>,
    max_usage: Option<u64>,
    failcnt: Option<u64>,
}

impl Memory {
    pub(super) fn new(known: &Known) -> Self {
        // On cgroup v1 the line with `total_` includes cgroups below.
        let stat = |name: &str| {
            let total = known.stat.get(&format!("total_{name}"));
            total.or_else(|| known.stat.get(name))
        };
        let own = Faults {
            pgfault: known.stat.get("pgfault"),
            pgmajfault: known.stat.get("pgmajfault"),
            numa_stats: None,
        };
        let all = Faults {
            pgfault: stat("pgfault"),
            pgmajfault: stat("pgmajfault"),
            numa_stats: Numa::new(&known.numa_nodes),
        };
        let has = |faults: &Faults| faults.pgfault.is_some() || faults.numa_stats.is_some();
        let events = &known.events;
        let is_v2 = known.stat.get("file").is_some();
        Self {
            usage: known.usage_bytes,
            max_usage: known.peak_bytes,
            cache: known.cache_bytes,
            rss: known.rss_bytes,
            swap: known.swap_bytes,
            mapped_file: known.mapped_bytes,
            working_set: known.working_set_bytes,
            total_active_file: stat("active_file"),
            total_inactive_file: stat("inactive_file"),
            file_dirty: stat("file_dirty").or_else(|| stat("dirty")),
            file_writeback: stat("file_writeback").or_else(|| stat("writeback")),
            pgscan: stat("pgscan"),
            pgsteal: stat("pgsteal"),
            workingset_refault_file: stat("workingset_refault_file"),
            workingset_refault_anon: stat("workingset_refault_anon"),
            failcnt: events.max,
            kernel: stat("kernel"),
            container_data: Some(own).filter(has),
            hierarchical_data: Some(all).filter(has),
            psi: known.pressure.as_ref().map(Psi::new),
            events: is_v2.then_some(Events { high: events.high, max: events.max }),
        }
    }

    /// What a history has kept: working set, usage, anonymous memory, page cache and swap.
    pub(super) fn remembered(bytes: [Option<u64>; 5]) -> Option<Self> {
        let [working_set, usage, rss, cache, swap] = bytes;
        usage.map(|_| Self { usage, rss, cache, swap, working_set, ..Self::default() })
    }
}

impl Numa {
    fn new(nodes: &BTreeMap<String, NumaMemory>) -> Option<Self> {
        let page_bytes = page_bytes().filter(|_| !nodes.is_empty())?;
        let pages = |bytes: fn(&NumaMemory) -> Option<u64>| {
            let known = nodes.iter().filter_map(|(node, it)| Some((node.clone(), bytes(it)?)));
            known.map(|(node, bytes)| (node, bytes / page_bytes)).collect()
        };
        Some(Self {
            file: pages(|node| node.file_bytes),
            anon: pages(|node| node.anon_bytes),
            unevictable: pages(|node| node.unevictable_bytes),
        })
    }
}

/// Huge pages by size; `None` if there are no such controllers.
pub(super) fn huge_pages(known: &Known) -> Option<BTreeMap<String, HugePages>> {
    let sizes = known.huge_pages.iter().map(|(size, pages)| {
        let pages = HugePages {
            usage: pages.usage_bytes,
            max_usage: pages.peak_bytes,
            failcnt: pages.limit_hits,
        };
        (size.clone(), pages)
    });
    (!known.huge_pages.is_empty()).then(|| sizes.collect())
}
