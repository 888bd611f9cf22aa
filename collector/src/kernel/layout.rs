//! Where fields are, as BTF describes them.

use tare_ebpf::{ABSENT, Layout};

use crate::kernel::btf::{Btf, Field};

/// A macro, which BTF does not have, in Linux 5.10 (`include/linux/blkdev.h`) and 6.1
/// (`blk-mq.h`); an enumerator of `enum rqf_flags` in 6.12 and later.
const RQF_FLUSH_SEQ: u32 = 1 << 4;

/// The offsets of all fields that programs load; [`ABSENT`] where the kernel has no such field of
/// the expected size.
pub(super) fn layout(btf: &Btf) -> Layout {
    const POINTER: u32 = size_of::<u64>() as u32;
    let field = |name: &str, path: &[&str], size: u32| match btf.field(name, path) {
        Some(Field { offset, size: found }) if found == size => offset,
        _ => ABSENT,
    };
    let io_wait = btf.bit("task_struct", "in_iowait");
    Layout {
        sock_family: field("sock", &["__sk_common", "skc_family"], 2),
        sock_protocol: field("sock", &["sk_protocol"], 2),
        sock_state: field("sock", &["__sk_common", "skc_state"], 1),
        sock_cgroup: field("sock", &["sk_cgrp_data", "cgroup"], POINTER),
        skb_tcp_segments: skb_tcp_segments(btf).unwrap_or(ABSENT),
        retransmit_arguments: btf.tracepoint_arguments("tcp_retransmit_skb").unwrap_or(0) as u32,
        task_cgroups: field("task_struct", &["cgroups"], POINTER),
        css_set_memory: subsystem(btf, "css_set", "memory_cgrp_id").unwrap_or(ABSENT),
        css_serial: field("cgroup_subsys_state", &["serial_nr"], 8),
        cgroup_self: btf.field("cgroup", &["self"]).map_or(ABSENT, |css| css.offset),
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
        blkcg_css: btf.field("blkcg", &["css"]).map_or(ABSENT, |css| css.offset),
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
        cgroup_cpu: cpu_time(btf, "cgroup", "bstat").unwrap_or(ABSENT),
        cgroup_cpuacct: controller(btf, "cpuacct", "cpuacct_cgrp_id").unwrap_or(ABSENT),
        cpuacct_usage: field("cpuacct", &["cpuusage"], POINTER),
        cpuacct_usage_words: if btf.structure("cpuacct_usage").is_some() { 2 } else { 1 },
        cpuacct_times: cpuacct_times(btf).unwrap_or(ABSENT),
        cgroup_memory: controller(btf, "mem_cgroup", "memory_cgrp_id").unwrap_or(ABSENT),
        memory_usage: field("mem_cgroup", &["memory", "usage"], 8),
        memory_peak: field("mem_cgroup", &["memory", "watermark"], 8),
        cgroup_pids: controller(btf, "pids_cgroup", "pids_cgrp_id").unwrap_or(ABSENT),
        pids_tasks: field("pids_cgroup", &["counter"], 8),
        pids_peak: field("pids_cgroup", &["watermark"], 8),
        iter_number: field("bpf_iter_meta", &["seq_num"], 8),
        iter_output: field("bpf_iter_meta", &["seq"], POINTER),
        task_pid: field("task_struct", &["pid"], 4),
        task_state: [("__state", 4), ("state", 8)]
            .map(|(name, size)| field("task_struct", &[name], size))
            .into_iter()
            .find(|offset| *offset != ABSENT)
            .unwrap_or(ABSENT),
        task_exit_state: field("task_struct", &["exit_state"], 4),
        task_on_cpu: [4, 1]
            .map(|size| field("task_struct", &["on_cpu"], size))
            .into_iter()
            .find(|offset| *offset != ABSENT)
            .unwrap_or(ABSENT),
        task_io_wait: io_wait.map_or(ABSENT, |(byte, _)| byte),
        io_wait_mask: io_wait.map_or(0, |(_, mask)| mask),
        task_signal: field("task_struct", &["signal"], POINTER),
        signal_live: field("signal_struct", &["live", "counter"], 4),
        task_run_time: field("task_struct", &["se", "sum_exec_runtime"], 8),
        task_run_delay: field("task_struct", &["sched_info", "run_delay"], 8),
        task_run_count: field("task_struct", &["sched_info", "pcount"], 8),
        task_last_run: field("task_struct", &["sched_info", "last_arrival"], 8),
        file_inode: field("file", &["f_inode"], POINTER),
        inode_mode: field("inode", &["i_mode"], 2),
        unshared_cells: u32::from(runs_alone(btf)),
        ..per_cpu_time(btf).unwrap_or(Layout::UNKNOWN)
    }
}

