//! Facts → plan: what to load for each family, and why the rest is not loaded.
//!
//! Pure, so that every kernel is a line in a test.

use serde::{Deserialize, Serialize};
use tare_ebpf::{ABSENT, Layout};

use crate::{
    kernel::{
        ended::{EndedHierarchies, EndedPlan},
        facts::{BtfFacts, Facts, SocketIds},
        tracepoints::{
            BIOS, CONNECTIONS, IN_FLIGHT, LIFECYCLE_OPTIONAL, LIFECYCLE_REQUIRED, MERGES, PAYLOAD,
            REQUESTS, RETRANSMITS, TASK_FREED, TracepointSpec,
        },
    },
    reason::Reason,
};

/// What to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Offsets for the programs.
    pub layout: Layout,
    /// Sockets and TCP.
    pub network: NetworkPlan,
    /// Block requests.
    pub block: Result<BlockPlan, Reason>,
    /// Events of cgroups.
    pub lifecycle: Result<LifecyclePlan, Reason>,
    /// Tasks: the program that keeps the times of those that are gone.
    pub tasks: Result<TaskPlan, Reason>,
}

/// Programs that work together, or why they cannot.
pub(super) type Programs = Result<Vec<TracepointSpec>, Reason>;

/// What to load for sockets and TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NetworkPlan {
    /// Bytes or packets of sockets.
    pub sockets: Result<SocketPlan, Reason>,
    /// TCP segments that are sent again.
    pub retransmits: Programs,
    /// TCP connections.
    pub connections: Programs,
}

/// The level to count sockets at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SocketPlan {
    /// The best or the preferred one that this kernel has.
    pub level: SocketLevel,
    /// The other one, if the kernel has it too, for when the first is refused.
    pub fallback: Option<SocketLevel>,
    /// Why the first is not the best or the preferred one, if so.
    pub second_best: Option<Reason>,
}

/// What to load for block I/O. Completed requests need all that the others need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BlockPlan {
    /// Completed requests.
    pub requests: Vec<TracepointSpec>,
    /// Requests that the driver has.
    pub in_flight: Programs,
    /// Merges.
    pub merges: Programs,
    /// Bios of devices that make no requests of them.
    pub bios: Programs,
}

/// What to load for events of cgroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LifecyclePlan {
    /// Without all of these there are no events at all.
    pub required: Vec<TracepointSpec>,
    /// Each of these adds a kind of event.
    pub optional: Vec<TracepointSpec>,
    /// Why others of those are left out.
    pub missing: Vec<Reason>,
    /// What removed cgroups had used.
    pub ended: Result<EndedPlan, Reason>,
}

/// What to load for tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TaskPlan {
    /// Tasks that are gone.
    pub freed: TracepointSpec,
    /// Whether their open files can be counted.
    pub open_files: Result<(), Reason>,
}

/// What is counted of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketLevel {
    /// Bytes at the socket calls, by tracepoint (Linux 6.3).
    Payload,
    /// IP packets, by `cgroup_skb` programs at the root of cgroup2 (Linux 4.10).
    L3,
}

/// Decides what to load. `preferred` is the level to count sockets at if there is a choice.
pub(super) fn plan(facts: &Facts, preferred: Option<SocketLevel>) -> Plan {
    let btf = match &facts.btf {
        _ if !facts.object => return Plan::nothing(&Reason::NoObject),
        Err(reason) => return Plan::nothing(reason),
        Ok(btf) => btf,
    };
    let mut layout = btf.layout;
    if facts.ids != Some(SocketIds::Memory) {
        layout.css_set_memory = ABSENT;
    }
    Plan {
        layout,
        network: network(facts.ids, btf, preferred),
        block: block(btf),
        lifecycle: lifecycle(btf, facts.ended),
        tasks: match &facts.tasks_off {
            Some(reason) => Err(reason.clone()),
            None => tasks(facts.ids, btf),
        },
    }
}

impl Plan {
    /// Nothing to load, for one reason.
    pub(super) fn nothing(reason: &Reason) -> Self {
        Self {
            layout: Layout::UNKNOWN,
            network: NetworkPlan {
                sockets: Err(reason.clone()),
                retransmits: Err(reason.clone()),
                connections: Err(reason.clone()),
            },
            block: Err(reason.clone()),
            lifecycle: Err(reason.clone()),
            tasks: Err(reason.clone()),
        }
    }
}

