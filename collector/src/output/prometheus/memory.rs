//! Memory and swap.

use crate::output::prometheus::{
    Row,
    family::{Family, counter, gauge, untyped},
};

pub(super) const FAMILIES: &[Family] = &[
    gauge(
        "container_memory_usage_bytes",
        "Everything charged to the container, page cache included.",
        |row, out| out.value(row.memory.usage_bytes),
    ),
    gauge(
        "container_memory_working_set_bytes",
        "Memory usage without inactive file pages.",
        |row, out| out.value(row.memory.working_set_bytes),
    ),
    gauge("container_memory_rss", "Anonymous memory, in bytes.", |row, out| {
        out.value(row.memory.rss_bytes);
    }),
    gauge("container_memory_cache", "Page cache, in bytes.", |row, out| {
        out.value(row.memory.cache_bytes);
    }),
    gauge("container_memory_swap", "Swap in use, in bytes.", |row, out| {
        out.value(row.memory.swap_bytes);
    }),
    gauge("container_memory_max_usage_bytes", "The highest memory usage so far.", |row, out| {
        out.value(row.memory.peak_bytes);
    }),
    gauge("container_memory_mapped_file", "Files mapped into memory, in bytes.", |row, out| {
        out.value(stat(row, ["total_mapped_file", "file_mapped"]));
    }),
    gauge("container_memory_kernel_usage", "Memory of the kernel, in bytes.", |row, out| {
        out.value(row.memory.stat.get("kernel"));
    }),
    gauge(
        "container_memory_total_active_file_bytes",
        "File pages that were used lately.",
        |row, out| out.value(stat(row, ["total_active_file", "active_file"])),
    ),
    gauge(
        "container_memory_total_inactive_file_bytes",
        "File pages that the kernel would take back first.",
        |row, out| out.value(stat(row, ["total_inactive_file", "inactive_file"])),
    ),
    gauge(
        "container_memory_file_dirty_bytes",
        "File pages that are not written back yet.",
        |row, out| out.value(stat(row, ["total_dirty", "file_dirty"])),
    ),
    gauge(
        "container_memory_file_writeback_bytes",
        "File pages that are being written back.",
        |row, out| out.value(stat(row, ["total_writeback", "file_writeback"])),
    ),
    counter("container_memory_failures_total", "Page faults.", |row, out| {
        // v2 has only the sums over the hierarchy; v1 has both, under names of their own.
        let own = row.memory.stat.get("total_pgfault").is_some();
        for (kind, total) in [("pgfault", "total_pgfault"), ("pgmajfault", "total_pgmajfault")] {
            if own {
                let labels = [("failure_type", kind), ("scope", "container")];
                out.with(&labels, row.memory.stat.get(kind));
            }
            let labels = [("failure_type", kind), ("scope", "hierarchy")];
            out.with(&labels, stat(row, [total, kind]));
        }
    }),
    counter("container_memory_pgscan_total", "Pages that reclaim looked at.", |row, out| {
        out.value(row.memory.stat.get("pgscan"));
    }),
    counter("container_memory_pgsteal_total", "Pages that reclaim took back.", |row, out| {
        out.value(row.memory.stat.get("pgsteal"));
    }),
    counter(
        "container_memory_workingset_refault_file_total",
        "File pages that were taken back and soon needed again.",
        |row, out| out.value(row.memory.stat.get("workingset_refault_file")),
    ),
    counter(
        "container_memory_workingset_refault_anon_total",
        "Anonymous pages that were taken back and soon needed again.",
        |row, out| out.value(row.memory.stat.get("workingset_refault_anon")),
    ),
    untyped(
        "container_memory_failcnt",
        "How often memory usage was about to go above the limit.",
        |row, out| out.value(row.memory.events.max),
    ),
    gauge("container_hugetlb_usage_bytes", "Huge pages in use, in bytes.", |row, out| {
        for (size, pages) in &row.memory.huge_pages {
            out.with(&[("pagesize", size)], pages.usage_bytes);
        }
    }),
    gauge(
        "container_hugetlb_max_usage_bytes",
        "The most huge pages that were in use, in bytes.",
        |row, out| {
            for (size, pages) in &row.memory.huge_pages {
                out.with(&[("pagesize", size)], pages.peak_bytes);
            }
        },
    ),
    counter(
        "container_oom_events_total",
        "Processes that the kernel killed for want of memory.",
        |row, out| out.value(row.memory.oom_kills),
    ),
    counter(
        "container_pressure_memory_waiting_seconds_total",
        "Time in which some task waited for memory, in seconds.",
        |row, out| out.value(row.memory.pressure.and_then(|pressure| pressure.some_seconds)),
    ),
    counter(
        "container_pressure_memory_stalled_seconds_total",
        "Time in which all tasks waited for memory, in seconds.",
        |row, out| out.value(row.memory.pressure.and_then(|pressure| pressure.full_seconds)),
    ),
];

/// The first of these lines of `memory.stat`: v1's sum over the hierarchy, or else v2's.
fn stat(row: &Row, names: [&str; 2]) -> Option<u64> {
    names.iter().find_map(|name| row.memory.stat.get(name))
}
