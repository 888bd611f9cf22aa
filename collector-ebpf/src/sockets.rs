//! What each cgroup's programs send and receive, counted where the call returns.
//!
//! `trace_sock_send_length` and `trace_sock_recv_length` (`net/socket.c`, upstream 6.3) fire in
//! the caller's context, so the current cgroup is the one that uses the socket, whoever made it.

use aya_ebpf::{
    helpers::bpf_get_current_cgroup_id, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use tare_ebpf::{Key, NetCell, Traffic};

use crate::{
    slots::{add, net_cell},
    typed::{Typed, layout},
};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const IPPROTO_TCP: u16 = 6;
const IPPROTO_UDP: u16 = 17;
const IPPROTO_UDPLITE: u16 = 136;
const IPPROTO_MPTCP: u16 = 262;
const MSG_PEEK: i32 = 2;

#[btf_tracepoint(function = "sock_send_length")]
fn sock_send_length(context: BtfTracePointContext) -> i32 {
    let (socket, result) = (Typed::new(context.arg(0)), context.arg::<i32>(1));
    if let Some(traffic) = traffic(socket, result) {
        // SAFETY: `traffic` points into a cell that the map gave.
        unsafe {
            add(&raw mut (*traffic).tx_bytes, result as u64);
            add(&raw mut (*traffic).tx_calls, 1);
        }
    }
    0
}

#[btf_tracepoint(function = "sock_recv_length")]
fn sock_recv_length(context: BtfTracePointContext) -> i32 {
    let (socket, result) = (Typed::new(context.arg(0)), context.arg::<i32>(1));
    // What is peeked at stays in the queue and is counted when it is taken.
    if context.arg::<i32>(2) & MSG_PEEK != 0 {
        return 0;
    }
    if let Some(traffic) = traffic(socket, result) {
        // SAFETY: as above.
        unsafe {
            add(&raw mut (*traffic).rx_bytes, result as u64);
            add(&raw mut (*traffic).rx_calls, 1);
        }
    }
    0
}

/// Where to count a call on this socket; nothing for a failed call or a socket that is not IP.
#[inline(always)]
fn traffic(socket: Typed, result: i32) -> Option<*mut Traffic> {
    if result < 0 {
        return None;
    }
    let family: u16 = socket.load(layout!(sock_family));
    if family != AF_INET && family != AF_INET6 {
        return None;
    }
    // SAFETY: takes no argument.
    let cell: *mut NetCell = net_cell(&Key::cgroup(unsafe { bpf_get_current_cgroup_id() }))?;
    let protocol: u16 = socket.load(layout!(sock_protocol));
    // SAFETY: only the address is taken.
    Some(unsafe {
        match protocol {
            IPPROTO_TCP | IPPROTO_MPTCP => &raw mut (*cell).tcp,
            IPPROTO_UDP | IPPROTO_UDPLITE => &raw mut (*cell).udp,
            _ => &raw mut (*cell).other,
        }
    })
}
