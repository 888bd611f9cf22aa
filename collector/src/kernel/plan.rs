//! Facts → plan: what to load, in which order of preference, and why the rest is off.
//!
//! Pure, so that every kernel we have heard of can be a line in a test.

use tare_ebpf::{ABSENT, Layout};

use crate::kernel::facts::{BlockTracepoints, BtfFacts, Facts, LIFECYCLE, SocketIds};

/// What to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Offsets for the programs.
    pub layout: Layout,
    /// Ways to the socket view, best first; all that failed is told in the reasons.
    pub sockets: Vec<Sockets>,
    /// Why a better way to the socket view, or any, is closed.
    pub sockets_reason: Option<String>,
    /// Whether TCP segments that are sent again can be counted, or why not.
    pub retransmits: Result<(), String>,
    /// Whether TCP connections can be counted, or why not.
    pub connections: Result<(), String>,
    /// Whether block requests can be counted, or why not.
    pub block: Result<(), String>,
    /// What is counted of block requests besides; each costs its own fields only.
    pub flight: Programs,
    /// Merges.
    pub merges: Programs,
    /// Bios of devices without requests.
    pub bios: Programs,
    /// Programs that tell of lives, or why there are none.
    pub lifecycle: Result<Lifecycle, String>,
}

/// Programs that work together, or why they cannot.
pub type Programs = Result<Vec<Tracepoint>, String>;

/// A program, and the tracepoint that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracepoint {
    /// Its name in the object.
    pub program: &'static str,
    /// The tracepoint's name.
    pub name: &'static str,
}

/// Programs that tell of lives, each with its tracepoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// Without all of these there are no events at all.
    pub required: Vec<Tracepoint>,
    /// Each of these stands alone.
    pub optional: Vec<Tracepoint>,
    /// Why one of those is left out.
    pub reason: Option<String>,
}

/// A way to the socket view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// Bytes at the socket calls, by tracepoint.
    Payload,
    /// IP packets, by programs on the root of cgroup2.
    L3,
}

/// Decides, by a wish for the socket view or without one.
pub fn plan(facts: &Facts, wish: Option<Sockets>) -> Plan {
    if !facts.object {
        return Plan::nothing("built without the eBPF object; build with `cargo xtask build`");
    }
    let btf = match &facts.btf {
        Ok(btf) => btf,
        Err(reason) => return Plan::nothing(reason),
    };
    let mut layout = btf.layout;
    if facts.ids != Some(SocketIds::Memory) {
        layout.css_set_memory = ABSENT;
    }
    let (sockets, sockets_reason) = sockets(facts.ids, btf, wish);
    Plan {
        layout,
        sockets,
        sockets_reason,
        retransmits: socket_ids(facts.ids).and_then(|()| retransmits(btf)),
        connections: socket_ids(facts.ids).and_then(|()| connections(btf)),
        block: block(btf),
        lifecycle: lifecycle(btf),
        flight: block(btf).and_then(|()| flight(&btf.block)),
        merges: block(btf).and_then(|()| merges(btf)),
        bios: block(btf).and_then(|()| bios(btf)),
    }
}

impl Plan {
    /// Nothing to load, for one reason.
    pub fn nothing(reason: &str) -> Self {
        Self {
            layout: Layout::UNKNOWN,
            sockets: Vec::new(),
            sockets_reason: Some(reason.to_owned()),
            retransmits: Err(reason.to_owned()),
            connections: Err(reason.to_owned()),
            block: Err(reason.to_owned()),
            flight: Err(reason.to_owned()),
            merges: Err(reason.to_owned()),
            bios: Err(reason.to_owned()),
            lifecycle: Err(reason.to_owned()),
        }
    }

    /// Whether there is nothing to load.
    pub fn is_nothing(&self) -> bool {
        self.is_without_net() && self.block.is_err() && self.lifecycle.is_err()
    }

    /// Whether no program would use the network table.
    pub fn is_without_net(&self) -> bool {
        self.sockets.is_empty() && self.retransmits.is_err() && self.connections.is_err()
    }
}

