//! Where each family of numbers comes from, and why it is not a better place.

use std::collections::BTreeMap;

use tare_ebpf::{BlockCell, Cell};

pub use tare_model::{Family, Reconciled, Source, Sources, State};

use crate::{
    cgroup::{Version, file::descriptor_limit},
    families::Readers,
    identity::{ConnectionStatus, RuntimeGroup},
    kernel::{Bios, Kernel, SocketIds, Sockets, Table},
    registry::{Registry, TrackedCgroup},
    sample::{ReconciledCounts, Reconciliation},
};

/// Tells the source of every family as it is now.
pub fn sources(
    registry: &Registry,
    kernel: &Kernel,
    blocks: Option<&Reconciliation>,
    segments: Option<&Reconciliation>,
) -> Sources {
    BTreeMap::from([
        (Family::Cpu, files(registry, "cpuacct", "cpuacct.usage, cpuacct.stat", "cpu.stat")),
        (Family::Memory, files(registry, "memory", "memory.* (v1)", "memory.* (v2)")),
        (Family::Pids, files(registry, "pids", "pids.* (v1)", "pids.* (v2)")),
        (Family::NetworkInterfaces, interfaces(registry)),
        (Family::NetworkSockets, sockets(registry, kernel)),
        (Family::NetworkTcp, tcp(kernel, segments)),
        (Family::Block, block(registry, kernel, blocks)),
        (Family::Lifecycle, lifecycle(kernel)),
        (Family::Identity, identity(registry)),
    ])
}

fn files(registry: &Registry, controller: &str, v1: &str, v2: &str) -> Source {
    let hierarchies = registry.hierarchies();
    let source = match hierarchies.controller(controller).map(|found| found.version) {
        Some(Version::V1) => v1,
        // CPU time is told without a controller.
        Some(Version::V2) if controller != "cpuacct" && hierarchies.lacks_unified(controller) => {
            return Source::off(format!(
                "the {controller} controller is off: cgroup2 does not offer it"
            ));
        }
        Some(Version::V2) => v2,
        None => {
            return Source::off(format!("no cgroup hierarchy with the {controller} controller"));
        }
    };
    match registry.tracked().filter_map(|t| t.readers.as_ref()).map(Readers::reopened).sum() {
        0 => Source::on(source),
        unheld => Source::degraded(source, scarce(unheld)),
    }
}

/// Files that do not stay open cost more time, but no numbers.
fn scarce(unheld: usize) -> String {
    format!(
        "{unheld} files are opened anew for each reading, because this process may open only {} \
         files: raise its limit (ulimit -n, LimitNOFILE)",
        descriptor_limit()
    )
}

fn interfaces(registry: &Registry) -> Source {
    const SOURCE: &str = "/proc/PID/net/dev";
    let known = registry.tracked().any(|tracked| tracked.namespace.is_some());
    match registry.namespace_fault() {
        Some(fault) if known => Source::degraded(SOURCE, fault),
        Some(fault) => Source::off(fault),
        None => Source::on(SOURCE),
    }
}

fn sockets(registry: &Registry, kernel: &Kernel) -> Source {
    let (source, second_best) = match (&kernel.sockets, registry.socket_ids()) {
        (Err(reason), _) => return Source::off(reason),
        (Ok(Sockets::Payload), Some(SocketIds::Memory)) => (
            "tp_btf/sock_send_length, tp_btf/sock_recv_length by v1 memory cgroup",
            "payload, not packets",
        ),
        (Ok(Sockets::Payload), _) => {
            ("tp_btf/sock_send_length, tp_btf/sock_recv_length", "payload, not packets")
        }
        (Ok(Sockets::L3), _) => {
            ("cgroup_skb ingress and egress at the root of cgroup2", "packets, not payload")
        }
    };
    if let Some(reason) = overflow(kernel.net.as_ref()) {
        return Source::degraded(source, reason);
    }
    if let Some(reason) = &kernel.sockets_reason {
        return Source::degraded(source, format!("{second_best}: {reason}"));
    }
    match registry.inseparable() {
        0 => Source::on(source),
        lost => Source::degraded(
            source,
            format!("not separable for {lost} of them: not in the hierarchy that is counted by"),
        ),
    }
}

fn tcp(kernel: &Kernel, proof: Option<&Reconciliation>) -> Source {
    const RETRANSMITS: &str = "tp_btf/tcp_retransmit_skb";
    const CONNECTIONS: &str = "tp_btf/inet_sock_set_state";
    let unseen = proof.and_then(|proof| losses(proof, "TCP segments sent again"));
    let found = match (&kernel.retransmits_reason, &kernel.connections_reason) {
        (None, None) => {
            let source = format!("{RETRANSMITS}, {CONNECTIONS}");
            match unseen {
                Some(unseen) => Source::degraded(source, unseen),
                None => Source::on(source),
            }
        }
        (Some(reason), None) => Source::degraded(CONNECTIONS, format!("no retransmits: {reason}")),
        (None, Some(reason)) => Source::degraded(RETRANSMITS, format!("no connections: {reason}")),
        (Some(reason), Some(_)) => Source::off(reason),
    };
    let with = "/proc/PID/net/snmp, /proc/PID/net/netstat";
    Source { reconciled: proof.map(|proof| reconciled(proof, with)), ..found }
}

