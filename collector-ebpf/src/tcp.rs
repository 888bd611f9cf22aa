//! Events of each cgroup's TCP connections.
//!
//! Both tracepoints fire in the context that handles the packet or the timer, not in the process.
//! So the cgroup is the socket's own: that of the process that created it, or of the listener that
//! accepted it (`cgroup_sk_alloc`, `cgroup_sk_clone`, `kernel/cgroup/cgroup.c`).

use core::mem::offset_of;

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tare_ebpf::TcpEvents;

use crate::{
    slots::{Css, add, net_cell},
    typed::{Typed, layout},
};

const IPPROTO_TCP: u16 = 6;

// `include/net/tcp_states.h`.
const ESTABLISHED: i32 = 1;
const SYN_SENT: i32 = 2;
const SYN_RECV: i32 = 3;
const TIME_WAIT: i32 = 6;
const CLOSE: i32 = 7;
const LISTEN: i32 = 10;
const NEW_SYN_RECV: i32 = 12;

/// Third argument of `tcp_retransmit_skb`, if it has one: the packet was sent.
const SENT: i32 = 0;

/// A socket begins and ends in CLOSE (`inet_csk_destroy_sock` checks it). `TIME_WAIT` is an object
/// of its own that outlives the socket (`tcp_time_wait`). So each connection makes one of the first
/// two transitions below, and one that ends it.
///
/// A connection that is opened from both sides at once goes `SYN_SENT`, `SYN_RECV`, ESTABLISHED,
/// and counts as accepted.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn inet_sock_set_state(context: BtfTracePointContext) -> i32 {
    let socket = Typed::new(context.arg(0));
    let (old, new) = (context.arg::<i32>(1), context.arg::<i32>(2));
    if new != ESTABLISHED && new != CLOSE {
        return 0;
    }
    // SCTP and MPTCP report their states here as well; the flows of MPTCP are TCP sockets.
    if socket.load::<u16>(layout!(sock_protocol)) != IPPROTO_TCP {
        return 0;
    }
    let counter = match (old, new) {
        (SYN_SENT, ESTABLISHED) => offset_of!(TcpEvents, opened),
        (SYN_RECV, ESTABLISHED) => offset_of!(TcpEvents, accepted),
        (SYN_SENT, CLOSE) => offset_of!(TcpEvents, failed),
        // Established already, or never; LISTEN is a socket without a connection.
        (_, ESTABLISHED) | (SYN_RECV | NEW_SYN_RECV | LISTEN | CLOSE, _) => return 0,
        _ => offset_of!(TcpEvents, closed),
    };
    count(socket, counter, 1);
    0
}

/// Segments sent again, as `TcpRetransSegs` counts them. If the tracepoint has a third argument
/// (Linux 6.18), it also fires for segments that could not be sent; without, only for those that
/// were sent (`__tcp_retransmit_skb`, `net/ipv4/tcp_output.c`).
#[btf_tracepoint(function = "tcp_retransmit_skb")]
fn tcp_retransmit_skb(context: BtfTracePointContext) -> i32 {
    if layout!(retransmit_arguments) > 2 && context.arg::<i32>(2) != SENT {
        return 0;
    }
    let (socket, packet) = (Typed::new(context.arg(0)), Typed::new(context.arg(1)));
    let state = i32::from(socket.load::<u8>(layout!(sock_state)));
    // Objects in these states are smaller than a socket and have no cgroup (`include/net/sock.h`,
    // `sk_fullsock`).
    if state == TIME_WAIT || state == NEW_SYN_RECV {
        return 0;
    }
    let segments: u16 = packet.load(layout!(skb_tcp_segments));
    count(socket, offset_of!(TcpEvents, retransmits), u64::from(segments));
    0
}

/// Adds to the counter at this offset for the cgroup that the socket belongs to.
#[inline(always)]
fn count(socket: Typed, counter: usize, value: u64) {
    let css = Css::new(socket.follow(layout!(sock_cgroup)), layout!(cgroup_self));
    if let Some(cell) = net_cell(css) {
        // SAFETY: the map gave the cell, and the offset is that of one of its counters.
        add(unsafe { (&raw mut (*cell).tcp_events).byte_add(counter).cast() }, value);
    }
}
