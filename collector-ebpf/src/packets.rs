//! IP packets of each cgroup's sockets (`cgroup_skb`, Linux 4.10), for kernels without the
//! tracepoints of `sockets.rs`.
//!
//! These programs are in the data path: they count, and let every packet pass.

use aya_ebpf::{
    helpers::generated::bpf_skb_cgroup_id, macros::cgroup_skb, programs::SkBuffContext,
};
use tare_ebpf::Packets;

use crate::slots::{add, net_cell_of_id};

const PASS: i32 = 1;

/// `lo` has this index in every network namespace (`drivers/net/loopback.c`).
const LOOPBACK_IFINDEX: u32 = 1;

#[cgroup_skb]
fn ingress(context: SkBuffContext) -> i32 {
    if let Some(packets) = packets(&context) {
        // SAFETY: `packets` points into a cell that the map gave.
        unsafe {
            add(&raw mut (*packets).rx_bytes, u64::from(context.len()));
            add(&raw mut (*packets).rx_packets, 1);
        }
    }
    PASS
}

#[cgroup_skb]
fn egress(context: SkBuffContext) -> i32 {
    if let Some(packets) = packets(&context) {
        // SAFETY: as above.
        unsafe {
            add(&raw mut (*packets).tx_bytes, u64::from(context.len()));
            add(&raw mut (*packets).tx_packets, 1);
        }
    }
    PASS
}

#[inline(always)]
fn packets(context: &SkBuffContext) -> Option<*mut Packets> {
    let skb = context.skb.skb;
    // SAFETY: the verifier knows the context's type.
    let (id, ifindex) = unsafe { (bpf_skb_cgroup_id(skb), (*skb).ifindex) };
    let cell = net_cell_of_id(id)?;
    // SAFETY: only the address is taken.
    Some(unsafe {
        if ifindex == LOOPBACK_IFINDEX { &raw mut (*cell).loopback } else { &raw mut (*cell).wire }
    })
}
