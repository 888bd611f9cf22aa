//! What the programs are told of the running kernel.

use crate::event;

/// High half of every 64-bit immediate that stands for a field of [`Layout`]; the low half is its
/// index.
pub const LAYOUT_MARK: u32 = 0x5441_524c;

/// Offsets and numbers that user space takes from the running kernel's BTF before it loads the
/// programs.
///
/// It puts them into the instructions. So the verifier sees constants: it removes the branches that
/// they exclude and checks each offset against the type that it belongs to. A wrong offset is
/// refused and never read.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// `sock.__sk_common.skc_family`.
    pub sock_family: u32,
    /// `sock.sk_protocol`.
    pub sock_protocol: u32,
    /// `sock.__sk_common.skc_state`.
    pub sock_state: u32,
    /// `sock.sk_cgrp_data.cgroup`: the socket's cgroup in cgroup2, also if v1 hierarchies are
    /// mounted.
    pub sock_cgroup: u32,
    /// `tcp_skb_cb.tcp_gso_segs` in `sk_buff.cb`: the number of segments that a packet will be cut
    /// into.
    pub skb_tcp_segments: u32,
    /// Number of arguments of `tcp_retransmit_skb`. With a third one it also fires for segments
    /// that could not be sent.
    pub retransmit_arguments: u32,
    /// `task_struct.cgroups`.
    pub task_cgroups: u32,
    /// `css_set.subsys[memory_cgrp_id]`; [`ABSENT`] if sockets are counted by cgroup2.
    pub css_set_memory: u32,
    /// `cgroup_subsys_state.serial_nr`.
    pub css_serial: u32,
    /// `cgroup.self`: the css of the cgroup itself.
    pub cgroup_self: u32,
    /// `cgroup_subsys_state.cgroup`.
    pub css_cgroup: u32,
    /// `request.bio`.
    pub request_bio: u32,
    /// `request.__data_len`.
    pub request_data_len: u32,
    /// `request.cmd_flags`.
    pub request_cmd_flags: u32,
    /// `request.start_time_ns`.
    pub request_start_time: u32,
    /// `request.io_start_time_ns`.
    pub request_io_start_time: u32,
    /// `request.rq_disk` (Linux 5.10); [`ABSENT`] where the queue has the disk
    /// (`request_queue.disk`, Linux 6.1).
    pub request_disk: u32,
    /// `request.q`.
    pub request_queue: u32,
    /// `request_queue.disk`, or [`ABSENT`].
    pub queue_disk: u32,
    /// `gendisk.major`.
    pub disk_major: u32,
    /// `gendisk.first_minor`.
    pub disk_first_minor: u32,
    /// `request.rq_flags`.
    pub request_flags: u32,
    /// `request.state`.
    pub request_state: u32,
    /// `bio.bi_opf`.
    pub bio_opf: u32,
    /// `bio.bi_iter.bi_size`.
    pub bio_size: u32,
    /// `bio.bi_status`.
    pub bio_status: u32,
    /// `bio.bi_disk` (Linux 5.10); [`ABSENT`] where the device has the disk
    /// (`block_device.bd_disk`, Linux 6.1).
    pub bio_disk: u32,
    /// `bio.bi_bdev`, or [`ABSENT`].
    pub bio_device: u32,
    /// `block_device.bd_disk`.
    pub device_disk: u32,
    /// `gendisk.queue`.
    pub disk_queue: u32,
    /// `request_queue.mq_ops`.
    pub queue_operations: u32,
    /// Value of `RQF_FLUSH_SEQ` in `request.rq_flags`.
    pub flag_flush_sequence: u32,
    /// Value of `REQ_PREFLUSH` in `bio.bi_opf`.
    pub flag_preflush: u32,
    /// `bio.bi_blkg`.
    pub bio_blkg: u32,
    /// `blkcg_gq.blkcg`.
    pub blkg_blkcg: u32,
    /// `blkcg.css`.
    pub blkcg_css: u32,
    /// `cgroup.kn`.
    pub cgroup_kn: u32,
    /// `kernfs_node.id`.
    pub kn_id: u32,
    /// Value of `REQ_OP_ZONE_APPEND`: 21 in Linux 5.10, 7 in 6.1 (`include/linux/blk_types.h`).
    pub op_zone_append: u32,
    /// `cgroup.root`.
    pub cgroup_root: u32,
    /// `cgroup_root.hierarchy_id`.
    pub root_hierarchy_id: u32,
    /// `cgroup.self.parent`.
    pub cgroup_parent_css: u32,
    /// `task_struct.tgid`.
    pub task_tgid: u32,
    /// `task_struct.comm`.
    pub task_comm: u32,
    /// `task_struct.nsproxy`.
    pub task_nsproxy: u32,
    /// `css_set.dfl_cgrp`.
    pub css_set_dfl_cgroup: u32,
    /// `nsproxy.net_ns`.
    pub nsproxy_net: u32,
    /// `net.ns.inum`.
    pub net_inum: u32,
    /// `hierarchy_id` of the hierarchy whose ids count sockets, or
    /// [`event::NO_HIERARCHY`].
    pub watched_net: u32,
    /// The same for block requests.
    pub watched_block: u32,
    /// Cells of one slot, a power of two. More CPUs than that share cells.
    pub shards: u32,
    /// 1 if no two runs of a program add to a cell at the same time: each CPU has its own, and the
    /// kernel does not run a program that is running on the CPU already.
    pub unshared_cells: u32,
    /// The same for the cells of latencies.
    pub unshared_latencies: u32,
    /// `cgroup.bstat.cputime`.
    pub cgroup_cpu: u32,
    /// `cgroup.rstat_cpu`; where controllers have their own, `cgroup.rstat_base_cpu`.
    pub cgroup_per_cpu: u32,
    /// `cgroup_rstat_cpu.bstat.cputime`.
    pub per_cpu_counted: u32,
    /// `cgroup_rstat_cpu.last_bstat.cputime`.
    pub per_cpu_added: u32,
    /// `cgroup.subsys[cpuacct_cgrp_id]`.
    pub cgroup_cpuacct: u32,
    /// `cpuacct.cpuusage`.
    pub cpuacct_usage: u32,
    /// `cpuacct.cpustat`.
    pub cpuacct_times: u32,
    /// `cgroup.subsys[memory_cgrp_id]`.
    pub cgroup_memory: u32,
    /// `mem_cgroup.memory.usage`.
    pub memory_usage: u32,
    /// `mem_cgroup.memory.watermark`.
    pub memory_peak: u32,
    /// `cgroup.subsys[pids_cgrp_id]`.
    pub cgroup_pids: u32,
    /// `pids_cgroup.counter`.
    pub pids_tasks: u32,
    /// `pids_cgroup.watermark`.
    pub pids_peak: u32,
    /// Words of `cpuacct.cpuusage` on each CPU: 2 if user mode and kernel are apart, else 1.
    pub cpuacct_usage_words: u32,
    /// `hierarchy_id` of the hierarchy whose removed cgroups report their CPU time, or
    /// [`event::NO_HIERARCHY`].
    pub ended_cpu: u32,
    /// The same for memory.
    pub ended_memory: u32,
    /// The same for tasks.
    pub ended_pids: u32,
    /// One more than the highest number of a CPU.
    pub cpus: u32,
    /// Number of a table's hints, which is a power of two, less one.
    pub hints_mask: u32,
    /// `bpf_iter_meta.seq_num`.
    pub iter_number: u32,
    /// `bpf_iter_meta.seq`.
    pub iter_output: u32,
    /// `task_struct.pid`.
    pub task_pid: u32,
    /// `task_struct.__state`; before Linux 5.14 `state`, a longer word, of which the lower half is
    /// used.
    pub task_state: u32,
    /// `task_struct.exit_state`.
    pub task_exit_state: u32,
    /// `task_struct.on_cpu`: an `int`, and a byte on Linux 7.2; 0 or 1, so its first byte is
    /// enough.
    pub task_on_cpu: u32,
    /// Byte of the bit `task_struct.in_iowait`, and its mask there.
    pub task_io_wait: u32,
    /// See `task_io_wait`.
    pub io_wait_mask: u32,
    /// `task_struct.signal`.
    pub task_signal: u32,
    /// `signal_struct.live`.
    pub signal_live: u32,
    /// `task_struct.se.sum_exec_runtime`.
    pub task_run_time: u32,
    /// `task_struct.sched_info.run_delay`.
    pub task_run_delay: u32,
    /// `task_struct.sched_info.pcount`.
    pub task_run_count: u32,
    /// `task_struct.sched_info.last_arrival`.
    pub task_last_run: u32,
    /// `file.f_inode`.
    pub file_inode: u32,
    /// `inode.i_mode`.
    pub inode_mode: u32,
}

