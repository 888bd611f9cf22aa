//! The layout that the kernel side and user space share: keys, counter cells, field offsets.
//!
//! Every type here is plain data: integers without padding, so that both sides can use the same
//! memory.

#![cfg_attr(target_arch = "bpf", no_std)]

#[cfg(not(target_arch = "bpf"))]
use serde::{Deserialize, Serialize};

pub mod event;
mod layout;
mod task_cells;
pub mod walk_record;

pub use self::{
    layout::{ABSENT, LAYOUT_MARK, Layout},
    task_cells::{
        BLOCKED_MAX, BlockedTask, FILES_PER_PART, FilePass, LiveTasks, OpenFiles, TaskPass,
        TaskTimes,
    },
};

/// The key of a slot: what its cell counts for. A free slot is all zeroes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Key {
    /// Inode of the cgroup's directory: `kn->id` (`include/linux/cgroup.h`, Linux 5.10), unique in
    /// its hierarchy. 0 is work that is charged to no cgroup.
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
    pub const WORDS: usize = size_of::<Self>() / size_of::<u64>();

    /// Index of this key's hint, to be masked to a power of two.
    #[inline(always)]
    pub const fn hint(&self) -> u32 {
        hint(self.cgroup_id, self.device)
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

/// Whose counters a cell has, as the programs that run most often know it: they compare it with
/// the cell that a hint names, and need no key.
///
/// All zeroes where no program has counted yet on this CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// `css->serial_nr` (`include/linux/cgroup-defs.h`, Linux 3.17), which the kernel never gives
    /// twice. The css of one controller in a table, or of cgroup2 itself.
    pub css: u64,
    /// As [`Key::device`].
    pub device: u64,
}

impl Owner {
    /// How many `u64` an owner takes.
    pub const WORDS: usize = size_of::<Self>() / size_of::<u64>();

    /// Index of this owner's hint, to be masked to a power of two.
    #[inline(always)]
    pub const fn hint(&self) -> u32 {
        hint(self.css, self.device as u32)
    }
}

/// A cell and its owner.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owned<C> {
    /// Whose counters these are.
    pub owner: Owner,
    /// The counters.
    pub cell: C,
}

/// Ids of cgroups that exist at the same time differ in their low bits first, because the kernel
/// numbers them upwards.
#[inline(always)]
const fn hint(id: u64, device: u32) -> u32 {
    id as u32 ^ device.wrapping_mul(0x9e37_79b1) >> MINOR_BITS
}

/// The slot that counts for all keys that find no free slot.
pub const OVERFLOW_SLOT: u32 = 0;

/// Bytes that processes received and sent at their sockets, and the number of calls
/// (`sock_recv_length`, `sock_send_length` of `net/socket.c`, Linux 6.3).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(Deserialize, Serialize), serde(default))]
#[allow(missing_docs)]
pub struct Traffic {
    pub rx_bytes: u64,
    pub rx_calls: u64,
    pub tx_bytes: u64,
    pub tx_calls: u64,
}

/// IP packets and their bytes, IP header included (`cgroup_skb`, Linux 4.10).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(Deserialize, Serialize), serde(default))]
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
#[cfg_attr(not(target_arch = "bpf"), derive(Deserialize, Serialize), serde(default))]
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
    /// Events of TCP connections.
    pub tcp_events: TcpEvents,
}

/// Events of the TCP connections of one cgroup's sockets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(Deserialize, Serialize), serde(default))]
pub struct TcpEvents {
    /// Segments sent again, SYNs included (`tcp_retransmit_skb`, `net/ipv4/tcp_output.c`).
    pub retransmits: u64,
    /// Established connections that were opened from here.
    pub opened: u64,
    /// Established connections that were opened from the other side.
    pub accepted: u64,
    /// Established connections that ended, in any way.
    pub closed: u64,
    /// Connections that were opened from here and never established.
    pub failed: u64,
}

/// Completed requests of one kind (`block_rq_complete`, `block/blk-mq.c`). On a device that makes
/// no requests of its bios, submitted bios (`block_bio_queue`, `block/blk-core.c`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(Deserialize, Serialize), serde(default))]
pub struct Requests {
    /// Bytes that completed.
    pub bytes: u64,
    /// Requests that completed.
    pub ops: u64,
    /// Time from the driver's start of the request (`request.io_start_time_ns`) to its completion.
    pub service_nanoseconds: u64,
    /// Time from the request's allocation (`request.start_time_ns`) to the driver's start.
    pub wait_nanoseconds: u64,
}