fn block(registry: &Registry, kernel: &Kernel, proof: Option<&Reconciliation>) -> Source {
    const SOURCE: &str = "tp_btf/block_rq_complete";
    let Some(reason) = &kernel.block_reason else {
        let bios = match &kernel.extras.bios {
            Bios::Counted(_) => ", tp_btf/block_bio_queue",
            Bios::Idle(_) | Bios::Failed(_) => "",
        };
        let source = format!("{SOURCE}{bios}");
        let mut gaps = block_gaps(registry, kernel);
        gaps.extend(
            proof.and_then(|proof| {
                losses(proof, &format!("requests on {}", proof.losers.join(", ")))
            }),
        );
        let found = match gaps.is_empty() {
            true => Source::on(source),
            false => Source::degraded(source, gaps.join("; ")),
        };
        return Source {
            reconciled: proof.map(|proof| reconciled(proof, "/proc/diskstats")),
            ..found
        };
    };
    match registry.hierarchies().controller("blkio").map(|found| found.version) {
        Some(Version::V2) => Source::degraded("io.stat", format!("no latency: {reason}")),
        Some(Version::V1) => Source::degraded(
            "blkio.throttle.*",
            format!("counts only throttled I/O on most kernels: {reason}"),
        ),
        None => Source::off(reason),
    }
}

fn lifecycle(kernel: &Kernel) -> Source {
    let Some(events) = &kernel.events else {
        let why = kernel.events_reason.as_deref().unwrap_or_default();
        return Source::degraded(
            "walks of the cgroup trees",
            format!("short-lived containers may be missed: {why}"),
        );
    };
    const SOURCE: &str = "tp_btf/cgroup_*, sched_process_exec, inet_sock_set_state, mark_victim";
    match (events.lost(), &kernel.events_reason) {
        (0, None) => Source::on(SOURCE),
        (0, Some(reason)) => Source::degraded(SOURCE, reason),
        (lost, _) => Source::degraded(
            SOURCE,
            format!("{lost} events were lost because too many came at once"),
        ),
    }
}

/// What is missing although requests are counted.
fn block_gaps(registry: &Registry, kernel: &Kernel) -> Vec<String> {
    let mut gaps = Vec::new();
    let overflow_cell = kernel.block.as_ref().map(Table::overflow).unwrap_or_default();
    if let Some(overflow) = overflow(kernel.block.as_ref()) {
        let BlockCell { read, write, .. } = overflow_cell;
        gaps.push(format!(
            "{overflow} ({} bytes read and {} written so far)",
            read.bytes, write.bytes
        ));
    }
    let above = |tracked: &&TrackedCgroup| {
        tracked.readers.as_ref().is_some_and(|readers| readers.block_charged_to().is_some())
    };
    match registry.tracked().filter(above).count() {
        0 => {}
        count => gaps.push(format!(
            "the kernel charges the I/O of {count} {cgroups} to one above, because the io controller \
             is not enabled there",
            cgroups = if count == 1 { "cgroup" } else { "cgroups" },
        )),
    }
    if let Err(reason) = &kernel.extras.flight {
        gaps.push(format!("no requests in flight: {reason}"));
    }
    if let Err(reason) = &kernel.extras.merges {
        gaps.push(format!("no merges: {reason}"));
    }
    if let Bios::Failed(reason) = &kernel.extras.bios {
        gaps.push(format!("devices without requests are not counted: {reason}"));
    }
    gaps
}

/// What happened and no program saw.
fn losses(proof: &Reconciliation, what: &str) -> Option<String> {
    let ReconciledCounts { expected, lost, .. } = proof.total;
    (lost > 0).then(|| {
        let percent = lost as f64 / expected.max(1) as f64 * 100.0;
        format!(
            "{lost} of {expected} {what} ({percent:.2} %) were not seen by the \
             kernel's programs"
        )
    })
}

fn reconciled(proof: &Reconciliation, with: &'static str) -> Reconciled {
    let Reconciliation { since, total, covered, uncovered, .. } = proof;
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

fn overflow<C: Cell>(table: Option<&Table<C>>) -> Option<String> {
    let table = table?;
    let lost = table.overflow().words().iter().any(|count| *count != 0);
    lost.then(|| {
        format!(
            "all {} slots were in use: some cgroups are counted together as overflow; see --slots",
            table.capacity()
        )
    })
}

/// Which daemons answer, of those that made what is here.
fn identity(registry: &Registry) -> Source {
    let (mut sources, mut gaps) = (vec!["cgroup path".to_owned()], Vec::new());
    for (RuntimeGroup { api, user }, status) in registry.names().statuses() {
        let whose = user.map(|user| format!(" of user {user}")).unwrap_or_default();
        let name = format!("{}{whose}", api.as_str());
        match status {
            Some(ConnectionStatus::Connected) => sources.push(name),
            Some(ConnectionStatus::Connecting) => gaps.push(format!("{name} has not answered yet")),
            Some(ConnectionStatus::Failed(reason)) => gaps.push(reason),
            None => gaps.push(format!("{name} is not asked")),
        }
    }
    match gaps.is_empty() {
        true => Source::on(sources.join(", ")),
        false => Source::degraded(sources.join(", "), gaps.join("; ")),
    }
}