/// What a socket's own cgroup can be had for.
const NO_SOCKET_IDS: &str =
    "sockets belong to cgroups of cgroup2 only, where no container is on this host";

/// Whether containers can be told apart by the cgroup of a socket.
fn socket_ids(ids: Option<SocketIds>) -> Result<(), String> {
    match ids {
        Some(SocketIds::Unified) => Ok(()),
        Some(SocketIds::Memory) | None => Err(format!("not separable: {NO_SOCKET_IDS}")),
    }
}

/// The ways to the socket view, the wished one first, and why the wished one, or any, is closed.
fn sockets(
    ids: Option<SocketIds>,
    btf: &BtfFacts,
    wish: Option<Sockets>,
) -> (Vec<Sockets>, Option<String>) {
    let payload = match ids {
        Some(SocketIds::Unified) => payload(btf),
        Some(SocketIds::Memory) => payload(btf).and_then(|()| memory_ids(btf)),
        None => Err("the memory controller, by which their callers could be told apart, has no v1 hierarchy".to_owned()),
    };
    let packets = socket_ids(ids).is_ok();
    match (payload, packets, wish) {
        (Ok(()), true, Some(Sockets::L3)) => (vec![Sockets::L3, Sockets::Payload], None),
        (Ok(()), true, _) => (vec![Sockets::Payload, Sockets::L3], None),
        (Ok(()), false, Some(Sockets::L3)) => {
            (vec![Sockets::Payload], Some(NO_SOCKET_IDS.to_owned()))
        }
        (Ok(()), false, _) => (vec![Sockets::Payload], None),
        (Err(_), true, Some(Sockets::L3)) => (vec![Sockets::L3], None),
        (Err(reason), true, _) => (vec![Sockets::L3], Some(reason)),
        (Err(reason), false, _) => {
            (Vec::new(), Some(format!("not separable: {NO_SOCKET_IDS}, and {reason}")))
        }
    }
}

fn memory_ids(btf: &BtfFacts) -> Result<(), String> {
    let layout = &btf.layout;
    fields(&[
        ("task_struct.cgroups", layout.task_cgroups),
        ("css_set.subsys[memory_cgrp_id]", layout.css_set_memory),
        ("cgroup_subsys_state.cgroup", layout.css_cgroup),
        ("cgroup.kn", layout.cgroup_kn),
        ("kernfs_node.id", layout.kn_id),
    ])
}

fn connections(btf: &BtfFacts) -> Result<(), String> {
    tracepoint("inet_sock_set_state", btf.inet_sock_set_state, 3)?;
    fields(&[("sock.sk_protocol", btf.layout.sock_protocol)])?;
    socket_cgroup(&btf.layout)
}

fn retransmits(btf: &BtfFacts) -> Result<(), String> {
    // The third argument came later, and what more may come is no matter.
    match btf.tcp_retransmit_skb {
        Some(count) if count >= 2 => {}
        found => tracepoint("tcp_retransmit_skb", found, 2)?,
    }
    let Layout { sock_state, skb_tcp_segments, .. } = btf.layout;
    fields(&[("sock.skc_state", sock_state), ("tcp_skb_cb.tcp_gso_segs", skb_tcp_segments)])?;
    socket_cgroup(&btf.layout)
}

fn socket_cgroup(layout: &Layout) -> Result<(), String> {
    fields(&[
        ("sock.sk_cgrp_data.cgroup", layout.sock_cgroup),
        ("cgroup.kn", layout.cgroup_kn),
        ("kernfs_node.id", layout.kn_id),
    ])
}

fn payload(btf: &BtfFacts) -> Result<(), String> {
    tracepoint("sock_send_length", btf.sock_send_length, 3)?;
    tracepoint("sock_recv_length", btf.sock_recv_length, 3)?;
    let Layout { sock_family, sock_protocol, .. } = btf.layout;
    fields(&[("sock.skc_family", sock_family), ("sock.sk_protocol", sock_protocol)])
}

