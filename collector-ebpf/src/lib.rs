//! The layout that the kernel side and user space share: keys, counter cells, field offsets.
//!
//! Every type here is plain data made of integers without padding, so that both sides may look at
//! the same memory.

#![cfg_attr(target_arch = "bpf", no_std)]

pub mod event;

/// What one slot counts for. A slot that nobody uses is all zeroes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Key {
    /// Inode of the cgroup's directory: `kn->id` (`include/linux/cgroup.h`, Linux 5.10).
    /// 0 stands for work that no cgroup can be charged with.
    pub cgroup_id: u64,
    /// `major << 20 | minor` of the block device (`dev_t` of `include/linux/kdev_t.h`); 0 in the
    /// network table.
    pub device: u32,
    /// [`USED`], so that a key differs from an empty slot even if its other fields are 0.
    pub used: u32,
}

/// Value of [`Key::used`].
pub const USED: u32 = 1;

impl Key {
    /// How many `u64` a key takes.
    pub const WORDS: usize = core::mem::size_of::<Self>() / core::mem::size_of::<u64>();

    /// Where a hint at this key's slot is, below any power of two. Ids of cgroups that live at the
    /// same time differ in their low bits first: the kernel counts them up.
    #[inline(always)]
    pub const fn hint(&self) -> u32 {
        self.cgroup_id as u32 ^ self.device.wrapping_mul(0x9e37_79b1) >> MINOR_BITS
    }

    /// The key as it lies in memory.
    #[inline(always)]
    pub const fn to_words(self) -> [u64; Self::WORDS] {
        let [a, b, c, d] = self.device.to_ne_bytes();
        let [e, f, g, h] = self.used.to_ne_bytes();
        [self.cgroup_id, u64::from_ne_bytes([a, b, c, d, e, f, g, h])]
    }

    /// The inverse of [`Key::to_words`].
    pub const fn from_words([cgroup_id, rest]: [u64; Self::WORDS]) -> Self {
        let [a, b, c, d, e, f, g, h] = rest.to_ne_bytes();
        Self {
            cgroup_id,
            device: u32::from_ne_bytes([a, b, c, d]),
            used: u32::from_ne_bytes([e, f, g, h]),
        }
    }

    /// The key of a cgroup in the network table.
    #[inline(always)]
    pub const fn cgroup(cgroup_id: u64) -> Self {
        Self { cgroup_id, device: 0, used: USED }
    }

    /// The key of a cgroup's work on one block device.
    #[inline(always)]
    pub const fn device(cgroup_id: u64, major: u32, minor: u32) -> Self {
        Self { cgroup_id, device: major << MINOR_BITS | minor, used: USED }
    }

    /// `major` and `minor` of [`Key::device`].
    pub const fn major_minor(self) -> (u32, u32) {
        (self.device >> MINOR_BITS, self.device & ((1 << MINOR_BITS) - 1))
    }
}

const MINOR_BITS: u32 = 20;

/// Slot that takes what finds no slot of its own.
pub const OVERFLOW_SLOT: u32 = 0;

/// Bytes that programs handed to and got from sockets, and how many calls it took.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Traffic {
    pub rx_bytes: u64,
    pub rx_calls: u64,
    pub tx_bytes: u64,
    pub tx_calls: u64,
}

/// IP packets and their bytes, IP header included.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Packets {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
}

/// Counters of one cgroup's sockets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetCell {
    /// TCP and MPTCP.
    pub tcp: Traffic,
    /// UDP and UDP-Lite.
    pub udp: Traffic,
    /// Any other IP protocol: raw sockets, SCTP, ping.
    pub other: Traffic,
    /// Packets over every device but loopback.
    pub wire: Packets,
    /// Packets over loopback.
    pub loopback: Packets,
    /// What became of TCP connections.
    pub tcp_events: TcpEvents,
}

/// What became of the TCP connections of one cgroup's sockets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpEvents {
    /// Segments sent again, SYNs included.
    pub retransmits: u64,
    /// Connections established that were asked for here.
    pub opened: u64,
    /// Connections established that were asked for by the other side.
    pub accepted: u64,
    /// Established connections that ended, in whatever way.
    pub closed: u64,
    /// Connections asked for here that never came about.
    pub failed: u64,
}

