//! What the running kernel offers. It is looked up in the kernel's own type information and never
//! concluded from its version.

use std::{collections::BTreeMap, fs, io, path::Path};

use tare_ebpf::Layout;

use crate::{
    kernel::{
        btf::Btf, ended::EndedHierarchies, layout::layout, object, per_cpu::PerCpuFacts,
        tracepoints, walk::WalkFacts,
    },
    reason::Reason,
};

/// Everything that the plan is made from.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Whether this binary carries the kernel side.
    pub object: bool,
    /// What BTF describes, or why there is none.
    pub btf: Result<BtfFacts, Reason>,
    /// The hierarchy that separates containers by the ids of their cgroups, if any.
    pub ids: Option<SocketIds>,
    /// The hierarchies whose removed cgroups are to report what they had used.
    pub ended: EndedHierarchies,
    /// Why tasks are not wanted, if so.
    pub tasks_off: Option<Reason>,
}

/// The hierarchy whose ids the counters of sockets carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketIds {
    /// cgroup2, which sockets themselves belong to.
    Unified,
    /// The memory controller's v1 hierarchy, which only tasks belong to: for hosts without cgroup2
    /// and hosts whose runtime does not put containers in there.
    Memory,
}

/// What BTF describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BtfFacts {
    /// Offsets; [`ABSENT`](tare_ebpf::ABSENT) where the kernel has no such field of the expected
    /// size.
    pub layout: Layout,
    /// How many arguments each tracepoint has that Tare knows a use for; `None` if this kernel
    /// lacks it.
    pub tracepoints: BTreeMap<&'static str, Option<usize>>,
    /// What a walk over cgroups needs.
    pub walk: WalkFacts,
    /// What it takes to find per-CPU memory.
    pub(super) per_cpu: PerCpuFacts,
}

impl Facts {
    /// Looks at the running kernel, through the `/sys` at `sys_root`.
    pub fn read(sys_root: &Path, ids: Option<SocketIds>) -> Self {
        let ended = EndedHierarchies::default();
        Self { object: object::is_built_in(), btf: read_btf(sys_root), ids, ended, tasks_off: None }
    }
}

impl BtfFacts {
    /// How many arguments a tracepoint has; `None` if this kernel lacks it.
    pub fn arguments(&self, tracepoint: &str) -> Option<usize> {
        self.tracepoints.get(tracepoint).copied().flatten()
    }
}

/// Reads `kernel/btf/vmlinux` (`CONFIG_DEBUG_INFO_BTF`, Linux 5.4) and keeps what the plan needs.
fn read_btf(sys_root: &Path) -> Result<BtfFacts, Reason> {
    let file = sys_root.join("kernel/btf/vmlinux");
    let path = || file.display().to_string().into();
    let data = fs::read(&file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Reason::NoBtf { path: path() },
        _ => Reason::UnreadableBtf { path: path(), error: error.to_string().into() },
    })?;
    let btf = Btf::parse(data)
        .map_err(|error| Reason::UnreadableBtf { path: path(), error: error.to_string().into() })?;
    let names = tracepoints::names().into_iter();
    Ok(BtfFacts {
        layout: layout(&btf),
        walk: WalkFacts::read(&btf),
        per_cpu: PerCpuFacts::read(&btf),
        tracepoints: names.map(|name| (name, btf.tracepoint_arguments(name))).collect(),
    })
}
