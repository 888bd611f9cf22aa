//! The programs for tracepoints: which tracepoint each of them is for, and in which form.
//!
//! A kernel is known by the number of arguments of its tracepoints and never by its version,
//! because stable kernels changed them too.

use std::collections::BTreeSet;

use crate::reason::Reason;

/// A program of the object and its tracepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracepointSpec {
    /// Name of the program in the object.
    pub program: &'static str,
    /// Name of the tracepoint.
    pub tracepoint: &'static str,
    /// How many arguments of it the program knows.
    arguments: Arguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arguments {
    Exactly(usize),
    /// Later ones do not matter.
    AtLeast(usize),
}

/// Bytes at the socket calls (Linux 6.3).
pub(super) const PAYLOAD: [TracepointSpec; 2] =
    [same_name("sock_send_length", 3), same_name("sock_recv_length", 3)];

/// TCP segments that are sent again. Newer kernels have a third argument (Linux 6.18).
pub(super) const RETRANSMITS: TracepointSpec = TracepointSpec {
    program: "tcp_retransmit_skb",
    tracepoint: "tcp_retransmit_skb",
    arguments: Arguments::AtLeast(2),
};

/// TCP connections.
pub(super) const CONNECTIONS: TracepointSpec = same_name("inet_sock_set_state", 3);

/// Completed block requests.
pub(super) const REQUESTS: TracepointSpec = same_name("block_rq_complete", 3);

/// Block requests that the driver has. Of each list the one program that fits.
pub(super) const IN_FLIGHT: [&[TracepointSpec]; 2] = [
    &[same_name("block_rq_issue", 1), spec("block_rq_issue_2", "block_rq_issue", 2)],
    &[same_name("block_rq_requeue", 1), spec("block_rq_requeue_2", "block_rq_requeue", 2)],
];

/// Merges of bios and requests. Of each list the one program that fits.
pub(super) const MERGES: [&[TracepointSpec]; 3] = [
    &[same_name("block_bio_backmerge", 1), spec("block_bio_backmerge_3", "block_bio_backmerge", 3)],
    &[
        same_name("block_bio_frontmerge", 1),
        spec("block_bio_frontmerge_3", "block_bio_frontmerge", 3),
    ],
    &[same_name("block_rq_merge", 1), spec("block_rq_merge_2", "block_rq_merge", 2)],
];

/// Bios of devices that make no requests of them. Of each list the one program that fits.
pub(super) const BIOS: [&[TracepointSpec]; 2] = [
    &[same_name("block_bio_queue", 1), spec("block_bio_queue_2", "block_bio_queue", 2)],
    &[same_name("block_bio_complete", 2)],
];

/// What happens to cgroups: without all of these there are no events.
pub(super) const LIFECYCLE_REQUIRED: [TracepointSpec; 3] = [
    same_name("cgroup_mkdir", 2),
    same_name("cgroup_rmdir", 2),
    same_name("cgroup_notify_populated", 3),
];

/// What happens in cgroups: each of these adds its own kind of event.
pub(super) const LIFECYCLE_OPTIONAL: [TracepointSpec; 4] = [
    same_name("cgroup_attach_task", 4),
    same_name("sched_process_exec", 3),
    spec("first_listen", "inet_sock_set_state", 3),
    same_name("mark_victim", 2),
];

/// What removed cgroups had used.
pub(super) const ENDED: TracepointSpec = spec("cgroup_ended", "cgroup_rmdir", 2);

/// Tasks that are gone.
pub(super) const TASK_FREED: TracepointSpec = spec("task_freed", "sched_process_free", 1);

/// The tracepoints of all programs.
pub(super) fn names() -> BTreeSet<&'static str> {
    let single = PAYLOAD.iter().chain([&RETRANSMITS, &CONNECTIONS, &REQUESTS, &TASK_FREED]);
    let lifecycle = LIFECYCLE_REQUIRED.iter().chain(&LIFECYCLE_OPTIONAL);
    let variants = IN_FLIGHT.iter().chain(&MERGES).chain(&BIOS).copied().flatten();
    single.chain(lifecycle).chain(variants).map(|spec| spec.tracepoint).collect()
}

const fn spec(program: &'static str, tracepoint: &'static str, arguments: usize) -> TracepointSpec {
    TracepointSpec { program, tracepoint, arguments: Arguments::Exactly(arguments) }
}

const fn same_name(name: &'static str, arguments: usize) -> TracepointSpec {
    spec(name, name, arguments)
}

impl TracepointSpec {
    /// Whether the program fits a tracepoint with this many arguments; `None` is one that the
    /// kernel lacks.
    ///
    /// # Errors
    ///
    /// Why it does not fit.
    pub fn check(&self, found: Option<usize>) -> Result<(), Reason> {
        let tracepoint = self.tracepoint;
        let found = found.ok_or(Reason::MissingTracepoint { tracepoint })?;
        let (fits, expected) = match self.arguments {
            Arguments::Exactly(expected) => (found == expected, expected),
            Arguments::AtLeast(expected) => (found >= expected, expected),
        };
        if fits { Ok(()) } else { Err(Reason::ChangedTracepoint { tracepoint, found, expected }) }
    }
}