/// Completed requests of one kind. Where a device takes bios as they are and makes no requests of
/// them, submitted bios.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Bytes that completed.
    pub bytes: u64,
    /// Requests that completed.
    pub ops: u64,
    /// Time from the driver's start of the request to its completion.
    pub service_nanoseconds: u64,
    /// Time from the request's allocation to the driver's start.
    pub wait_nanoseconds: u64,
}

/// Counters of one cgroup on one block device.
///
/// The cells of two CPUs may share a line of the cache, 56 bytes at most of the first one's: so
/// what hardly ever changes comes last.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockCell {
    /// Reads.
    pub read: Requests,
    /// Requests handed to the driver.
    pub issued: u64,
    /// Requests that the driver gave back, done or to be tried again.
    pub returned: u64,
    /// Writes, with zone appends and write zeroes, as `io.stat` counts them.
    pub write: Requests,
    /// Discards and secure erases.
    pub discard: Requests,
    /// Writes that asked for the device's cache to be flushed first; most carry no data.
    pub flush_ops: u64,
    /// Operations that ended with an error; they are in no other counter.
    pub errors: u64,
    /// Operations without the kernel's stamp of the driver's start: in neither service nor wait.
    pub untimed: u64,
    /// Operations without any stamp (`iostats` off, or bios): in no latency either.
    pub unstamped: u64,
    /// Bios and requests that were merged into a waiting read.
    pub read_merges: u64,
    /// Bios and requests that were merged into a waiting write.
    pub write_merges: u64,
    /// Requests that completed and are in no other counter, such as those for zones or the driver's
    /// own: the kernel's statistics may have them.
    pub others: u64,
}

/// How many operations took how long.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// Operations by time, see [`latency_bucket`].
    pub buckets: [u64; LATENCY_BUCKETS],
    /// Times of operations without the kernel's stamp of the driver's start; those of all others
    /// are [`Requests::service_nanoseconds`] and [`Requests::wait_nanoseconds`].
    pub untimed_nanoseconds: u64,
    /// Nothing; room that the verifier wants to see.
    pub reserved: [u64; LATENCY_WORDS - LATENCY_BUCKETS - 1],
}

/// How many `u64` one histogram takes: a power of two.
pub const LATENCY_WORDS: usize = 32;

/// Latencies of one cgroup on one block device, under the slot of its [`BlockCell`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencyCell {
    /// Reads.
    pub read: Latencies,
    /// Writes.
    pub write: Latencies,
}

/// Buckets of a latency histogram: 2⁻¹⁸ s, twice as much each, up to 16 s, and one for the rest.
pub const LATENCY_BUCKETS: usize = 24;

/// Upper bound of the first bucket is 2 to the power of this, in seconds: 3.8 µs. So all bounds are
/// exact binary fractions.
pub const LATENCY_FIRST_EXPONENT: i32 = -18;

/// More CPUs than this share the latency cells of a slot, which are large.
pub const LATENCY_SHARDS_MAX: u32 = 4;

/// The bucket of a time: bucket `i` holds what took at most `2⁻¹⁸ s << i`, and more than the one
/// before; the last one has no bound.
///
/// With as few branches as may be: times differ, and the processor guesses wrong.
#[inline(always)]
pub const fn latency_bucket(nanoseconds: u64) -> usize {
    /// 2⁻¹⁸ s is this many nanoseconds, divided by 512.
    const FIRST: u64 = 1_953_125;
    /// Bits of the largest time, in nanoseconds, that is surely in the first two buckets.
    const BITS: u32 = 12;
    /// More than the last bound.
    const MAX: u64 = 1 << (BITS as usize + LATENCY_BUCKETS - 2);
    let nanoseconds = if nanoseconds < MAX { nanoseconds } else { MAX };
    // A power of two of nanoseconds lies between two bounds: one of two buckets is left.
    let lower = ((nanoseconds | ((1 << BITS) - 1)) >> (BITS - 1)) as u32;
    let lower = lower.ilog2();
    let is_above = ((FIRST << lower).wrapping_sub(nanoseconds << 9)) >> 63;
    lower as usize + is_above as usize
}

/// A table of counters: cells of one type, every field a `u64` that only grows.
///
/// # Safety
///
/// The type is `repr(C)`, consists of `u64` alone, and any bit pattern is a value of it.
pub unsafe trait Cell: Copy + Default {
    /// How many `u64` the cell holds.
    const WORDS: usize = core::mem::size_of::<Self>() / core::mem::size_of::<u64>();

