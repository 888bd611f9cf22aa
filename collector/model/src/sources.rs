//! Where each family of numbers comes from.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The source of every family.
pub type Sources = BTreeMap<Family, Source>;

/// A family of numbers that has one source at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// CPU time.
    Cpu,
    /// Memory and swap.
    Memory,
    /// Processes and threads.
    Pids,
    /// Tasks by state, their load, and who waits.
    Tasks,
    /// Bytes and packets of network devices (what `docker stats` calls NET I/O).
    NetworkInterfaces,
    /// Bytes at the sockets, per cgroup.
    NetworkSockets,
    /// TCP connections and retransmits, per cgroup.
    NetworkTcp,
    /// Block I/O.
    Block,
    /// When containers start and end.
    Lifecycle,
    /// Names and images.
    Identity,
    /// Events that the kernel and the CPU count, if some are wanted.
    PerfEvents,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Cpu,
        Self::Memory,
        Self::Pids,
        Self::Tasks,
        Self::NetworkInterfaces,
        Self::NetworkSockets,
        Self::NetworkTcp,
        Self::Block,
        Self::Lifecycle,
        Self::Identity,
        Self::PerfEvents,
    ];

    /// Its name in the JSON contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Tasks => "tasks",
            Self::NetworkInterfaces => "network_interfaces",
            Self::NetworkSockets => "network_sockets",
            Self::NetworkTcp => "network_tcp",
            Self::Block => "block",
            Self::Lifecycle => "lifecycle",
            Self::Identity => "identity",
            Self::PerfEvents => "perf_events",
        }
    }
}

/// Where a family comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Source {
    /// Files or programs in the kernel's words, such as `tp_btf/block_rq_complete`; `None` if
    /// there is no source.
    pub source: Option<String>,
    /// How well it works.
    pub state: State,
    /// Why it is not [`State::On`], in one line.
    pub reason: Option<String>,
    /// The kinds of reasons in `reason`, each one of a small fixed set such as `not_permitted`;
    /// none if it is [`State::On`].
    #[serde(default)]
    pub reason_codes: Vec<Cow<'static, str>>,
    /// The comparison with the kernel's own count; `None` where the kernel has none.
    pub reconciled: Option<Reconciled>,
    /// Why the numbers come from files and not from a walk over all cgroups by a program in the
    /// kernel; `None` where they do, and for families that no walk has.
    #[serde(default)]
    pub not_walked: Option<String>,
}

/// The kernel's own count and ours, of all cgroups, followed or not, since `since`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Reconciled {
    /// The file with the kernel's own count.
    pub with: Cow<'static, str>,
    /// When the comparison began.
    pub since: Timestamp,
    /// What the kernel counted. What happens between the two reads is only in one of the counts.
    pub expected: u64,
    /// What we counted.
    pub counted: u64,
    /// What we certainly did not count. Never falls.
    pub lost: u64,
    /// Bytes of that; `None` if unknown.
    pub lost_bytes: Option<u64>,
    /// Devices, or network namespaces, that are compared.
    pub covered: u64,
    /// Devices whose counts cannot be compared.
    pub uncovered: u64,
}

/// How well a source works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Everything that the family promises.
    On,
    /// Something is missing or second best; the reason says what.
    Degraded,
    /// No source: every number of the family is `null`.
    Off,
}

impl Source {
    /// A source that works.
    pub fn on(source: impl Into<String>) -> Self {
        Self {
            source: Some(source.into()),
            state: State::On,
            reason: None,
            reason_codes: Vec::new(),
            reconciled: None,
            not_walked: None,
        }
    }

    /// A source that works in part.
    pub fn degraded(source: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { state: State::Degraded, reason: Some(reason.into()), ..Self::on(source) }
    }

    /// No source.
    pub fn off(reason: impl Into<String>) -> Self {
        Self { source: None, state: State::Off, ..Self::degraded("", reason) }
    }
}

impl State {
    /// Its name in the JSON contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Degraded => "degraded",
            Self::Off => "off",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_states_are_named_as_in_json() {
        for family in Family::ALL {
            assert_eq!(serde_json::to_value(family).unwrap(), family.as_str());
        }
        for state in [State::On, State::Degraded, State::Off] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }
}