impl NetworkPlan {
    /// Whether no program would use the network table.
    pub(super) fn is_nothing(&self) -> bool {
        self.sockets.is_err() && self.retransmits.is_err() && self.connections.is_err()
    }
}

fn network(ids: Option<SocketIds>, btf: &BtfFacts, preferred: Option<SocketLevel>) -> NetworkPlan {
    let separable = match ids {
        Some(SocketIds::Unified) => Ok(()),
        Some(SocketIds::Memory) | None => Err(Reason::NotSeparable { callers: None }),
    };
    NetworkPlan {
        sockets: sockets(ids, btf, preferred),
        retransmits: separable.clone().and_then(|()| retransmits(btf)),
        connections: separable.and_then(|()| connections(btf)),
    }
}

/// Which of the two levels comes first.
///
/// A packet carries nothing but its socket's own cgroup, which is one of cgroup2. A socket call is
/// made by a task, which is in cgroups of v1 hierarchies too.
fn sockets(
    ids: Option<SocketIds>,
    btf: &BtfFacts,
    preferred: Option<SocketLevel>,
) -> Result<SocketPlan, Reason> {
    use SocketLevel::{L3, Payload};
    let payload = match ids {
        Some(SocketIds::Unified) => payload(btf).and_then(|()| unified_ids(btf)),
        Some(SocketIds::Memory) => payload(btf).and_then(|()| memory_ids(btf)),
        None => Err(Reason::NoMemoryHierarchy),
    };
    let packets = ids == Some(SocketIds::Unified);
    let (level, fallback, second_best) = match (payload, packets, preferred) {
        (Ok(()), true, Some(L3)) => (L3, Some(Payload), None),
        (Ok(()), true, _) => (Payload, Some(L3), None),
        (Ok(()), false, Some(L3)) => (Payload, None, Some(Reason::PacketsNotSeparable)),
        (Ok(()), false, _) => (Payload, None, None),
        (Err(_), true, Some(L3)) => (L3, None, None),
        (Err(reason), true, _) => (L3, None, Some(reason)),
        (Err(reason), false, _) => {
            return Err(Reason::NotSeparable { callers: Some(reason.into()) });
        }
    };
    Ok(SocketPlan { level, fallback, second_best })
}

fn payload(btf: &BtfFacts) -> Result<(), Reason> {
    all_of(btf, &PAYLOAD)?;
    let Layout { sock_family, sock_protocol, .. } = btf.layout;
    fields(&[("sock.skc_family", sock_family), ("sock.sk_protocol", sock_protocol)])
}

/// What the id of a task's cgroup in cgroup2 takes.
fn unified_ids(btf: &BtfFacts) -> Result<(), Reason> {
    let layout = &btf.layout;
    fields(&[
        ("task_struct.cgroups", layout.task_cgroups),
        ("css_set.dfl_cgrp", layout.css_set_dfl_cgroup),
        ("cgroup.self", layout.cgroup_self),
        ("cgroup_subsys_state.cgroup", layout.css_cgroup),
        ("cgroup.kn", layout.cgroup_kn),
        ("kernfs_node.id", layout.kn_id),
    ])
}

/// What the id of a task's cgroup in the memory controller's v1 hierarchy takes.
fn memory_ids(btf: &BtfFacts) -> Result<(), Reason> {
    let layout = &btf.layout;
    fields(&[
        ("task_struct.cgroups", layout.task_cgroups),
        ("css_set.subsys[memory_cgrp_id]", layout.css_set_memory),
        ("cgroup_subsys_state.cgroup", layout.css_cgroup),
        ("cgroup.kn", layout.cgroup_kn),
        ("kernfs_node.id", layout.kn_id),
    ])
}

fn connections(btf: &BtfFacts) -> Programs {
    let programs = all_of(btf, &[CONNECTIONS])?;
    fields(&[("sock.sk_protocol", btf.layout.sock_protocol)])?;
    socket_cgroup(&btf.layout)?;
    Ok(programs)
}

