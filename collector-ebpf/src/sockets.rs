//! What each cgroup's processes send and receive, counted when the call returns.
//!
//! `trace_sock_send_length` and `trace_sock_recv_length` (`net/socket.c`, Linux 6.3) fire in the
//! caller's context. So the current cgroup is the one that uses the socket, not the one that
//! created it.
//!
//! The number of bytes is what the call returned. A call that moved nothing counts as a call of 0
//! bytes. `recv` with `MSG_TRUNC` counts the whole datagram that it took from the queue, without it
//! the part that fitted. The tracepoints do not fire, and nothing is counted, for `splice` out of a
//! socket (`tcp_splice_read`), `TCP_ZEROCOPY_RECEIVE` and io_uring's zero-copy receive: level `l3`
//! counts those.

use aya_ebpf::{
    helpers::{bpf_get_current_cgroup_id, generated::bpf_get_current_task_btf},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use tare_ebpf::{ABSENT, NetCell, Traffic};

use crate::{
    slots::{Css, add_own, net_cell},
    typed::{Typed, layout},
};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const IPPROTO_TCP: u16 = 6;
const IPPROTO_UDP: u16 = 17;
const IPPROTO_UDPLITE: u16 = 136;
const IPPROTO_MPTCP: u16 = 262;
const MSG_PEEK: i32 = 2;
const MSG_ERRQUEUE: i32 = 0x2000;

#[btf_tracepoint(function = "sock_send_length")]
fn sock_send_length(context: BtfTracePointContext) -> i32 {
    let (socket, result) = (Typed::new(context.arg(0)), context.arg::<i32>(1));
    if let Some(traffic) = traffic(socket, result) {
        // SAFETY: `traffic` points into a cell that the map gave.
        unsafe {
            add_own(&raw mut (*traffic).tx_bytes, result as u64);
            add_own(&raw mut (*traffic).tx_calls, 1);
        }
    }
    0
}

#[btf_tracepoint(function = "sock_recv_length")]
fn sock_recv_length(context: BtfTracePointContext) -> i32 {
    let (socket, result) = (Typed::new(context.arg(0)), context.arg::<i32>(1));
    // Peeked data stays in the queue and is counted when it is taken. The error queue returns data
    // that was sent.
    if context.arg::<i32>(2) & (MSG_PEEK | MSG_ERRQUEUE) != 0 {
        return 0;
    }
    if let Some(traffic) = traffic(socket, result) {
        // SAFETY: as above.
        unsafe {
            add_own(&raw mut (*traffic).rx_bytes, result as u64);
            add_own(&raw mut (*traffic).rx_calls, 1);
        }
    }
    0
}

/// The counters for a call on this socket; `None` for a failed call or a socket that is not IP.
#[inline(always)]
fn traffic(socket: Typed, result: i32) -> Option<*mut Traffic> {
    if result < 0 {
        return None;
    }
    let family: u16 = socket.load(layout!(sock_family));
    if family != AF_INET && family != AF_INET6 {
        return None;
    }
    let cell: *mut NetCell = net_cell(calling_css())?;
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

/// Id of the caller's cgroup: in cgroup2, or in the memory controller's v1 hierarchy if containers
/// are not in cgroup2.
#[inline(always)]
pub(crate) fn caller() -> u64 {
    if layout!(css_set_memory) == ABSENT {
        // SAFETY: takes no argument.
        return unsafe { bpf_get_current_cgroup_id() };
    }
    calling_css().cgroup_id()
}

/// The css of that cgroup: its own in cgroup2, the memory controller's in the v1 hierarchy.
/// `bpf_get_current_task_btf` needs Linux 5.11.
#[inline(always)]
fn calling_css() -> Css {
    // SAFETY: takes no argument.
    let task = Typed::new(unsafe { bpf_get_current_task_btf() }.cast());
    let css_set = task.follow(layout!(task_cgroups));
    if layout!(css_set_memory) == ABSENT {
        return Css::new(css_set.follow(layout!(css_set_dfl_cgroup)), layout!(cgroup_self));
    }
    Css::new(css_set.follow(layout!(css_set_memory)), 0)
}
