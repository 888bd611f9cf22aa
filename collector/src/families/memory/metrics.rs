//! Metrics of memory, swap and memory limits. A limit that is not set is absent.

use tare_model::Container;

use crate::{
    exposition::{Metric, Origin, counter, gauge, untyped},
    process::page_bytes,
};

pub(crate) const ORIGIN: Origin = Origin {
    source: "`memory.current` and `memory.stat` on v2; `memory.usage_in_bytes` and `memory.stat` on v1; or the walk",
    kernel: "all",
    cost: "in each sample one read, and four when the container ran; limits, huge pages and NUMA nodes every 30 s, of an idle container every 2 min",
    exceptions: &[
        ("container_memory_migrate", "`cpuset.memory_migrate`", "v1"),
        (
            "container_memory_max_usage_bytes",
            "`memory.peak` on v2, `memory.max_usage_in_bytes` on v1",
            "v2: 5.19",
        ),
        (
            "container_memory_swap",
            "`memory.swap.current` on v2; on v1 the line of `memory.stat`",
            "all",
        ),
        ("container_memory_kernel_usage", "the line `kernel` of `memory.stat`", "v2, 5.18"),
        ("container_memory_pgscan_total", "`memory.stat`", "v2"),
        ("container_memory_pgsteal_total", "`memory.stat`", "v2"),
        ("container_memory_workingset_refault_file_total", "`memory.stat`", "v2, 5.9"),
        ("container_memory_workingset_refault_anon_total", "`memory.stat`", "v2, 5.9"),
        (
            "container_memory_failcnt",
            "`memory.events` (`max`) on v2, `memory.failcnt` on v1",
            "all",
        ),
        (
            "container_oom_events_total",
            "`memory.events` (`oom_kill`) on v2, `memory.oom_control` on v1",
            "v1: 4.13",
        ),
        (
            "container_hugetlb_usage_bytes",
            "`hugetlb.SIZE.current` on v2, `hugetlb.SIZE.usage_in_bytes` on v1",
            "v2: 5.6",
        ),
        ("container_hugetlb_max_usage_bytes", "`hugetlb.SIZE.max_usage_in_bytes`", "v1"),
        (
            "container_hugetlb_failcnt",
            "`hugetlb.SIZE.events` on v2, `hugetlb.SIZE.failcnt` on v1",
            "v2: 5.6",
        ),
        ("container_memory_numa_pages", "`memory.numa_stat`", "v2: 5.10"),
        (
            "container_spec_memory_limit_bytes",
            "`memory.max` on v2, `memory.limit_in_bytes` on v1",
            "all",
        ),
        (
            "container_spec_memory_reservation_limit_bytes",
            "`memory.low` on v2, `memory.soft_limit_in_bytes` on v1",
            "all",
        ),
        (
            "container_spec_memory_swap_limit_bytes",
            "`memory.swap.max` on v2, `memory.memsw.limit_in_bytes` on v1",
            "all",
        ),
    ],
};