fn retransmits(btf: &BtfFacts) -> Programs {
    let programs = all_of(btf, &[RETRANSMITS])?;
    let Layout { sock_state, skb_tcp_segments, .. } = btf.layout;
    fields(&[("sock.skc_state", sock_state), ("tcp_skb_cb.tcp_gso_segs", skb_tcp_segments)])?;
    socket_cgroup(&btf.layout)?;
    Ok(programs)
}

fn socket_cgroup(layout: &Layout) -> Result<(), Reason> {
    fields(&[
        ("sock.sk_cgrp_data.cgroup", layout.sock_cgroup),
        ("cgroup.self", layout.cgroup_self),
        ("cgroup_subsys_state.cgroup", layout.css_cgroup),
        ("cgroup.kn", layout.cgroup_kn),
        ("kernfs_node.id", layout.kn_id),
    ])
}

fn block(btf: &BtfFacts) -> Result<BlockPlan, Reason> {
    let requests = all_of(btf, &[REQUESTS])?;
    let layout = &btf.layout;
    if layout.request_disk == ABSENT {
        fields(&[("request.q", layout.request_queue), ("request_queue.disk", layout.queue_disk)])?;
    }
    fields(&[
        ("request.bio", layout.request_bio),
        ("request.rq_flags", layout.request_flags),
        ("request.state", layout.request_state),
        ("bio.bi_opf", layout.bio_opf),
        ("request.__data_len", layout.request_data_len),
        ("request.cmd_flags", layout.request_cmd_flags),
        ("request.start_time_ns", layout.request_start_time),
        ("request.io_start_time_ns", layout.request_io_start_time),
        ("gendisk.major", layout.disk_major),
        ("gendisk.first_minor", layout.disk_first_minor),
        ("bio.bi_blkg", layout.bio_blkg),
        ("blkcg_gq.blkcg", layout.blkg_blkcg),
        ("blkcg.css", layout.blkcg_css),
        ("cgroup_subsys_state.cgroup", layout.css_cgroup),
        ("cgroup.kn", layout.cgroup_kn),
        ("kernfs_node.id", layout.kn_id),
    ])?;
    Ok(BlockPlan {
        requests,
        in_flight: one_of_each(btf, &IN_FLIGHT),
        merges: bio_disk(layout).and_then(|()| one_of_each(btf, &MERGES)),
        bios: bios(btf),
    })
}

fn bios(btf: &BtfFacts) -> Programs {
    let layout = &btf.layout;
    bio_disk(layout)?;
    fields(&[
        ("bio.bi_iter.bi_size", layout.bio_size),
        ("bio.bi_status", layout.bio_status),
        ("gendisk.queue", layout.disk_queue),
        ("request_queue.mq_ops", layout.queue_operations),
    ])?;
    one_of_each(btf, &BIOS)
}

fn bio_disk(layout: &Layout) -> Result<(), Reason> {
    if layout.bio_disk != ABSENT {
        return Ok(());
    }
    fields(&[("bio.bi_bdev", layout.bio_device), ("block_device.bd_disk", layout.device_disk)])
}

fn lifecycle(btf: &BtfFacts, ended: EndedHierarchies) -> Result<LifecyclePlan, Reason> {
    let check = |spec: &TracepointSpec| {
        spec.check(btf.arguments(spec.tracepoint))?;
        fields(&lifecycle_fields(&btf.layout, spec.program))
    };
    LIFECYCLE_REQUIRED.iter().try_for_each(check)?;
    let (mut optional, mut missing) = (Vec::new(), Vec::new());
    for spec in LIFECYCLE_OPTIONAL {
        match check(&spec) {
            Ok(()) => optional.push(spec),
            Err(reason) => missing.push(reason),
        }
    }
    let ended = EndedPlan::new(btf, ended);
    Ok(LifecyclePlan { required: LIFECYCLE_REQUIRED.to_vec(), optional, missing, ended })
}

