//! Gives up the capabilities that are not needed any more. They belong to threads, so each thread
//! gives up its own.

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};

use crate::{
    cli::Bpf,
    config::{Common, Run},
};

/// What sampling goes on to need: `CAP_BPF` and `CAP_PERFMON` to free counter slots and to load what
/// a new kind of block device needs, `CAP_SYS_PTRACE` to see the network namespaces of new
/// containers, `CAP_DAC_READ_SEARCH` to read their files.
const SAMPLING: &[Capability] = &[
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_DAC_READ_SEARCH,
];

/// What sampling needs in this configuration. Nothing but windows of BPF statistics takes as much as
/// `CAP_SYS_ADMIN`, so these have to be asked for.
pub(super) fn sampling(common: &Common, run: &Run) -> Vec<Capability> {
    let is_bpf = |it: &Capability| matches!(it, Capability::CAP_BPF | Capability::CAP_PERFMON);
    let off = common.bpf == Bpf::Off;
    let windows = run.bpf_stats_interval.is_some_and(|interval| !interval.is_zero());
    let kept = SAMPLING.iter().filter(|it| !(off && is_bpf(it))).copied();
    kept.chain((windows && !off).then_some(Capability::CAP_SYS_ADMIN)).collect()
}

/// Serving needs none: the sockets are there, and nothing of others is read.
pub(super) const SERVING: &[Capability] = &[];

/// Gives up all capabilities of this thread but these; the names of those that are left.
pub(super) fn keep(kept: &[Capability]) -> Vec<String> {
    if let Err(error) = keep_only(kept) {
        tracing::warn!(%error, "cannot give up capabilities that are not needed");
    }
    let held = caps::read(None, CapSet::Effective).unwrap_or_default();
    let mut names: Vec<_> = held.iter().map(|it| it.to_string().to_lowercase()).collect();
    names.sort();
    names
}

fn keep_only(kept: &[Capability]) -> Result<(), CapsError> {
    let kept: CapsHashSet = kept.iter().copied().collect();
    let permitted = caps::read(None, CapSet::Permitted)?;
    let rest: CapsHashSet = permitted.intersection(&kept).copied().collect();
    // A capability cannot be in effect, inherited or ambient unless it is permitted.
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &rest)?;
    caps::set(None, CapSet::Permitted, &rest)
}
