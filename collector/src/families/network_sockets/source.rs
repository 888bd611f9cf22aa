//! Bytes at the sockets, per cgroup.

use crate::{
    families::source::{Gap, Inputs, SourceStatus},
    kernel::{SocketIds, SocketLevel},
    reason::Reason,
};

/// Decides the source: payload by the caller's cgroup, or packets by the socket's.
pub fn source(inputs: &Inputs<'_>) -> SourceStatus {
    let sockets = match inputs.kernel.sockets {
        Ok(sockets) => sockets,
        Err(reason) => return SourceStatus::off(reason),
    };
    let (source, second_best) = match (sockets.level, inputs.socket_ids) {
        (SocketLevel::Payload, Some(SocketIds::Memory)) => (
            "tp_btf/sock_send_length, tp_btf/sock_recv_length by v1 memory cgroup",
            "payload, not packets",
        ),
        (SocketLevel::Payload, _) => {
            ("tp_btf/sock_send_length, tp_btf/sock_recv_length", "payload, not packets")
        }
        (SocketLevel::L3, _) => {
            ("cgroup_skb ingress and egress at the root of cgroup2", "packets, not payload")
        }
    };
    let instances = inputs.inseparable;
    let gaps = [
        inputs.kernel.network_overflow.clone().map(Gap::from),
        sockets.second_best.clone().map(|reason| Gap::new(second_best, reason)),
        (instances > 0).then(|| Reason::InstancesNotSeparable { instances }.into()),
    ];
    SourceStatus::new(source, gaps.into_iter().flatten().collect())
}