pub(crate) const METRICS: &[Metric] = &[
    gauge(
        "container_memory_usage_bytes",
        "Memory charged to the container, including page cache, in bytes.",
        |container, out| out.value(container.memory.usage_bytes),
    ),
    gauge(
        "container_memory_working_set_bytes",
        "Memory usage without inactive file pages, in bytes.",
        |container, out| out.value(container.memory.working_set_bytes),
    ),
    gauge("container_memory_rss", "Anonymous memory, in bytes.", |container, out| {
        out.value(container.memory.rss_bytes);
    }),
    gauge("container_memory_cache", "Page cache, in bytes.", |container, out| {
        out.value(container.memory.cache_bytes);
    }),
    gauge("container_memory_swap", "Swap in use, in bytes.", |container, out| {
        out.value(container.memory.swap_bytes);
    }),
    gauge(
        "container_memory_max_usage_bytes",
        "Highest memory usage so far, in bytes.",
        |container, out| {
            out.value(container.memory.peak_bytes);
        },
    ),
    gauge(
        "container_memory_mapped_file",
        "Files mapped into memory, in bytes.",
        |container, out| {
            out.value(stat(container, ["total_mapped_file", "file_mapped"]));
        },
    ),
    gauge("container_memory_kernel_usage", "Kernel memory, in bytes.", |container, out| {
        out.value(container.memory.stat.get("kernel"));
    }),
    gauge(
        "container_memory_total_active_file_bytes",
        "Recently used file pages, in bytes.",
        |container, out| out.value(stat(container, ["total_active_file", "active_file"])),
    ),
    gauge(
        "container_memory_total_inactive_file_bytes",
        "File pages not used recently, in bytes.",
        |container, out| out.value(stat(container, ["total_inactive_file", "inactive_file"])),
    ),
    gauge(
        "container_memory_file_dirty_bytes",
        "Modified file pages to be written to disk, in bytes.",
        |container, out| out.value(stat(container, ["total_dirty", "file_dirty"])),
    ),
    gauge(
        "container_memory_file_writeback_bytes",
        "File pages being written to disk, in bytes.",
        |container, out| out.value(stat(container, ["total_writeback", "file_writeback"])),
    ),
    counter("container_memory_failures_total", "Page faults.", |container, out| {
        // v2 has only the sums over the hierarchy; v1 has both, under names of their own.
        let own = container.memory.stat.get("total_pgfault").is_some();
        for (kind, total) in [("pgfault", "total_pgfault"), ("pgmajfault", "total_pgmajfault")] {
            if own {
                let labels = [("failure_type", kind), ("scope", "container")];
                out.with(&labels, container.memory.stat.get(kind));
            }
            let labels = [("failure_type", kind), ("scope", "hierarchy")];
            out.with(&labels, stat(container, [total, kind]));
        }
    }),
    counter(
        "container_memory_pgscan_total",
        "Pages scanned by memory reclaim.",
        |container, out| {
            out.value(container.memory.stat.get("pgscan"));
        },
    ),
    counter(
        "container_memory_pgsteal_total",
        "Pages freed by memory reclaim.",
        |container, out| {
            out.value(container.memory.stat.get("pgsteal"));
        },
    ),
    counter(
        "container_memory_workingset_refault_file_total",
        "File pages that were read again soon after their reclaim.",
        |container, out| out.value(container.memory.stat.get("workingset_refault_file")),
    ),
    counter(
        "container_memory_workingset_refault_anon_total",
        "Anonymous pages that were swapped in again soon after their reclaim.",
        |container, out| out.value(container.memory.stat.get("workingset_refault_anon")),
    ),
    untyped(
        "container_memory_failcnt",
        "How often memory usage reached the limit.",
        |container, out| out.value(container.memory.events.max),
    ),
    gauge("container_hugetlb_usage_bytes", "Huge pages in use, in bytes.", |container, out| {
        for (size, pages) in &container.memory.huge_pages {
            out.with(&[("pagesize", size)], pages.usage_bytes);
        }
    }),
    gauge(
        "container_hugetlb_max_usage_bytes",
        "Highest usage of huge pages so far, in bytes.",
        |container, out| {
            for (size, pages) in &container.memory.huge_pages {
                out.with(&[("pagesize", size)], pages.peak_bytes);
            }
        },
    ),
    untyped(
        "container_hugetlb_failcnt",
        "How often the limit refused a huge page.",
        |container, out| {
            for (size, pages) in &container.memory.huge_pages {
                out.with(&[("pagesize", size)], pages.limit_hits);
            }
        },
    ),
    gauge(
        "container_memory_numa_pages",
        "Pages in use on each NUMA node, sub-cgroups included.",
        |container, out| {
            for (node, memory) in &container.memory.numa_nodes {
                let kinds = [
                    ("anon", memory.anon_bytes),
                    ("file", memory.file_bytes),
                    ("unevictable", memory.unevictable_bytes),
                ];
                for (kind, bytes) in kinds {
                    let labels = [("type", kind), ("scope", "hierarchy"), ("node", node)];
                    out.with(&labels, bytes.zip(page_bytes()).map(|(bytes, page)| bytes / page));
                }
            }
        },
    ),
    gauge(
        "container_memory_migrate",
        "Whether memory moves to other NUMA nodes when these are set (cgroup v1): 1 or 0.",
        |container, out| out.value(container.cpu.settings.memory_migrate.map(u64::from)),
    ),
    counter(
        "container_oom_events_total",
        "Processes killed by the out-of-memory killer.",
        |container, out| out.value(container.memory.oom_kills),
    ),
    gauge("container_spec_memory_limit_bytes", "Memory limit, in bytes.", |container, out| {
        out.value(container.memory.limits.max_bytes);
    }),
    gauge(
        "container_spec_memory_reservation_limit_bytes",
        "Memory protected from reclaim: memory.low, or the soft limit of cgroup v1, in bytes.",
        |container, out| {
            out.value(container.memory.limits.low_bytes.or(container.memory.limits.soft_bytes));
        },
    ),
    gauge(
        "container_spec_memory_swap_limit_bytes",
        "Swap limit, in bytes; on cgroup v1, the limit of memory and swap together.",
        |container, out| {
            let limits = &container.memory.limits;
            out.value(limits.swap_max_bytes.or(limits.memory_and_swap_max_bytes));
        },
    ),
];

/// The first of these lines of `memory.stat`: v1's sum over the hierarchy, or else v2's.
fn stat(container: &Container, names: [&str; 2]) -> Option<u64> {
    names.iter().find_map(|name| container.memory.stat.get(name))
}
