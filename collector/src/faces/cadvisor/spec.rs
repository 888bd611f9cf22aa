//! What a container is, and what it may use.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::catalog::{Catalog, Item};
use crate::families::cpu::shares_of_weight;

/// A container's names.
#[derive(Debug, Serialize)]
pub(super) struct Reference {
    id: Option<String>,
    name: String,
    aliases: Option<Vec<String>>,
    namespace: Option<String>,
}

/// Its specification. Version 2 has its other names in it as well.
#[derive(Debug, Serialize)]
pub(super) struct Spec {
    creation_time: Option<Timestamp>,
    start_time: Option<Timestamp>,
    aliases: Option<Vec<String>>,
    namespace: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    envs: Option<BTreeMap<String, String>>,
    pub(super) has_cpu: bool,
    cpu: CpuSpec,
    pub(super) has_memory: bool,
    memory: MemorySpec,
    pub(super) has_hugetlb: bool,
    pub(super) has_network: bool,
    pub(super) has_processes: bool,
    processes: ProcessSpec,
    pub(super) has_filesystem: bool,
    pub(super) has_diskio: bool,
    has_custom_metrics: bool,
    image: Option<String>,
}

#[derive(Debug, Serialize)]
struct CpuSpec {
    /// Shares, as on cgroup v1.
    limit: Option<u64>,
    mask: Option<String>,
    /// Microseconds in each period.
    quota: Option<u64>,
    /// Microseconds.
    period: Option<u64>,
}

#[derive(Debug, Serialize)]
struct MemorySpec {
    /// Without a limit, the host's memory.
    limit: Option<u64>,
    reservation: Option<u64>,
    swap_limit: Option<u64>,
}

#[derive(Debug, Serialize)]
struct ProcessSpec {
    limit: Option<u64>,
}

impl Reference {
    pub(super) fn new(item: &Item) -> Self {
        let is_container = item.runtime().is_some();
        Self {
            id: is_container.then(|| item.newer.row.id.clone()),
            name: item.name().to_owned(),
            aliases: aliases(item),
            namespace: item.runtime().map(str::to_owned),
        }
    }

    /// The name alone, as lists of containers have it.
    pub(super) fn short(item: &Item) -> Self {
        Self { id: None, name: item.name().to_owned(), aliases: None, namespace: None }
    }
}

impl Spec {
    pub(super) fn new(item: &Item, catalog: &Catalog) -> Self {
        let row = &item.newer.row;
        let settings = &row.cpu.settings;
        let limits = &row.memory.limits;
        let microseconds = |seconds: f64| (seconds * 1e6).round() as u64;
        let mask = settings.effective_cpus.as_ref().or(settings.cpus.as_ref());
        let some = |map: &BTreeMap<String, String>| Some(map.clone()).filter(|map| !map.is_empty());
        Self {
            creation_time: item.created_at,
            start_time: row.started_at,
            aliases: None,
            namespace: None,
            labels: some(&row.labels),
            envs: some(&row.environment),
            has_cpu: item.newer.cpu_nanoseconds.is_some(),
            cpu: CpuSpec {
                limit: settings.shares.or_else(|| settings.weight.and_then(shares_of_weight)),
                mask: mask.filter(|mask| !mask.is_empty()).cloned(),
                quota: settings.quota_seconds.map(microseconds),
                period: settings.period_seconds.map(microseconds),
            },
            has_memory: row.memory.usage_bytes.is_some(),
            memory: MemorySpec {
                limit: limits.max_bytes.or(catalog.host.memory_bytes),
                reservation: limits.soft_bytes.or(limits.low_bytes).filter(|bytes| *bytes > 0),
                swap_limit: limits.memory_and_swap_max_bytes.or(limits.swap_max_bytes),
            },
            has_hugetlb: !row.memory.huge_pages.is_empty(),
            has_network: row.network.interfaces.is_some()
                && row.network.host_namespace != Some(true),
            has_processes: row.pids.current.is_some(),
            processes: ProcessSpec { limit: row.pids.limit },
            has_filesystem: row.root_filesystem.is_some(),
            has_diskio: row.block.source.is_some(),
            has_custom_metrics: false,
            image: row.image.clone(),
        }
    }

    pub(super) fn version_2(self, item: &Item) -> Self {
        let namespace = item.runtime().map(str::to_owned);
        Self { aliases: aliases(item), namespace, ..self }
    }
}

fn aliases(item: &Item) -> Option<Vec<String>> {
    let aliases: Vec<_> = item.aliases().map(str::to_owned).collect();
    Some(aliases).filter(|aliases| !aliases.is_empty())
}