fn block(btf: &BtfFacts) -> Result<(), String> {
    tracepoint("block_rq_complete", btf.block_rq_complete, 3)?;
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
        ("blkcg.css.cgroup", layout.blkcg_cgroup),
        ("cgroup.kn", layout.cgroup_kn),
        ("kernfs_node.id", layout.kn_id),
    ])
}

fn lifecycle(btf: &BtfFacts) -> Result<Lifecycle, String> {
    let mut plan = Lifecycle { required: Vec::new(), optional: Vec::new(), reason: None };
    for (teller, found) in LIFECYCLE.iter().zip(btf.lifecycle) {
        let known = tracepoint(teller.tracepoint, found, teller.arguments)
            .and_then(|()| fields(&lifecycle_fields(&btf.layout, teller.program)));
        let program = Tracepoint { program: teller.program, name: teller.tracepoint };
        match known {
            Ok(()) if teller.required => plan.required.push(program),
            Ok(()) => plan.optional.push(program),
            Err(reason) if teller.required => return Err(reason),
            Err(reason) => plan.reason = plan.reason.or(Some(reason)),
        }
    }
    Ok(plan)
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

fn flight(found: &BlockTracepoints) -> Programs {
    let issue = variant(
        "block_rq_issue",
        found.rq_issue,
        &[(1, "block_rq_issue"), (2, "block_rq_issue_2")],
    )?;
    let requeue = variant(
        "block_rq_requeue",
        found.rq_requeue,
        &[(1, "block_rq_requeue"), (2, "block_rq_requeue_2")],
    )?;
    Ok(vec![issue, requeue])
}

fn merges(btf: &BtfFacts) -> Programs {
    bio_disk(&btf.layout)?;
    let found = &btf.block;
    let back = variant(
        "block_bio_backmerge",
        found.bio_backmerge,
        &[(1, "block_bio_backmerge"), (3, "block_bio_backmerge_3")],
    )?;
    let front = variant(
        "block_bio_frontmerge",
        found.bio_frontmerge,
        &[(1, "block_bio_frontmerge"), (3, "block_bio_frontmerge_3")],
    )?;
    let request = variant(
        "block_rq_merge",
        found.rq_merge,
        &[(1, "block_rq_merge"), (2, "block_rq_merge_2")],
    )?;
    Ok(vec![back, front, request])
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
    let found = &btf.block;
    let queue = variant(
        "block_bio_queue",
        found.bio_queue,
        &[(1, "block_bio_queue"), (2, "block_bio_queue_2")],
    )?;
    let complete = variant("block_bio_complete", found.bio_complete, &[(2, "block_bio_complete")])?;
    Ok(vec![queue, complete])
}

fn bio_disk(layout: &Layout) -> Result<(), String> {
    if layout.bio_disk != ABSENT {
        return Ok(());
    }
    fields(&[("bio.bi_bdev", layout.bio_device), ("block_device.bd_disk", layout.device_disk)])
}

/// The program for a tracepoint by the number of its arguments, which says where in the list the
/// one is that counts; by version it cannot be told, because stable kernels changed it too.
fn variant(
    name: &'static str,
    found: Option<usize>,
    programs: &[(usize, &'static str)],
) -> Result<Tracepoint, String> {
    match programs.iter().find(|(arguments, _)| found == Some(*arguments)) {
        Some((_, program)) => Ok(Tracepoint { program, name }),
        None => Err(tracepoint(name, found, programs[0].0).err().unwrap_or_default()),
    }
}

fn tracepoint(name: &str, found: Option<usize>, expected: usize) -> Result<(), String> {
    match found {
        Some(count) if count == expected => Ok(()),
        Some(count) => Err(format!(
            "this kernel's tracepoint {name} has {count} arguments where {expected} are known"
        )),
        None => Err(format!("this kernel has no tracepoint {name}")),
    }
}

fn fields(wanted: &[(&str, u32)]) -> Result<(), String> {
    match wanted.iter().find(|(_, offset)| *offset == ABSENT) {
        Some((name, _)) => Err(format!("this kernel's BTF has no field {name} of the known size")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
