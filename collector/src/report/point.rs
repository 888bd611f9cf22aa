//! The few numbers of a container that a history keeps at every sample.

use tare_model::{Interface, Point};
use tare_parsers::pressure::Pressure;

use crate::{
    families::{
        Readings,
        block::{self, BlockOperations},
        memory::working_set,
        network_sockets,
    },
    report::block_inputs,
    sample::{Sample, Usage},
};

/// A container's numbers in a sample. `former` are those of the sample before, where its readings
/// are still the same.
pub fn point(usage: &Usage, sample: &Sample, former: Option<Point>) -> Point {
    let devices = usage.namespace.and_then(|namespace| sample.namespaces.get(&namespace));
    let network = |bytes: fn(&Interface) -> u64| {
        devices.map(|devices| devices.iter().map(|(_, counters)| bytes(counters)).sum())
    };
    let sockets = usage
        .net
        .as_ref()
        .zip(sample.sockets)
        .map(|(cell, level)| network_sockets::bytes(cell, level));
    let net = usage.net.as_ref().filter(|_| sample.retransmits);
    let mut point = former.unwrap_or_else(|| of_readings(&usage.readings));
    let [_, _, rx, tx, received, sent, read, written, _, _, _, _, _, retransmits, ..] = &mut point;
    (*rx, *tx) = (network(|counters| counters.rx_bytes), network(|counters| counters.tx_bytes));
    (*received, *sent) = sockets.unzip();
    (*read, *written) = block::bytes(block_inputs(usage, None), &sample.block).unzip();
    *retransmits = net.map(|net| net.tcp_events.retransmits);
    point
}

/// The numbers that readings have, in their places.
fn of_readings(readings: &Readings) -> Point {
    let Readings { cpu, memory, pids, pressure, .. } = readings;
    // Some task waited.
    let waited = |pressure: Option<Pressure>| pressure?.some.total_microseconds;
    [
        cpu.usage_nanoseconds,
        working_set(memory),
        None,
        None,
        None,
        None,
        None,
        None,
        *pids,
        cpu.periods,
        cpu.throttled_periods,
        cpu.throttled_nanoseconds,
        memory.events.oom_kill,
        None,
        memory.usage_bytes,
        memory.rss_bytes(),
        memory.cache_bytes(),
        memory.swap_bytes,
        waited(pressure.cpu),
        waited(pressure.memory),
        waited(pressure.io),
    ]
}

/// How many block operations of a container took how long, in all until a sample; `None` if it is
/// unknown.
pub fn block_operations(usage: &Usage, sample: &Sample) -> Option<BlockOperations> {
    block::operations(block_inputs(usage, None), &sample.block)
}
