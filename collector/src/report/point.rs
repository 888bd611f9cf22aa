//! The few numbers of a container that a history keeps at every sample.

use tare_model::{Interface, Point};
use tare_parsers::pressure::Pressure;

use crate::{
    families::{
        block::{self, BlockOperations},
        memory::working_set,
        network_sockets,
    },
    report::block_inputs,
    sample::{Sample, Usage},
};

/// A container's numbers in a sample.
pub fn point(usage: &Usage, sample: &Sample) -> Point {
    let devices = usage.namespace.and_then(|namespace| sample.namespaces.get(&namespace));
    let network = |bytes: fn(&Interface) -> u64| {
        devices.map(|devices| devices.iter().map(|(_, counters)| bytes(counters)).sum())
    };
    let sockets = usage
        .net
        .as_ref()
        .zip(sample.sockets)
        .map(|(cell, level)| network_sockets::bytes(cell, level));
    let (read, written) = block::bytes(block_inputs(usage, None), &sample.block).unzip();
    let memory = &usage.readings.memory;
    let pressures = &usage.readings.pressure;
    // Some task waited.
    let waited = |pressure: Option<Pressure>| pressure?.some.total_microseconds;
    [
        usage.readings.cpu.usage_nanoseconds,
        working_set(memory),
        network(|counters| counters.rx_bytes),
        network(|counters| counters.tx_bytes),
        sockets.map(|(received, _)| received),
        sockets.map(|(_, sent)| sent),
        read,
        written,
        usage.readings.pids,
        usage.readings.cpu.periods,
        usage.readings.cpu.throttled_periods,
        usage.readings.cpu.throttled_nanoseconds,
        memory.events.oom_kill,
        usage.net.filter(|_| sample.retransmits).map(|net| net.tcp_events.retransmits),
        memory.usage_bytes,
        memory.rss_bytes(),
        memory.cache_bytes(),
        memory.swap_bytes,
        waited(pressures.cpu),
        waited(pressures.memory),
        waited(pressures.io),
    ]
}

/// How many block operations of a container took how long, in all until a sample; `None` if it is
/// unknown.
pub fn block_operations(usage: &Usage, sample: &Sample) -> Option<BlockOperations> {
    block::operations(block_inputs(usage, None), &sample.block)
}
