//! The few numbers of a container that a history keeps at every sample.

use tare_ebpf::BlockCell;

use crate::{
    model::{block::is_stacked, derive::working_set, window::Point},
    network::InterfaceCounters,
    sample::{Sample, Usage},
};

/// What the numbers of [`point`] are.
pub const POINT_FIELDS: [&str; 14] = [
    "cpu_usage_nanoseconds",
    "memory_working_set_bytes",
    "network_receive_bytes",
    "network_transmit_bytes",
    "socket_receive_bytes",
    "socket_transmit_bytes",
    "block_read_bytes",
    "block_write_bytes",
    "pids",
    "cpu_periods",
    "cpu_throttled_periods",
    "cpu_throttled_nanoseconds",
    "memory_oom_kills",
    "tcp_retransmits",
];

/// A container's numbers in a sample.
pub fn point(usage: &Usage, sample: &Sample) -> Point {
    let devices = usage.namespace.and_then(|namespace| sample.namespaces.get(&namespace));
    let network = |bytes: fn(&InterfaceCounters) -> u64| {
        devices.map(|devices| devices.iter().map(|(_, counters)| bytes(counters)).sum())
    };
    let sockets = super::derive::socket_bytes(usage, sample);
    let (read, written) = block_bytes(usage, sample).unzip();
    [
        usage.cpu.usage_nanoseconds,
        working_set(&usage.memory),
        network(|counters| counters.rx_bytes),
        network(|counters| counters.tx_bytes),
        sockets.map(|(received, _)| received),
        sockets.map(|(_, sent)| sent),
        read,
        written,
        usage.pids,
        usage.cpu.periods,
        usage.cpu.throttled_periods,
        usage.cpu.throttled_nanoseconds,
        usage.memory.events.oom_kill,
        usage.net.filter(|_| sample.retransmits).map(|net| net.tcp_events.retransmits),
    ]
}

fn block_bytes(usage: &Usage, sample: &Sample) -> Option<(u64, u64)> {
    if let Some(devices) = &usage.block {
        let add = |(read, written): (u64, u64), cell: &BlockCell| {
            (read.saturating_add(cell.read.bytes), written.saturating_add(cell.write.bytes))
        };
        let counted = devices.iter().filter(|(number, _)| !is_stacked(**number, sample));
        return Some(counted.map(|(_, cell)| cell).fold((0, 0), add));
    }
    let total = super::block::block(usage, sample, None).total;
    total.read_bytes.zip(total.write_bytes)
}