/// Whether the kernel skips a program of a tracepoint while the same one runs on the same CPU
/// (`__bpf_trace_run`, `kernel/trace/bpf_trace.c`, Linux 6.1). The change that made it so made this
/// function one of the whole kernel's, under this name.
fn runs_alone(btf: &Btf) -> bool {
    btf.function("bpf_prog_inc_misses_counter").is_some()
}

/// Where a `task_cputime` with the fields that are known is in a count of CPU time.
fn cpu_time(btf: &Btf, name: &str, count: &str) -> Option<u32> {
    const FIELDS: [&str; 3] = ["stime", "utime", "sum_exec_runtime"];
    for (word, field) in (0..).zip(FIELDS) {
        let found = btf.field("task_cputime", &[field])?;
        if found != (Field { offset: word * 8, size: 8 }) {
            return None;
        }
    }
    let found = btf.field(name, &[count, "cputime"])?;
    (found.size == 24).then_some(found.offset)
}

/// What each CPU counts of a cgroup of cgroup2; apart from what controllers count since Linux 6.16.
fn per_cpu_time(btf: &Btf) -> Option<Layout> {
    let of = |pointer: &str, counts: &str| {
        Some(Layout {
            cgroup_per_cpu: btf.field("cgroup", &[pointer])?.offset,
            per_cpu_counted: cpu_time(btf, counts, "bstat")?,
            per_cpu_added: cpu_time(btf, counts, "last_bstat")?,
            ..Layout::UNKNOWN
        })
    };
    of("rstat_base_cpu", "cgroup_rstat_base_cpu").or_else(|| of("rstat_cpu", "cgroup_rstat_cpu"))
}

/// Where a cgroup points to a controller's struct, which must begin with the css.
fn controller(btf: &Btf, name: &str, id: &str) -> Option<u32> {
    let css = btf.field(name, &["css"])?;
    (css.offset == 0).then(|| subsystem(btf, "cgroup", id))?
}

/// `cpuacct.cpustat`, if the times of each CPU are in the order that is known.
fn cpuacct_times(btf: &Btf) -> Option<u32> {
    const TIMES: [&str; 5] =
        ["CPUTIME_USER", "CPUTIME_NICE", "CPUTIME_SYSTEM", "CPUTIME_SOFTIRQ", "CPUTIME_IRQ"];
    let is_known =
        (0..).zip(TIMES).all(|(at, name)| btf.enumerator(&["cpu_usage_stat"], name) == Some(at));
    let times = btf.field("kernel_cpustat", &["cpustat"])?;
    let fits = times.offset == 0 && times.size as usize >= size_of::<[u64; TIMES.len()]>();
    (is_known && fits).then(|| btf.field("cpuacct", &["cpustat"]).map(|field| field.offset))?
}

/// TCP keeps a structure of its own in the packet's scratch space (`TCP_SKB_CB`,
/// `include/net/tcp.h`).
fn skb_tcp_segments(btf: &Btf) -> Option<u32> {
    let scratch = btf.field("sk_buff", &["cb"])?;
    let segments = btf.field("tcp_skb_cb", &["tcp_gso_segs"])?;
    let fits = segments.size == 2 && segments.offset.checked_add(segments.size)? <= scratch.size;
    fits.then(|| scratch.offset + segments.offset)
}

/// The place of a controller's pointer in the array of a struct; which of the array it is differs
/// between builds.
fn subsystem(btf: &Btf, name: &str, id: &str) -> Option<u32> {
    const POINTER: u32 = size_of::<u64>() as u32;
    let controllers = btf.field(name, &["subsys"])?;
    let at = btf.enumerator(&["cgroup_subsys_id"], id)?.checked_mul(POINTER)?;
    (at.checked_add(POINTER)? <= controllers.size).then_some(controllers.offset.checked_add(at)?)
}
