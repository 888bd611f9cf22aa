//! What the running kernel offers, asked of the kernel itself and never of its version.

use std::{fs, path::Path};

use tare_ebpf::{ABSENT, Layout};

use crate::kernel::btf::{Btf, Field};

/// Everything that the plan is made from.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Whether the binary carries the kernel side.
    pub object: bool,
    /// What BTF tells, or why there is none.
    pub btf: Result<BtfFacts, String>,
    /// Whether a cgroup2 hierarchy is mounted, so that ids of cgroups can be looked up.
    pub unified: bool,
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
    /// Arguments of `block_rq_complete`.
    pub block_rq_complete: Option<usize>,
    /// Arguments of each tracepoint of [`LIFECYCLE`], in its order.
    pub lifecycle: [Option<usize>; LIFECYCLE.len()],
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
            format!("no kernel type information (BTF) at {}", path.display())
        }
        _ => format!("{}: {error}", path.display()),
    })?;
    let btf = Btf::parse(data).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(BtfFacts {
        layout: layout(&btf),
        sock_send_length: btf.tracepoint_arguments("sock_send_length"),
        sock_recv_length: btf.tracepoint_arguments("sock_recv_length"),
        block_rq_complete: btf.tracepoint_arguments("block_rq_complete"),
        lifecycle: LIFECYCLE.map(|teller| btf.tracepoint_arguments(teller.tracepoint)),
    })
}

fn layout(btf: &Btf) -> Layout {
    const POINTER: u32 = size_of::<u64>() as u32;
    let field = |name: &str, path: &[&str], size: u32| match btf.field(name, path) {
        Some(Field { offset, size: found }) if found == size => offset,
        _ => ABSENT,
    };
    Layout {
        sock_family: field("sock", &["__sk_common", "skc_family"], 2),
        sock_protocol: field("sock", &["sk_protocol"], 2),
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
        css_cgroup: field("cgroup_subsys_state", &["cgroup"], POINTER),
        task_tgid: field("task_struct", &["tgid"], 4),
        task_comm: field("task_struct", &["comm"], 16),
        task_nsproxy: field("task_struct", &["nsproxy"], POINTER),
        task_css_set: field("task_struct", &["cgroups"], POINTER),
        css_set_dfl_cgroup: field("css_set", &["dfl_cgrp"], POINTER),
        nsproxy_net: field("nsproxy", &["net_ns"], POINTER),
        net_inum: field("net", &["ns", "inum"], 4),
        ..Layout::UNKNOWN
    }
}