/// A field that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

impl Layout {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        sock_family: ABSENT,
        sock_protocol: ABSENT,
        sock_state: ABSENT,
        sock_cgroup: ABSENT,
        skb_tcp_segments: ABSENT,
        retransmit_arguments: 0,
        task_cgroups: ABSENT,
        css_set_memory: ABSENT,
        css_serial: ABSENT,
        cgroup_self: ABSENT,
        css_cgroup: ABSENT,
        request_bio: ABSENT,
        request_data_len: ABSENT,
        request_cmd_flags: ABSENT,
        request_start_time: ABSENT,
        request_io_start_time: ABSENT,
        request_disk: ABSENT,
        request_queue: ABSENT,
        queue_disk: ABSENT,
        disk_major: ABSENT,
        disk_first_minor: ABSENT,
        request_flags: ABSENT,
        request_state: ABSENT,
        bio_opf: ABSENT,
        bio_size: ABSENT,
        bio_status: ABSENT,
        bio_disk: ABSENT,
        bio_device: ABSENT,
        device_disk: ABSENT,
        disk_queue: ABSENT,
        queue_operations: ABSENT,
        flag_flush_sequence: 0,
        flag_preflush: 0,
        bio_blkg: ABSENT,
        blkg_blkcg: ABSENT,
        blkcg_css: ABSENT,
        cgroup_kn: ABSENT,
        kn_id: ABSENT,
        op_zone_append: ABSENT,
        cgroup_root: ABSENT,
        root_hierarchy_id: ABSENT,
        cgroup_parent_css: ABSENT,
        task_tgid: ABSENT,
        task_comm: ABSENT,
        task_nsproxy: ABSENT,
        css_set_dfl_cgroup: ABSENT,
        nsproxy_net: ABSENT,
        net_inum: ABSENT,
        watched_net: event::NO_HIERARCHY,
        watched_block: event::NO_HIERARCHY,
        shards: 1,
        unshared_cells: 0,
        unshared_latencies: 0,
        cgroup_cpu: ABSENT,
        cgroup_per_cpu: ABSENT,
        per_cpu_counted: ABSENT,
        per_cpu_added: ABSENT,
        cgroup_cpuacct: ABSENT,
        cpuacct_usage: ABSENT,
        cpuacct_times: ABSENT,
        cgroup_memory: ABSENT,
        memory_usage: ABSENT,
        memory_peak: ABSENT,
        cgroup_pids: ABSENT,
        pids_tasks: ABSENT,
        pids_peak: ABSENT,
        cpuacct_usage_words: 1,
        ended_cpu: event::NO_HIERARCHY,
        ended_memory: event::NO_HIERARCHY,
        ended_pids: event::NO_HIERARCHY,
        cpus: 1,
        hints_mask: 0,
        iter_number: ABSENT,
        iter_output: ABSENT,
        task_pid: ABSENT,
        task_state: ABSENT,
        task_exit_state: ABSENT,
        task_on_cpu: ABSENT,
        task_io_wait: ABSENT,
        io_wait_mask: 0,
        task_signal: ABSENT,
        signal_live: ABSENT,
        task_run_time: ABSENT,
        task_run_delay: ABSENT,
        task_run_count: ABSENT,
        task_last_run: ABSENT,
        file_inode: ABSENT,
        inode_mode: ABSENT,
    };

    /// The fields in their order, each at the index that marks in the programs have.
    pub const fn words(&self) -> &[u32] {
        // SAFETY: `repr(C)`, only `u32` fields, hence no padding; the slice borrows `self`.
        unsafe {
            core::slice::from_raw_parts(
                core::ptr::from_ref(self).cast::<u32>(),
                size_of::<Self>() / size_of::<u32>(),
            )
        }
    }
}
