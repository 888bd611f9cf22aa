//! TCP connections and retransmits, per cgroup.

use crate::families::source::{Gap, Inputs, SourceStatus};

const RETRANSMITS: &str = "tp_btf/tcp_retransmit_skb";
const CONNECTIONS: &str = "tp_btf/inet_sock_set_state";

/// Decides the source: a program for each of the two.
pub fn source(inputs: &Inputs<'_>) -> SourceStatus {
    let status = match (inputs.kernel.retransmits, inputs.kernel.connections) {
        (Ok(()), Ok(())) => {
            let gaps = inputs.segments.as_ref().and_then(Gap::not_seen).into_iter().collect();
            SourceStatus::new(format!("{RETRANSMITS}, {CONNECTIONS}"), gaps)
        }
        (Err(reason), Ok(())) => {
            SourceStatus::new(CONNECTIONS, vec![Gap::new("no retransmits", reason)])
        }
        (Ok(()), Err(reason)) => {
            SourceStatus::new(RETRANSMITS, vec![Gap::new("no connections", reason)])
        }
        (Err(reason), Err(_)) => SourceStatus::off(reason),
    };
    status.compared(inputs.segments.as_ref())
}
