//! Errors of the kernel and of aya, as reasons.

use std::{error::Error, io};

use aya::sys::SyscallError;

use crate::reason::Reason;

/// The capabilities that programs for tracepoints need.
pub(super) const TRACING: &[&str] = &["CAP_BPF", "CAP_PERFMON"];

/// The capabilities that `cgroup_skb` programs need.
pub(super) const PACKETS: &[&str] = &["CAP_BPF", "CAP_NET_ADMIN"];

/// The one line for people. The verifier's pages go to the debug log.
pub(super) fn reason(error: &anyhow::Error, needs: &'static [&'static str]) -> Reason {
    tracing::debug!("{error:#}");
    // EPERM is also the answer where a memory lock limit is too low, before Linux 5.11.
    if error.chain().any(is_denied) {
        return Reason::NotPermitted { needs };
    }
    Reason::kernel(&format!("{error:#}"))
}

fn is_denied(error: &(dyn Error + 'static)) -> bool {
    let io = match error.downcast_ref::<SyscallError>() {
        Some(error) => Some(&error.io_error),
        None => error.downcast_ref::<io::Error>(),
    };
    io.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_refusal_names_the_capabilities_and_other_errors_their_first_line() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let denied = Err::<(), _>(denied).context("bpf_prog_load").unwrap_err();
        assert_eq!(reason(&denied, TRACING), Reason::NotPermitted { needs: TRACING });
        let verifier = anyhow::anyhow!("R1 invalid mem access\n0: (79) r1 = *(u64 *)(r1 +0)");
        let verifier = verifier.context("block_rq_complete");
        let expected = "block_rq_complete: R1 invalid mem access";
        assert_eq!(reason(&verifier, TRACING).to_string(), expected);
    }
}
