//! The findings: the JSON contract of `tare doctor --format json`.

use std::collections::BTreeMap;

use serde::Serialize;
use tare_model::{Family, Source, State};

use crate::{
    doctor::rights::Rights,
    families::source::SourceStatus,
    host,
    kernel::{Facts, LoadedMap, LoadedProgram},
    reason::{Circumstances, Reason},
};

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Diagnosis {
    /// Tare's own.
    pub version: &'static str,
    /// Which host this is.
    pub host: Named,
    /// Why nothing could be started, if so.
    pub fault: Option<String>,
    /// Where each family of numbers comes from, and what would help.
    pub families: BTreeMap<Family, Finding>,
    /// What the kernel offers and what was loaded into it.
    pub kernel_side: KernelSide,
    /// The rights of this process.
    pub rights: Rights,
    /// The cgroup hierarchies.
    pub cgroups: Cgroups,
    /// The walk over all cgroups; `None` if nothing could be started.
    pub cgroup_walk: Option<CgroupWalk>,
    /// Pressure stall information.
    pub pressure: Check,
    /// The clock that the kernel's programs read.
    pub clock: Check,
    /// The recording of this host.
    pub recording: Check,
    /// Container daemons whose sockets exist.
    pub daemons: Vec<Daemon>,
    /// Block devices that hold data, by `major:minor`.
    pub block_devices: BTreeMap<String, CountedDevice>,
}

/// The names of a host.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub(super) struct Named {
    pub hostname: Option<String>,
    pub kernel: Option<String>,
    pub os_name: Option<String>,
}

/// A family's source, and what would make it better.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    /// The source as in every report.
    #[serde(flatten)]
    pub source: Source,
    /// What a person can do about it; `None` if nothing is known to help.
    pub remedy: Option<String>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Check {
    /// How it is.
    pub state: State,
    /// What is there.
    pub found: Option<String>,
    /// Why it is not [`State::On`].
    pub reason: Option<String>,
    /// What a person can do about it; `None` if nothing is known to help.
    pub remedy: Option<String>,
}

/// The eBPF side.
#[derive(Clone, Debug, Serialize)]
pub(super) struct KernelSide {
    /// Whether this binary carries the programs.
    pub object: bool,
    /// Whether the kernel's type information could be read.
    pub btf: bool,
    /// Why it could not.
    pub btf_reason: Option<String>,
    /// Arguments of each tracepoint that Tare knows a use for; `null` if this kernel lacks it.
    pub tracepoints: BTreeMap<&'static str, Option<usize>>,
    /// The programs by name; none if nothing could be loaded.
    pub programs: BTreeMap<String, LoadedProgram>,
    /// The maps by name.
    pub maps: BTreeMap<String, LoadedMap>,
    /// Memory of all programs and maps together.
    pub memory_bytes: Option<u64>,
}

/// The cgroup hierarchies.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Cgroups {
    /// `v1`, `v2`, `hybrid` or `none`.
    pub layout: &'static str,
    /// Each with its controllers, cgroup2 first.
    pub hierarchies: Vec<Hierarchy>,
}

/// A mounted cgroup hierarchy.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Hierarchy {
    /// Where it is mounted.
    pub path: String,
    /// 1 or 2.
    pub version: u8,
    /// The kernel's number for it; 0 for cgroup2.
    pub id: Option<u32>,
    /// Its controllers; `None` if unknown.
    pub controllers: Option<Vec<String>>,
}

/// The walk over all cgroups by programs in the kernel.
#[derive(Clone, Debug, Serialize)]
pub(super) struct CgroupWalk {
    /// The kernel's iterator, or why there is none.
    #[serde(flatten)]
    pub check: Check,
    /// The numbers that come from files all the same, and why.
    pub files: BTreeMap<&'static str, String>,
}

/// A container daemon.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Daemon {
    /// `docker`, `containerd`, `cri-o` or `podman`.
    pub name: &'static str,
    /// Its socket.
    pub socket: String,
    /// `answers`, or why not.
    pub state: String,
}

/// A block device and how the kernel side counts its I/O.
#[derive(Clone, Debug, Serialize)]
pub(super) struct CountedDevice {
    /// Its name.
    pub name: String,
    /// `requests`, `bios`, or `below` (by the devices below it); `None` if it is not counted.
    pub counted: Option<&'static str>,
    /// Why it is not counted.
    pub reason: Option<String>,
}

impl Finding {
    /// The source with what helps against each of its gaps.
    pub(super) fn new(status: &SourceStatus, circumstances: &Circumstances) -> Self {
        let mut remedies: Vec<String> = Vec::new();
        for remedy in status.gaps.iter().filter_map(|gap| gap.reason.remedy(circumstances)) {
            if !remedies.contains(&remedy) {
                remedies.push(remedy);
            }
        }
        let remedy = (!remedies.is_empty()).then(|| remedies.join("; "));
        Self { source: Source::from(status), remedy }
    }
}

impl Check {
    /// All is well.
    pub(super) fn on(found: impl Into<String>) -> Self {
        Self { state: State::On, found: Some(found.into()), reason: None, remedy: None }
    }

    /// What was found, if anything, is not what it should be.
    pub(super) fn new(
        state: State,
        found: Option<String>,
        reason: &Reason,
        circumstances: &Circumstances,
    ) -> Self {
        let remedy = reason.remedy(circumstances);
        Self { state, found, reason: Some(reason.to_string()), remedy }
    }
}

impl KernelSide {
    /// From what the kernel offers and what was loaded.
    pub(super) fn new(facts: &Facts, programs: Vec<LoadedProgram>, maps: Vec<LoadedMap>) -> Self {
        let sizes = programs.iter().map(|program| program.memory_bytes);
        let attached = programs.iter().any(|program| program.attached);
        let memory = sizes.chain(maps.iter().map(|map| map.memory_bytes)).flatten().sum();
        let by_name = |program: LoadedProgram| (program.name.clone(), program);
        Self {
            object: facts.object,
            btf: facts.btf.is_ok(),
            btf_reason: facts.btf.as_ref().err().map(Reason::to_string),
            tracepoints: facts.btf.as_ref().map(|btf| btf.tracepoints.clone()).unwrap_or_default(),
            memory_bytes: attached.then_some(memory),
            programs: programs.into_iter().map(by_name).collect(),
            maps: maps.into_iter().map(|map| (map.name.clone(), map)).collect(),
        }
    }
}

impl From<host::Identity> for Named {
    fn from(identity: host::Identity) -> Self {
        let host::Identity { hostname, kernel, os_name, .. } = identity;
        Self { hostname, kernel, os_name }
    }
}