    /// The counters in memory order.
    fn words(&self) -> &[u64] {
        // SAFETY: the trait's contract.
        unsafe { core::slice::from_raw_parts(core::ptr::from_ref(self).cast::<u64>(), Self::WORDS) }
    }

    /// The counters in memory order.
    fn words_mut(&mut self) -> &mut [u64] {
        // SAFETY: the trait's contract.
        unsafe {
            core::slice::from_raw_parts_mut(core::ptr::from_mut(self).cast::<u64>(), Self::WORDS)
        }
    }

    /// Adds another cell's counters to this one's.
    fn add(&mut self, other: &Self) {
        for (sum, value) in self.words_mut().iter_mut().zip(other.words()) {
            *sum = sum.wrapping_add(*value);
        }
    }
}

// SAFETY: `repr(C)` structs of `u64` fields.
unsafe impl Cell for NetCell {}
// SAFETY: as above.
unsafe impl Cell for BlockCell {}
// SAFETY: as above.
unsafe impl Cell for LatencyCell {}

/// What user space learned from the running kernel's BTF before it loads the programs.
///
/// The verifier sees these as constants of a frozen map, prunes what they rule out, and checks
/// every offset against the type it belongs to: a wrong one is refused, never read.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// `sock.__sk_common.skc_family`.
    pub sock_family: u32,
    /// `sock.sk_protocol`.
    pub sock_protocol: u32,
    /// `sock.__sk_common.skc_state`.
    pub sock_state: u32,
    /// `sock.sk_cgrp_data.cgroup`: the socket's cgroup in cgroup2, whatever else is mounted.
    pub sock_cgroup: u32,
    /// `tcp_skb_cb.tcp_gso_segs` in `sk_buff.cb`: the segments that a packet will be cut into.
    pub skb_tcp_segments: u32,
    /// Arguments of `tcp_retransmit_skb`; with a third one, it tells failures too.
    pub retransmit_arguments: u32,
    /// `task_struct.cgroups`.
    pub task_cgroups: u32,
    /// `css_set.subsys[memory_cgrp_id]`; [`ABSENT`] where cgroup2 tells callers apart.
    pub css_set_memory: u32,
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
    /// `request.rq_disk`; [`ABSENT`] where the disk hangs on the queue (`request_queue.disk`).
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
    /// `bio.bi_disk`; [`ABSENT`] where the disk hangs on the device (`block_device.bd_disk`).
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
    /// `blkcg.css.cgroup`.
    pub blkcg_cgroup: u32,
    /// `cgroup.kn`.
    pub cgroup_kn: u32,
    /// `kernfs_node.id`.
    pub kn_id: u32,
    /// Value of `REQ_OP_ZONE_APPEND`, which has moved between kernels.
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
    /// `hierarchy_id` of the hierarchy by whose ids sockets are counted, or
    /// [`event::NO_HIERARCHY`].
    pub watched_net: u32,
    /// The same for block requests.
    pub watched_block: u32,
    /// Cells of one slot: a power of two; CPUs share a cell when there are more of them.
    pub shards: u32,
    /// Hints of a table, a power of two, less one.
    pub hints_mask: u32,
}

/// A field that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

impl Layout {
    /// Nothing known.
    pub const UNKNOWN: Self = Self {
        sock_family: ABSENT,
        sock_protocol: ABSENT,
        sock_state: ABSENT,
        sock_cgroup: ABSENT,
        skb_tcp_segments: ABSENT,
        retransmit_arguments: 0,
        task_cgroups: ABSENT,
        css_set_memory: ABSENT,
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
        blkcg_cgroup: ABSENT,
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
        hints_mask: 0,
    };

    /// The bytes that replace the program's global.
    pub const fn as_bytes(&self) -> &[u8] {
        // SAFETY: `repr(C)`, only `u32` fields, hence no padding; the slice borrows `self`.
        unsafe {
            core::slice::from_raw_parts(
                core::ptr::from_ref(self).cast::<u8>(),
                core::mem::size_of::<Self>(),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_upper_bound_and_nothing_above() {
        assert_eq!(latency_bucket(0), 0);
        for bucket in 0..LATENCY_BUCKETS - 1 {
            // The last whole nanosecond within the bound.
            let bound = (1_000_000_000_u64 << bucket) >> -LATENCY_FIRST_EXPONENT;
            assert_eq!((latency_bucket(bound), latency_bucket(bound + 1)), (bucket, bucket + 1));
        }
        assert_eq!(latency_bucket(u64::MAX), LATENCY_BUCKETS - 1);
    }
}
