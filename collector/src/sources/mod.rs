//! Where each family of numbers comes from, and why not from a better source.
//!
//! [`contract`] has the types of every report. The other modules decide, one family each, from
//! nothing but [`Inputs`].

mod block;
mod contract;
mod cpu;
mod identity;
mod inputs;
mod lifecycle;
mod memory;
mod network_interfaces;
mod network_sockets;
mod network_tcp;
mod pids;
mod status;

use std::collections::BTreeMap;

pub use self::{
    contract::{Family, Reconciled, Source, Sources, State},
    inputs::Inputs,
    status::{Gap, SourceStatus},
};

/// Decides the source of every family.
pub fn decide(inputs: &Inputs<'_>) -> BTreeMap<Family, SourceStatus> {
    let decide = |family| match family {
        Family::Cpu => cpu::source(inputs),
        Family::Memory => memory::source(inputs),
        Family::Pids => pids::source(inputs),
        Family::NetworkInterfaces => network_interfaces::source(inputs),
        Family::NetworkSockets => network_sockets::source(inputs),
        Family::NetworkTcp => network_tcp::source(inputs),
        Family::Block => block::source(inputs),
        Family::Lifecycle => lifecycle::source(inputs),
        Family::Identity => identity::source(inputs),
    };
    Family::ALL.into_iter().map(|family| (family, decide(family))).collect()
}

#[cfg(test)]
mod tests;
