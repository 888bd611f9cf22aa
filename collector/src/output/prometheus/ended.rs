//! Metrics of ended containers, from their receipts. The totals no longer change, so they are
//! gauges. A container that started and ended between two scrapes has only these metrics.

use std::collections::HashSet;

use tare_model::{Ended, Report, Sockets};

use crate::exposition::{Collect, Metric, Origin, gauge_of};

pub(super) const ORIGIN: Origin = Origin {
    source: "what was read last of a container that ended",
    kernel: "all",
    cost: "none beyond its last reading",
    exceptions: &[],
};

pub(super) const METRICS: &[Metric] = &[
    gauge_of(
        "tare_container_ended_timestamp_seconds",
        "When the container ended, in seconds since 1970.",
        Collect::Ended(|ended, out| out.value(ended.ended_at)),
    ),
    gauge_of(
        "tare_container_ended_exit_code",
        "Exit code of the ended container's first process; 137 is a kill.",
        Collect::Ended(|ended, out| {
            out.value(ended.container.exit_code.and_then(|code| u64::try_from(code).ok()));
        }),
    ),
    gauge_of(
        "tare_container_ended_cpu_usage_seconds",
        "CPU time that the ended container used, in seconds.",
        Collect::Ended(|ended, out| out.value(ended.container.cpu.usage_seconds)),
    ),
    gauge_of(
        "tare_container_ended_memory_peak_bytes",
        "Highest memory usage of the ended container, in bytes.",
        Collect::Ended(|ended, out| out.value(ended.container.memory.peak_bytes)),
    ),
    gauge_of(
        "tare_container_ended_oom_kills",
        "Processes of the ended container killed by the out-of-memory killer.",
        Collect::Ended(|ended, out| out.value(ended.container.memory.oom_kills)),
    ),
    gauge_of(
        "tare_container_ended_socket_receive_bytes",
        "Bytes that the sockets of the ended container received.",
        Collect::Ended(|ended, out| out.value(sockets(ended).map(|sockets| sockets.rx_bytes))),
    ),
    gauge_of(
        "tare_container_ended_socket_transmit_bytes",
        "Bytes that the sockets of the ended container sent.",
        Collect::Ended(|ended, out| out.value(sockets(ended).map(|sockets| sockets.tx_bytes))),
    ),
    gauge_of(
        "tare_container_ended_block_read_bytes",
        "Bytes that the ended container read from block devices.",
        Collect::Ended(|ended, out| out.value(ended.container.block.total.read_bytes)),
    ),
    gauge_of(
        "tare_container_ended_block_write_bytes",
        "Bytes that the ended container wrote to block devices.",
        Collect::Ended(|ended, out| out.value(ended.container.block.total.write_bytes)),
    ),
];

/// The latest receipt of each container, at most `count_max`. A container that was restarted under
/// the same id has several receipts.
pub(super) fn latest(report: &Report, count_max: usize) -> Vec<&Ended> {
    let mut seen = HashSet::new();
    let all = report.ended.iter();
    all.filter(|ended| seen.insert(&ended.container.cgroup)).take(count_max).collect()
}

fn sockets(ended: &Ended) -> Option<&Sockets> {
    ended.container.network.sockets.as_ref()
}