/// Counters of one cgroup on one block device.
///
/// With its [`Owner`] it takes three cache lines of 64 bytes. All that a read changes is in the
/// first.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(Deserialize, Serialize), serde(default))]
pub struct BlockCell {
    /// Reads.
    pub read: Requests,
    /// Requests handed to the driver.
    pub issued: u64,
    /// Those of them that completed.
    pub returned: u64,
    /// Writes, with zone appends and write zeroes, as `io.stat` counts them
    /// (`block/blk-cgroup.c`).
    pub write: Requests,
    /// Discards and secure erases.
    pub discard: Requests,
    /// Writes that asked for a flush of the device's cache first; most carry no data.
    pub flush_ops: u64,
    /// Operations that ended with an error. No other counter has them.
    pub errors: u64,
    /// Operations without the kernel's stamp of the driver's start: they have no service and wait
    /// time.
    pub untimed: u64,
    /// Operations without any stamp (`iostats` off, or bios): they have no latency either.
    pub unstamped: u64,
    /// Bios and requests that were merged into a waiting read.
    pub read_merges: u64,
    /// Bios and requests that were merged into a waiting write.
    pub write_merges: u64,
    /// Completed requests that no other counter has, such as those for zones or the driver's own.
    /// The kernel's statistics may have them.
    pub others: u64,
    /// Requests that the driver gave back to be tried again.
    pub requeued: u64,
}

impl BlockCell {
    /// Requests that the driver has.
    pub const fn in_flight(&self) -> u64 {
        self.issued.saturating_sub(self.given_back())
    }

    /// Requests that the driver gave back.
    pub const fn given_back(&self) -> u64 {
        self.returned.wrapping_add(self.requeued)
    }
}

/// A histogram of the time that operations took.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(Deserialize, Serialize), serde(default))]
pub struct Latencies {
    /// Number of operations by [`latency_bucket`].
    pub buckets: [u64; LATENCY_BUCKETS],
    /// Time of operations without the kernel's stamp of the driver's start. The time of all others
    /// is [`Requests::service_nanoseconds`] and [`Requests::wait_nanoseconds`].
    pub untimed_nanoseconds: u64,
    /// Unused. The verifier wants a bucket that is masked to a power of two to be within the cell.
    pub reserved: [u64; LATENCY_WORDS - LATENCY_BUCKETS - 1],
}

/// How many `u64` one histogram takes: a power of two.
pub const LATENCY_WORDS: usize = 32;

/// Latencies of one cgroup on one block device, under the slot of its [`BlockCell`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(Deserialize, Serialize), serde(default))]
pub struct LatencyCell {
    /// Reads.
    pub read: Latencies,
    /// Writes.
    pub write: Latencies,
}

/// Number of buckets of a latency histogram: bounds from 2⁻¹⁸ s, each twice the one before, to 16
/// s, and one bucket without a bound.
pub const LATENCY_BUCKETS: usize = 24;

/// The upper bound of the first bucket is 2 to the power of this, in seconds: 3.8 µs. So all bounds
/// are exact binary fractions.
pub const LATENCY_FIRST_EXPONENT: i32 = -18;

/// More CPUs than this share the latency cells of a slot, which are large.
pub const LATENCY_SHARDS_MAX: u32 = 4;

/// The bucket of a time. Bucket `i` has the times up to `2⁻¹⁸ s << i` that the bucket before does
/// not have; the last one has no bound.
///
/// It has few branches, because times vary and the processor would predict them wrong.
#[inline(always)]
pub const fn latency_bucket(nanoseconds: u64) -> usize {
    /// 2⁻¹⁸ s is this many nanoseconds, divided by 512.
    const FIRST: u64 = 1_953_125;
    /// Bits of the largest time, in nanoseconds, that is in one of the first two buckets.
    const BITS: u32 = 12;
    /// More than the last bound.
    const MAX: u64 = 1 << (BITS as usize + LATENCY_BUCKETS - 2);
    let nanoseconds = if nanoseconds < MAX { nanoseconds } else { MAX };
    // Each power of two of nanoseconds lies between two bounds, so two buckets are left.
    let lower = ((nanoseconds | ((1 << BITS) - 1)) >> (BITS - 1)) as u32;
    let lower = lower.ilog2();
    let is_above = ((FIRST << lower).wrapping_sub(nanoseconds << 9)) >> 63;
    lower as usize + is_above as usize
}

/// A cell of a counter table: every field is a `u64` that only grows.
///
/// # Safety
///
/// The type is `repr(C)`, consists of `u64` alone, and any bit pattern is a value of it.
pub unsafe trait Cell: Copy + Default {
    /// How many `u64` the cell holds.
    const WORDS: usize = size_of::<Self>() / size_of::<u64>();

    /// How many `u64` of its [`Owner`] are before it in the kernel's array.
    const OWNER_WORDS: usize = 0;

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
unsafe impl Cell for NetCell {
    const OWNER_WORDS: usize = Owner::WORDS;
}
// SAFETY: as above.
unsafe impl Cell for BlockCell {
    const OWNER_WORDS: usize = Owner::WORDS;
}
// SAFETY: as above.
unsafe impl Cell for LatencyCell {}

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
