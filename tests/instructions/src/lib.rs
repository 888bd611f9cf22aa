//! Samplers that read files alone, for tests that count instructions or allocations.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use tare::internals::{
    BlockReconciler, Devices, Diskstats, Follow, HostFiles, Kernel, KernelOptions, MetadataFilter,
    MetadataResolver, Namespaces, Reason, Receipts, Reconcilers, Registry, RetransmitReconciler,
    RuntimeSockets, Sampler, Socket, find_hierarchies,
};

/// Where a sampler reads.
#[derive(Clone, Copy, Debug)]
pub struct Roots<'a> {
    /// The cgroup hierarchies; those that are mounted, if `None`.
    pub cgroup: Option<&'a Path>,
    /// As `/proc`.
    pub proc: &'a Path,
    /// As `/sys`.
    pub sys: &'a Path,
}

/// A sampler without BPF and without container daemons.
pub fn sampler(roots: Roots<'_>, follow: Follow) -> Result<Sampler> {
    let Roots { cgroup, proc, sys } = roots;
    let hierarchies = find_hierarchies(proc, cgroup)?;
    let sockets = RuntimeSockets { docker: Socket::Off, podman: Socket::Off, cri: Socket::Off };
    let names = MetadataResolver::new(sockets, MetadataFilter::default());
    let registry = Registry::new(hierarchies, None, follow, Namespaces::new(proc), names);
    let kernel = Kernel::start(&KernelOptions {
        off: Some(Reason::SingleSample),
        sys_root: sys.to_owned(),
        unified: None,
        socket_ids: None,
        socket_level: None,
        slots: 1,
        watched_net: None,
        watched_block: None,
        ended: Default::default(),
        tasks_off: None,
    });
    let host = HostFiles::open(proc).context("cannot read the host's usage")?;
    let reconcilers = Reconcilers {
        block: BlockReconciler::new(Diskstats::open(proc)?),
        retransmits: RetransmitReconciler::new(proc),
    };
    let receipts = Receipts::new(0, Duration::ZERO);
    Ok(Sampler::new(registry, kernel, host, Devices::new(sys), reconcilers, receipts))
}
