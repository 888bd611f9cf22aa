//! Receipts: the last totals of containers that ended. They do not change any more, so they are
//! gauges; a container that lived between two scrapes is here only.

use std::collections::HashSet;

use crate::{
    model::{Ended, Report, Sockets},
    output::prometheus::family::{Family, Of, gauge_of},
};

pub(super) const FAMILIES: &[Family] = &[
    gauge_of(
        "tare_container_ended_timestamp_seconds",
        "When the container ended, in seconds since 1970.",
        Of::Ended(|ended, out| out.value(ended.ended_at)),
    ),
    gauge_of(
        "tare_container_ended_cpu_usage_seconds",
        "CPU time that the ended container had used, in seconds.",
        Of::Ended(|ended, out| out.value(ended.container.cpu.usage_seconds)),
    ),
    gauge_of(
        "tare_container_ended_memory_peak_bytes",
        "The highest memory usage of the ended container.",
        Of::Ended(|ended, out| out.value(ended.container.memory.peak_bytes)),
    ),
    gauge_of(
        "tare_container_ended_oom_kills",
        "Processes of the ended container that the kernel had killed for want of memory.",
        Of::Ended(|ended, out| out.value(ended.container.memory.oom_kills)),
    ),
    gauge_of(
        "tare_container_ended_socket_receive_bytes",
        "Bytes that the ended container's sockets had received.",
        Of::Ended(|ended, out| out.value(sockets(ended).map(|sockets| sockets.rx_bytes))),
    ),
    gauge_of(
        "tare_container_ended_socket_transmit_bytes",
        "Bytes that the ended container's sockets had sent.",
        Of::Ended(|ended, out| out.value(sockets(ended).map(|sockets| sockets.tx_bytes))),
    ),
    gauge_of(
        "tare_container_ended_block_read_bytes",
        "Bytes that the ended container had read from block devices.",
        Of::Ended(|ended, out| out.value(ended.container.block.total.read_bytes)),
    ),
    gauge_of(
        "tare_container_ended_block_write_bytes",
        "Bytes that the ended container had written to block devices.",
        Of::Ended(|ended, out| out.value(ended.container.block.total.write_bytes)),
    ),
];

/// The latest receipts, one for each container: who was started again under the same id may have
/// ended several times.
pub(super) fn latest(report: &Report, count_max: usize) -> Vec<&Ended> {
    let mut seen = HashSet::new();
    let all = report.ended.iter();
    all.filter(|ended| seen.insert(&ended.container.cgroup)).take(count_max).collect()
}

fn sockets(ended: &Ended) -> Option<&Sockets> {
    ended.container.network.sockets.as_ref()
}
