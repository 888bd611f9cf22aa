//! The capabilities that sampling needs after the start.

use caps::Capability;

use crate::{
    cli::Bpf,
    config::{Common, Run},
};

/// Capabilities of the sampling thread: `CAP_BPF` and `CAP_PERFMON` to free counter slots and to
/// load what a new kind of block device needs, the latter also to count events of new containers,
/// `CAP_SYS_PTRACE` to see the network namespaces of
/// new containers, `CAP_DAC_READ_SEARCH` to read their files.
const SAMPLING: &[Capability] = &[
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_DAC_READ_SEARCH,
];

/// What sampling needs with these options. BPF statistics need `CAP_SYS_ADMIN`, and nothing else
/// does, so they are measured again only if the user asks for it.
pub(super) fn sampling(common: &Common, run: &Run) -> Vec<Capability> {
    let is_bpf = |it: &Capability| matches!(it, Capability::CAP_BPF | Capability::CAP_PERFMON);
    let off = common.bpf == Bpf::Off;
    let statistics = run.bpf_stats_interval.is_some_and(|interval| !interval.is_zero());
    let is_counted =
        |it: &Capability| *it == Capability::CAP_PERFMON && !run.perf_events.is_empty();
    let kept = SAMPLING.iter().filter(|it| !(off && is_bpf(it)) || is_counted(it)).copied();
    kept.chain((statistics && !off).then_some(Capability::CAP_SYS_ADMIN)).collect()
}