fn lifecycle_fields(layout: &Layout, program: &str) -> Vec<(&'static str, u32)> {
    let mut needed = vec![
        ("cgroup.root", layout.cgroup_root),
        ("cgroup_root.hierarchy_id", layout.root_hierarchy_id),
        ("cgroup.kn", layout.cgroup_kn),
        ("kernfs_node.id", layout.kn_id),
    ];
    let tgid = ("task_struct.tgid", layout.task_tgid);
    match program {
        "cgroup_mkdir" => needed.extend([
            ("cgroup.self.parent", layout.cgroup_parent_css),
            ("cgroup_subsys_state.cgroup", layout.css_cgroup),
        ]),
        "cgroup_attach_task" => needed.push(tgid),
        "sched_process_exec" => needed.extend([
            tgid,
            ("task_struct.nsproxy", layout.task_nsproxy),
            ("nsproxy.net_ns", layout.nsproxy_net),
            ("net.ns.inum", layout.net_inum),
        ]),
        "mark_victim" => needed.extend([
            tgid,
            ("task_struct.comm", layout.task_comm),
            ("task_struct.cgroups", layout.task_cgroups),
            ("css_set.dfl_cgrp", layout.css_set_dfl_cgroup),
        ]),
        _ => {}
    }
    needed
}

fn tasks(ids: Option<SocketIds>, btf: &BtfFacts) -> Result<TaskPlan, Reason> {
    let layout = &btf.layout;
    match ids {
        Some(SocketIds::Unified) => fields(&[
            ("task_struct.cgroups", layout.task_cgroups),
            ("css_set.dfl_cgrp", layout.css_set_dfl_cgroup),
            ("cgroup.kn", layout.cgroup_kn),
            ("kernfs_node.id", layout.kn_id),
        ])?,
        Some(SocketIds::Memory) => memory_ids(btf)?,
        None => return Err(Reason::NoMemoryHierarchy),
    }
    btf.walk.iterates_tasks()?;
    TASK_FREED.check(btf.arguments(TASK_FREED.tracepoint))?;
    fields(&[
        ("bpf_iter_meta.seq_num", layout.iter_number),
        ("task_struct.pid", layout.task_pid),
        ("task_struct.tgid", layout.task_tgid),
        ("task_struct.__state", layout.task_state),
        ("task_struct.exit_state", layout.task_exit_state),
        ("task_struct.on_cpu", layout.task_on_cpu),
        ("task_struct.signal", layout.task_signal),
        ("signal_struct.live", layout.signal_live),
        ("task_struct.se.sum_exec_runtime", layout.task_run_time),
        ("task_struct.sched_info.run_delay", layout.task_run_delay),
        ("task_struct.sched_info.pcount", layout.task_run_count),
        ("task_struct.sched_info.last_arrival", layout.task_last_run),
    ])?;
    Ok(TaskPlan { freed: TASK_FREED, open_files: open_files(btf) })
}

fn open_files(btf: &BtfFacts) -> Result<(), Reason> {
    btf.walk.iterates_files()?;
    fields(&[
        ("bpf_iter_meta.seq", btf.layout.iter_output),
        ("file.f_inode", btf.layout.file_inode),
        ("inode.i_mode", btf.layout.inode_mode),
    ])
}

fn all_of(btf: &BtfFacts, programs: &[TracepointSpec]) -> Programs {
    programs.iter().try_for_each(|spec| spec.check(btf.arguments(spec.tracepoint)))?;
    Ok(programs.to_vec())
}

/// Of each list the program that fits the tracepoint; where none does, the first one says why.
fn one_of_each(btf: &BtfFacts, lists: &[&[TracepointSpec]]) -> Programs {
    let fitting = |variants: &&[TracepointSpec]| {
        let check = |spec: &TracepointSpec| spec.check(btf.arguments(spec.tracepoint));
        let mut found = variants.iter().map(|spec| check(spec).map(|()| *spec));
        let first = found.next()?;
        Some(if first.is_ok() { first } else { found.find(Result::is_ok).unwrap_or(first) })
    };
    lists.iter().filter_map(fitting).collect()
}

/// Whether the kernel has all of these.
pub(super) fn fields(needed: &[(&'static str, u32)]) -> Result<(), Reason> {
    match needed.iter().find(|(_, offset)| *offset == ABSENT) {
        Some((field, _)) => Err(Reason::MissingField { field }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
