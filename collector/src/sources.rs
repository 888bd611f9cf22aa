//! Where each family of numbers comes from, and why it is not a better place.

use std::collections::BTreeMap;

use serde::Serialize;

/// The source of every family.
pub type Sources = BTreeMap<Family, Source>;

/// A family of numbers that has one source at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
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
    /// Block I/O.
    Block,
    /// Names and images.
    Identity,
}

/// Where a family comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The source in words that a kernel person recognises, such as `tp_btf/block_rq_complete`.
    pub source: Option<String>,
    /// How well it works.
    pub state: State,
    /// Why it is not [`State::On`], in one line.
    pub reason: Option<String>,
}

/// How well a source works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
        Self { source: Some(source.into()), state: State::On, reason: None }
    }

    /// A source that works in part.
    pub fn degraded(source: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            source: Some(source.into()),
            state: State::Degraded,
            reason: Some(reason.into()),
        }
    }

    /// No source.
    pub fn off(reason: impl Into<String>) -> Self {
        Self { source: None, state: State::Off, reason: Some(reason.into()) }
    }
}
