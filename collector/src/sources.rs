//! The sources of all families: collects what is known, and lets each family decide.

use std::collections::BTreeMap;

use tare_model::{Family, Reconciled};

use crate::{
    cgroup::file::descriptor_limit,
    families::{
        Readers, block, cpu, lifecycle, memory, network_interfaces, network_sockets, network_tcp,
        pids,
        source::{Comparison, Inputs, SourceStatus},
        tasks,
    },
    identity,
    kernel::Kernel,
    registry::{Registry, TrackedCgroup},
    sample::{CgroupWalk, Reconciliation},
};

/// Decides the source of every family. `requests` and `segments` are the comparisons with the
/// kernel's own counts.
pub fn decide(
    registry: &Registry,
    kernel: &Kernel,
    walk: &CgroupWalk,
    requests: Option<&Reconciliation>,
    segments: Option<&Reconciliation>,
) -> BTreeMap<Family, SourceStatus> {
    let inputs = collect(registry, kernel, walk, requests, segments);
    let decide = |family| match family {
        Family::Cpu => cpu::source(&inputs),
        Family::Memory => memory::source(&inputs),
        Family::Pids => pids::source(&inputs),
        Family::Tasks => tasks::source(&inputs),
        Family::NetworkInterfaces => network_interfaces::source(&inputs),
        Family::NetworkSockets => network_sockets::source(&inputs),
        Family::NetworkTcp => network_tcp::source(&inputs),
        Family::Block => block::source(&inputs),
        Family::Lifecycle => lifecycle::source(&inputs),
        Family::Identity => identity::source(&registry.resolver().statuses()),
    };
    Family::ALL.into_iter().map(|family| (family, decide(family))).collect()
}

fn collect<'a>(
    registry: &'a Registry,
    kernel: &'a Kernel,
    walk: &'a CgroupWalk,
    requests: Option<&Reconciliation>,
    segments: Option<&Reconciliation>,
) -> Inputs<'a> {
    let readers = || registry.tracked().filter_map(|tracked| tracked.readers.as_ref());
    let is_charged_above = |readers: &&Readers| readers.block_charged_to().is_some();
    let has_namespace = |tracked: &TrackedCgroup| tracked.namespace.is_some();
    Inputs {
        hierarchies: registry.hierarchies(),
        reopened_files: readers().map(Readers::reopened).sum(),
        descriptor_limit: descriptor_limit(),
        walk: walk.status(),
        kernel: kernel.status(),
        socket_ids: registry.socket_ids(),
        // This reads files, which is of use only if there are counters.
        inseparable: if kernel.sockets.is_ok() { registry.inseparable() } else { 0 },
        charged_above: readers().filter(is_charged_above).count(),
        any_namespace: registry.tracked().any(has_namespace),
        namespace_fault: registry.namespace_fault(),
        requests: requests.map(|found| Comparison {
            reconciled: reconciled(found, "/proc/diskstats"),
            what: format!("requests on {}", found.losers.join(", ")),
        }),
        segments: segments.map(|found| Comparison {
            reconciled: reconciled(found, "/proc/PID/net/snmp, /proc/PID/net/netstat"),
            what: "TCP segments sent again".to_owned(),
        }),
    }
}

fn reconciled(found: &Reconciliation, with: &'static str) -> Reconciled {
    let Reconciliation { since, total, covered, uncovered, .. } = found;
    Reconciled {
        with: with.into(),
        since: *since,
        expected: total.expected,
        counted: total.counted,
        lost: total.lost,
        lost_bytes: total.lost_bytes,
        covered: *covered,
        uncovered: *uncovered,
    }
}
