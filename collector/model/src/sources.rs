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
    /// Bytes and packets of network devices (what `docker stats` calls NET I/O).
    NetworkInterfaces,
    /// Bytes at the sockets, per cgroup.
    NetworkSockets,
    /// TCP connections and retransmits, per cgroup.
    NetworkTcp,
    /// Block I/O.
    Block,
    /// Births and deaths.
    Lifecycle,
    /// Names and images.
    Identity,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Cpu,
        Self::Memory,
        Self::Pids,
        Self::NetworkInterfaces,
        Self::NetworkSockets,
        Self::NetworkTcp,
        Self::Block,
        Self::Lifecycle,
        Self::Identity,
    ];

    /// Its name in the JSON contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::NetworkInterfaces => "network_interfaces",
            Self::NetworkSockets => "network_sockets",
            Self::NetworkTcp => "network_tcp",
            Self::Block => "block",
            Self::Lifecycle => "lifecycle",
            Self::Identity => "identity",
        }
    }
}

/// Where a family comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Source {
    /// The source in words that a kernel person recognises, such as `tp_btf/block_rq_complete`.
    pub source: Option<String>,
    /// How well it works.
    pub state: State,
    /// Why it is not [`State::On`], in one line.
    pub reason: Option<String>,
    /// What comes of comparing it with the kernel's own count of all that happened; `None` where
    /// there is none to compare with.
    pub reconciled: Option<Reconciled>,
}

/// The kernel's own count beside ours of all cgroups, followed or not, since `since`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Reconciled {
    /// Where the kernel's own count stands.
    pub with: Cow<'static, str>,
    /// When the comparison began.
    pub since: Timestamp,
    /// What the kernel counted. What happens between the two reads is in one of the counts only.
    pub expected: u64,
    /// What we counted.
    pub counted: u64,
    /// What we did surely not count. Never falls.
    pub lost: u64,
    /// Bytes of that; `None` if they cannot be told.
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
    /// Nothing: every number of the family is `null`.
    Off,
}

impl Source {
    /// A source that works.
    pub fn on(source: impl Into<String>) -> Self {
        Self { source: Some(source.into()), state: State::On, reason: None, reconciled: None }
    }

    /// A source that works in part.
    pub fn degraded(source: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            source: Some(source.into()),
            state: State::Degraded,
            reason: Some(reason.into()),
            reconciled: None,
        }
    }

    /// No source.
    pub fn off(reason: impl Into<String>) -> Self {
        Self { source: None, state: State::Off, reason: Some(reason.into()), reconciled: None }
    }
}
