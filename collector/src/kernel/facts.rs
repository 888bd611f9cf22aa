//! What the running kernel offers, asked of the kernel itself and never of its version.

use std::{collections::BTreeMap, fs, path::Path};

use tare_ebpf::{ABSENT, Layout};

use crate::kernel::{
    btf::{Btf, Field},
    load,
};

/// Everything that the plan is made from.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Whether the binary carries the kernel side.
    pub object: bool,
    /// What BTF tells, or why there is none.
    pub btf: Result<BtfFacts, String>,
    /// Where containers can be told apart by the ids of their cgroups, if anywhere.
    pub ids: Option<SocketIds>,
}

impl Facts {
    /// Looks at the running kernel, through the `/sys` at `sys_root`.
    pub fn read(sys_root: &Path, ids: Option<SocketIds>) -> Self {
        Self { object: load::has_object(), btf: read_btf_facts(sys_root), ids }
    }
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

/// What BTF tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BtfFacts {
    /// Offsets; [`ABSENT`] where the kernel has no such field of the expected size.
    pub layout: Layout,
    /// Arguments of `sock_send_length`.
    pub sock_send_length: Option<usize>,
    /// Arguments of `sock_recv_length`.
    pub sock_recv_length: Option<usize>,
    /// Arguments of `tcp_retransmit_skb`.
    pub tcp_retransmit_skb: Option<usize>,
    /// Arguments of `inet_sock_set_state`.
    pub inet_sock_set_state: Option<usize>,
    /// Arguments of `block_rq_complete`.
    pub block_rq_complete: Option<usize>,
    /// Arguments of the other tracepoints of the block layer.
    pub block: BlockTracepoints,
    /// Arguments of the tracepoint of each program that tells of lives, in the order of `LIFECYCLE`.
    pub lifecycle: [Option<usize>; LIFECYCLE.len()],
}

impl BtfFacts {
    /// Every tracepoint that Tare knows a use for, with its arguments; `None` if this kernel lacks
    /// it.
    pub fn tracepoints(&self) -> BTreeMap<&'static str, Option<usize>> {
        let block = &self.block;
        let others = [
            ("sock_send_length", self.sock_send_length),
            ("sock_recv_length", self.sock_recv_length),
            ("tcp_retransmit_skb", self.tcp_retransmit_skb),
            ("inet_sock_set_state", self.inet_sock_set_state),
            ("block_rq_complete", self.block_rq_complete),
            ("block_rq_issue", block.rq_issue),
            ("block_rq_requeue", block.rq_requeue),
            ("block_rq_merge", block.rq_merge),
            ("block_bio_backmerge", block.bio_backmerge),
            ("block_bio_frontmerge", block.bio_frontmerge),
            ("block_bio_queue", block.bio_queue),
            ("block_bio_complete", block.bio_complete),
        ];
        let lives = LIFECYCLE.iter().map(|teller| teller.tracepoint).zip(self.lifecycle);
        lives.chain(others).collect()
    }
}

/// How many arguments each tracepoint has, `None` if this kernel lacks it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct BlockTracepoints {
    pub rq_issue: Option<usize>,
    pub rq_requeue: Option<usize>,
    pub rq_merge: Option<usize>,
    pub bio_backmerge: Option<usize>,
    pub bio_frontmerge: Option<usize>,
    pub bio_queue: Option<usize>,
    pub bio_complete: Option<usize>,
}

/// A program that tells of lives, its tracepoint, and the arguments that are known.
pub struct Teller {
    /// Name of the program in the object.
    pub program: &'static str,
    /// Name of the tracepoint.
    pub tracepoint: &'static str,
    /// How many arguments it has.
    pub arguments: usize,
    /// Whether there are no events at all without it.
    pub required: bool,
}

/// All that tell of lives.
pub const LIFECYCLE: [Teller; 7] = [
    teller("cgroup_mkdir", "cgroup_mkdir", 2, true),
    teller("cgroup_rmdir", "cgroup_rmdir", 2, true),
    teller("cgroup_notify_populated", "cgroup_notify_populated", 3, true),
    teller("cgroup_attach_task", "cgroup_attach_task", 4, false),
    teller("sched_process_exec", "sched_process_exec", 3, false),
    teller("first_listen", "inet_sock_set_state", 3, false),
    teller("mark_victim", "mark_victim", 2, false),
];

const fn teller(
    program: &'static str,
    tracepoint: &'static str,
    arguments: usize,
    required: bool,
) -> Teller {
    Teller { program, tracepoint, arguments, required }
}

/// Reads the kernel's BTF below `sys_root` and keeps what the plan needs.
pub fn read_btf_facts(sys_root: &Path) -> Result<BtfFacts, String> {
    let path = sys_root.join("kernel/btf/vmlinux");
    let data = fs::read(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!(
                "no kernel type information (BTF) at {}: needs CONFIG_DEBUG_INFO_BTF",
                path.display()
            )
        }
        _ => format!("{}: {error}", path.display()),
    })?;
    let btf = Btf::parse(data).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(BtfFacts {
        layout: layout(&btf),
        sock_send_length: btf.tracepoint_arguments("sock_send_length"),
        sock_recv_length: btf.tracepoint_arguments("sock_recv_length"),
        tcp_retransmit_skb: btf.tracepoint_arguments("tcp_retransmit_skb"),
        inet_sock_set_state: btf.tracepoint_arguments("inet_sock_set_state"),
        block_rq_complete: btf.tracepoint_arguments("block_rq_complete"),
        lifecycle: LIFECYCLE.map(|teller| btf.tracepoint_arguments(teller.tracepoint)),
        block: BlockTracepoints {
            rq_issue: btf.tracepoint_arguments("block_rq_issue"),
            rq_requeue: btf.tracepoint_arguments("block_rq_requeue"),
            rq_merge: btf.tracepoint_arguments("block_rq_merge"),
            bio_backmerge: btf.tracepoint_arguments("block_bio_backmerge"),
            bio_frontmerge: btf.tracepoint_arguments("block_bio_frontmerge"),
            bio_queue: btf.tracepoint_arguments("block_bio_queue"),
            bio_complete: btf.tracepoint_arguments("block_bio_complete"),
        },
    })
}

