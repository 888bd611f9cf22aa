//! What the fields of `memory.stat` are.

/// How a number is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatKind {
    /// Bytes now.
    Bytes,
    /// A limit in bytes.
    LimitBytes,
    /// Events since the cgroup was made: it does not fall.
    Events,
}

/// Gauges of v1 (`mm/memcontrol-v1.c`, `memcg1_stats`) and v2 (`mm/memcontrol.c`, `memory_stats`),
/// without `total_`.
const BYTES: &[&str] = &[
    "active_anon",
    "active_file",
    "anon",
    "anon_thp",
    "cache",
    "dirty",
    "file",
    "file_dirty",
    "file_mapped",
    "file_thp",
    "file_writeback",
    "hugetlb",
    "inactive_anon",
    "inactive_file",
    "kernel",
    "kernel_stack",
    "mapped_file",
    "pagetables",
    "percpu",
    "rss",
    "rss_huge",
    "sec_pagetables",
    "shmem",
    "shmem_thp",
    "slab",
    "slab_reclaimable",
    "slab_unreclaimable",
    "sock",
    "swap",
    "swapcached",
    "unevictable",
    "vmalloc",
    "writeback",
    "zswap",
    "zswap_incomp",
    "zswapped",
];

/// Counters of both (`memcg_vm_event_stat`, and what `memcg_page_state_output_unit` has as 1).
const EVENTS: &[&str] = &[
    "numa_hint_faults",
    "numa_pages_migrated",
    "numa_pte_updates",
    "numa_task_migrated",
    "numa_task_swapped",
    "pgactivate",
    "pgdeactivate",
    "pgdemote_direct",
    "pgdemote_khugepaged",
    "pgdemote_kswapd",
    "pgdemote_proactive",
    "pgfault",
    "pglazyfree",
    "pglazyfreed",
    "pgmajfault",
    "pgpgin",
    "pgpgout",
    "pgpromote_success",
    "pgrefill",
    "pgscan",
    "pgscan_direct",
    "pgscan_khugepaged",
    "pgscan_kswapd",
    "pgscan_proactive",
    "pgsteal",
    "pgsteal_direct",
    "pgsteal_khugepaged",
    "pgsteal_kswapd",
    "pgsteal_proactive",
    "pswpin",
    "pswpout",
    "swpin_zero",
    "swpout_zero",
    "thp_collapse_alloc",
    "thp_fault_alloc",
    "thp_swpout",
    "thp_swpout_fallback",
    "workingset_activate",
    "workingset_activate_anon",
    "workingset_activate_file",
    "workingset_nodereclaim",
    "workingset_refault",
    "workingset_refault_anon",
    "workingset_refault_file",
    "workingset_restore",
    "workingset_restore_anon",
    "workingset_restore_file",
    "zswpin",
    "zswpout",
    "zswpwb",
];

/// How a field of `memory.stat` is to be read; `None` for one that is not known here, which may be
/// either.
///
/// On v1 the fields without `total_` leave out the descendants.
pub fn stat_kind(name: &str) -> Option<StatKind> {
    if name.starts_with("hierarchical_") {
        return Some(StatKind::LimitBytes);
    }
    let name = name.strip_prefix("total_").unwrap_or(name);
    if BYTES.binary_search(&name).is_ok() {
        Some(StatKind::Bytes)
    } else if EVENTS.binary_search(&name).is_ok() {
        Some(StatKind::Events)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_tables_are_sorted() {
        assert!(BYTES.is_sorted() && EVENTS.is_sorted());
    }

    #[test]
    fn fields_of_both_versions_are_distinguished() {
        for (name, kind) in [
            ("total_rss", Some(StatKind::Bytes)),
            ("rss", Some(StatKind::Bytes)),
            ("total_pgmajfault", Some(StatKind::Events)),
            ("workingset_refault_anon", Some(StatKind::Events)),
            ("hierarchical_memsw_limit", Some(StatKind::LimitBytes)),
            ("slab", Some(StatKind::Bytes)),
            ("zswap", Some(StatKind::Bytes)),
            ("zswpin", Some(StatKind::Events)),
            ("total_", None),
            ("brand_new", None),
        ] {
            assert_eq!(stat_kind(name), kind, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_taken(name: String) {
            stat_kind(&name);
        }
    }
}
