//! The families of numbers.

pub mod block;
pub mod cadence;
pub mod cpu;
pub mod lifecycle;
pub mod memory;
pub mod network_interfaces;
pub mod network_sockets;
pub mod network_tcp;
pub mod pids;
pub mod pressure;
pub mod readers;
pub mod settings;
pub mod source;
pub mod state;
pub mod units;

pub use self::readers::{CgroupReader, ReadContext, ReadStep, Readers, Readings};
use crate::exposition::Metric;

/// The metrics of all families.
pub(crate) const METRICS: &[&[Metric]] = &[
    block::METRICS,
    cpu::METRICS,
    lifecycle::METRICS,
    memory::METRICS,
    network_interfaces::METRICS,
    network_sockets::METRICS,
    network_tcp::METRICS,
    pids::METRICS,
    pressure::METRICS,
];