/// Where it is a macro, which BTF does not tell (`include/linux/blkdev.h` of Linux 5.10,
/// `blk-mq.h` of 6.1); an enumerator of `enum rqf_flags` in 6.12 and later.
const RQF_FLUSH_SEQ: u32 = 1 << 4;

fn layout(btf: &Btf) -> Layout {
    const POINTER: u32 = size_of::<u64>() as u32;
    let field = |name: &str, path: &[&str], size: u32| match btf.field(name, path) {
        Some(Field { offset, size: found }) if found == size => offset,
        _ => ABSENT,
    };
    Layout {
        sock_family: field("sock", &["__sk_common", "skc_family"], 2),
        sock_protocol: field("sock", &["sk_protocol"], 2),
        sock_state: field("sock", &["__sk_common", "skc_state"], 1),
        sock_cgroup: field("sock", &["sk_cgrp_data", "cgroup"], POINTER),
        skb_tcp_segments: skb_tcp_segments(btf).unwrap_or(ABSENT),
        retransmit_arguments: btf.tracepoint_arguments("tcp_retransmit_skb").unwrap_or(0) as u32,
        task_cgroups: field("task_struct", &["cgroups"], POINTER),
        css_set_memory: css_set_memory(btf).unwrap_or(ABSENT),
        css_cgroup: field("cgroup_subsys_state", &["cgroup"], POINTER),
        request_bio: field("request", &["bio"], POINTER),
        request_data_len: field("request", &["__data_len"], 4),
        request_cmd_flags: field("request", &["cmd_flags"], 4),
        request_start_time: field("request", &["start_time_ns"], 8),
        request_io_start_time: field("request", &["io_start_time_ns"], 8),
        request_disk: field("request", &["rq_disk"], POINTER),
        request_queue: field("request", &["q"], POINTER),
        queue_disk: field("request_queue", &["disk"], POINTER),
        disk_major: field("gendisk", &["major"], 4),
        disk_first_minor: field("gendisk", &["first_minor"], 4),
        request_flags: field("request", &["rq_flags"], 4),
        request_state: field("request", &["state"], 4),
        bio_opf: field("bio", &["bi_opf"], 4),
        bio_size: field("bio", &["bi_iter", "bi_size"], 4),
        bio_status: field("bio", &["bi_status"], 1),
        bio_disk: field("bio", &["bi_disk"], POINTER),
        bio_device: field("bio", &["bi_bdev"], POINTER),
        device_disk: field("block_device", &["bd_disk"], POINTER),
        disk_queue: field("gendisk", &["queue"], POINTER),
        queue_operations: field("request_queue", &["mq_ops"], POINTER),
        flag_flush_sequence: btf
            .enumerator(&["rqf_flags"], "__RQF_FLUSH_SEQ")
            .map_or(RQF_FLUSH_SEQ, |bit| 1 << (bit & 31)),
        flag_preflush: btf
            .enumerator(&["req_flag_bits"], "__REQ_PREFLUSH")
            .map_or(0, |bit| 1 << (bit & 31)),
        bio_blkg: field("bio", &["bi_blkg"], POINTER),
        blkg_blkcg: field("blkcg_gq", &["blkcg"], POINTER),
        blkcg_cgroup: field("blkcg", &["css", "cgroup"], POINTER),
        cgroup_kn: field("cgroup", &["kn"], POINTER),
        kn_id: field("kernfs_node", &["id"], 8),
        op_zone_append: btf
            .enumerator(&["req_op", "req_opf"], "REQ_OP_ZONE_APPEND")
            .unwrap_or(ABSENT),
        cgroup_root: field("cgroup", &["root"], POINTER),
        root_hierarchy_id: field("cgroup_root", &["hierarchy_id"], 4),
        cgroup_parent_css: field("cgroup", &["self", "parent"], POINTER),
        task_tgid: field("task_struct", &["tgid"], 4),
        task_comm: field("task_struct", &["comm"], 16),
        task_nsproxy: field("task_struct", &["nsproxy"], POINTER),
        css_set_dfl_cgroup: field("css_set", &["dfl_cgrp"], POINTER),
        nsproxy_net: field("nsproxy", &["net_ns"], POINTER),
        net_inum: field("net", &["ns", "inum"], 4),
        ..Layout::UNKNOWN
    }
}

/// TCP keeps a structure of its own in the packet's scratch space (`TCP_SKB_CB`,
/// `include/net/tcp.h`).
fn skb_tcp_segments(btf: &Btf) -> Option<u32> {
    let scratch = btf.field("sk_buff", &["cb"])?;
    let segments = btf.field("tcp_skb_cb", &["tcp_gso_segs"])?;
    let fits = segments.size == 2 && segments.offset.checked_add(segments.size)? <= scratch.size;
    fits.then(|| scratch.offset + segments.offset)
}

/// The place of the memory controller's pointer; which of the array it is differs between builds.
fn css_set_memory(btf: &Btf) -> Option<u32> {
    const POINTER: u32 = size_of::<u64>() as u32;
    let controllers = btf.field("css_set", &["subsys"])?;
    let at = btf.enumerator(&["cgroup_subsys_id"], "memory_cgrp_id")?.checked_mul(POINTER)?;
    (at.checked_add(POINTER)? <= controllers.size).then_some(controllers.offset.checked_add(at)?)
}
