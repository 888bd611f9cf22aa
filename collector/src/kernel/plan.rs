//! Facts → plan: what to load, in which order of preference, and why the rest is off.
//!
//! Pure, so that every kernel we have heard of can be a line in a test.

use tare_ebpf::{ABSENT, Layout};

use crate::kernel::facts::{BlockTracepoints, BtfFacts, Facts};

/// What to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Offsets for the programs.
    pub layout: Layout,
    /// Ways to the socket view, best first; all that failed is told in the reasons.
    pub sockets: Vec<Sockets>,
    /// Why a better way to the socket view, or any, is closed.
    pub sockets_reason: Option<String>,
    /// Whether block requests can be counted, or why not.
    pub block: Result<(), String>,
    /// What is counted of block requests besides; each costs its own fields only.
    pub flight: Programs,
    /// Merges.
    pub merges: Programs,
    /// Bios of devices without requests.
    pub bios: Programs,
}

/// Programs that work together, or why they cannot.
pub type Programs = Result<Vec<Tracepoint>, String>;

/// A program, and the tracepoint that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracepoint {
    /// Its name in the object.
    pub program: &'static str,
    /// The tracepoint's name.
    pub name: &'static str,
}

/// A way to the socket view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// Bytes at the socket calls, by tracepoint.
    Payload,
    /// IP packets, by programs on the root of cgroup2.
    L3,
}

/// Decides.
pub fn plan(facts: &Facts) -> Plan {
    if !facts.object {
        return Plan::nothing("built without the eBPF object; build with `cargo xtask build`");
    }
    let btf = match &facts.btf {
        Ok(btf) => btf,
        Err(reason) => return Plan::nothing(reason),
    };
    let (sockets, sockets_reason) = sockets(facts, btf);
    Plan {
        layout: btf.layout,
        sockets,
        sockets_reason,
        block: block(btf),
        flight: block(btf).and_then(|()| flight(&btf.block)),
        merges: block(btf).and_then(|()| merges(btf)),
        bios: block(btf).and_then(|()| bios(btf)),
    }
}

impl Plan {
    /// Nothing to load, for one reason.
    pub fn nothing(reason: &str) -> Self {
        Self {
            layout: Layout::UNKNOWN,
            sockets: Vec::new(),
            sockets_reason: Some(reason.to_owned()),
            block: Err(reason.to_owned()),
            flight: Err(reason.to_owned()),
            merges: Err(reason.to_owned()),
            bios: Err(reason.to_owned()),
        }
    }
}

fn sockets(facts: &Facts, btf: &BtfFacts) -> (Vec<Sockets>, Option<String>) {
    if !facts.unified {
        let reason = "no cgroup2 hierarchy is mounted, so sockets cannot be told apart";
        return (Vec::new(), Some(reason.to_owned()));
    }
    match payload(btf) {
        Ok(()) => (vec![Sockets::Payload, Sockets::L3], None),
        Err(reason) => (vec![Sockets::L3], Some(reason)),
    }
}

fn payload(btf: &BtfFacts) -> Result<(), String> {
    tracepoint("sock_send_length", btf.sock_send_length, 3)?;
    tracepoint("sock_recv_length", btf.sock_recv_length, 3)?;
    let Layout { sock_family, sock_protocol, .. } = btf.layout;
    fields(&[("sock.skc_family", sock_family), ("sock.sk_protocol", sock_protocol)])
}

fn block(btf: &BtfFacts) -> Result<(), String> {
    tracepoint("block_rq_complete", btf.block_rq_complete, 3)?;
    let layout = &btf.layout;
    if layout.request_disk == ABSENT {
        fields(&[("request.q", layout.request_queue), ("request_queue.disk", layout.queue_disk)])?;
    }
    fields(&[
        ("request.bio", layout.request_bio),
        ("request.rq_flags", layout.request_flags),
        ("request.state", layout.request_state),
        ("bio.bi_opf", layout.bio_opf),
        ("request.__data_len", layout.request_data_len),
        ("request.cmd_flags", layout.request_cmd_flags),
        ("request.start_time_ns", layout.request_start_time),
        ("request.io_start_time_ns", layout.request_io_start_time),
        ("gendisk.major", layout.disk_major),
        ("gendisk.first_minor", layout.disk_first_minor),
        ("bio.bi_blkg", layout.bio_blkg),
        ("blkcg_gq.blkcg", layout.blkg_blkcg),
        ("blkcg.css.cgroup", layout.blkcg_cgroup),
        ("cgroup.kn", layout.cgroup_kn),
        ("kernfs_node.id", layout.kn_id),
    ])
}

fn flight(found: &BlockTracepoints) -> Programs {
    let issue = variant(
        "block_rq_issue",
        found.rq_issue,
        &[(1, "block_rq_issue"), (2, "block_rq_issue_2")],
    )?;
    let requeue = variant(
        "block_rq_requeue",
        found.rq_requeue,
        &[(1, "block_rq_requeue"), (2, "block_rq_requeue_2")],
    )?;
    Ok(vec![issue, requeue])
}

fn merges(btf: &BtfFacts) -> Programs {
    bio_disk(&btf.layout)?;
    let found = &btf.block;
    let back = variant(
        "block_bio_backmerge",
        found.bio_backmerge,
        &[(1, "block_bio_backmerge"), (3, "block_bio_backmerge_3")],
    )?;
    let front = variant(
        "block_bio_frontmerge",
        found.bio_frontmerge,
        &[(1, "block_bio_frontmerge"), (3, "block_bio_frontmerge_3")],
    )?;
    let request = variant(
        "block_rq_merge",
        found.rq_merge,
        &[(1, "block_rq_merge"), (2, "block_rq_merge_2")],
    )?;
    Ok(vec![back, front, request])
}

fn bios(btf: &BtfFacts) -> Programs {
    let layout = &btf.layout;
    bio_disk(layout)?;
    fields(&[
        ("bio.bi_iter.bi_size", layout.bio_size),
        ("bio.bi_status", layout.bio_status),
        ("gendisk.queue", layout.disk_queue),
        ("request_queue.mq_ops", layout.queue_operations),
    ])?;
    let found = &btf.block;
    let queue = variant(
        "block_bio_queue",
        found.bio_queue,
        &[(1, "block_bio_queue"), (2, "block_bio_queue_2")],
    )?;
    let complete = variant("block_bio_complete", found.bio_complete, &[(2, "block_bio_complete")])?;
    Ok(vec![queue, complete])
}

fn bio_disk(layout: &Layout) -> Result<(), String> {
    if layout.bio_disk != ABSENT {
        return Ok(());
    }
    fields(&[("bio.bi_bdev", layout.bio_device), ("block_device.bd_disk", layout.device_disk)])
}

/// The program for a tracepoint by the number of its arguments, which says where in the list the
/// one is that counts; by version it cannot be told, because stable kernels changed it too.
fn variant(
    name: &'static str,
    found: Option<usize>,
    programs: &[(usize, &'static str)],
) -> Result<Tracepoint, String> {
    match programs.iter().find(|(arguments, _)| found == Some(*arguments)) {
        Some((_, program)) => Ok(Tracepoint { program, name }),
        None => Err(tracepoint(name, found, programs[0].0).err().unwrap_or_default()),
    }
}

fn tracepoint(name: &str, found: Option<usize>, expected: usize) -> Result<(), String> {
    match found {
        Some(count) if count == expected => Ok(()),
        Some(count) => Err(format!(
            "this kernel's tracepoint {name} has {count} arguments where {expected} are known"
        )),
        None => Err(format!("this kernel has no tracepoint {name}")),
    }
}

fn fields(wanted: &[(&str, u32)]) -> Result<(), String> {
    match wanted.iter().find(|(_, offset)| *offset == ABSENT) {
        Some((name, _)) => Err(format!("this kernel's BTF has no field {name} of the known size")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn btf(block: BlockTracepoints) -> BtfFacts {
        // Offsets that are there; what they are does not matter to the plan.
        let layout = Layout {
            request_disk: 8,
            request_bio: 8,
            request_data_len: 8,
            request_cmd_flags: 8,
            request_start_time: 8,
            request_io_start_time: 8,
            request_flags: 8,
            request_state: 8,
            bio_opf: 8,
            bio_size: 8,
            bio_status: 8,
            bio_disk: 8,
            disk_queue: 8,
            queue_operations: 8,
            disk_major: 8,
            disk_first_minor: 8,
            bio_blkg: 8,
            blkg_blkcg: 8,
            blkcg_cgroup: 8,
            cgroup_kn: 8,
            kn_id: 8,
            ..Layout::UNKNOWN
        };
        BtfFacts {
            layout,
            sock_send_length: None,
            sock_recv_length: None,
            block_rq_complete: Some(3),
            block,
        }
    }

    fn planned(block: BlockTracepoints) -> Plan {
        plan(&Facts { object: true, btf: Ok(btf(block)), unified: true })
    }

    fn names(programs: &Programs) -> Vec<&'static str> {
        programs.iter().flatten().map(|tracepoint| tracepoint.program).collect()
    }

    #[test]
    fn block_programs_are_chosen_by_the_number_of_arguments() {
        // include/trace/events/block.h of Linux 5.10.136.
        let old = planned(BlockTracepoints {
            rq_issue: Some(2),
            rq_requeue: Some(2),
            rq_merge: Some(2),
            bio_backmerge: Some(3),
            bio_frontmerge: Some(3),
            bio_queue: Some(2),
            bio_complete: Some(2),
        });
        assert_eq!(names(&old.flight), ["block_rq_issue_2", "block_rq_requeue_2"]);
        let merges = ["block_bio_backmerge_3", "block_bio_frontmerge_3", "block_rq_merge_2"];
        assert_eq!(names(&old.merges), merges);
        assert_eq!(names(&old.bios), ["block_bio_queue_2", "block_bio_complete"]);
        // Of Linux 7.2.
        let new = planned(BlockTracepoints {
            rq_issue: Some(1),
            rq_requeue: Some(1),
            rq_merge: Some(1),
            bio_backmerge: Some(1),
            bio_frontmerge: Some(1),
            bio_queue: Some(1),
            bio_complete: Some(2),
        });
        assert_eq!(names(&new.flight), ["block_rq_issue", "block_rq_requeue"]);
        let merges = ["block_bio_backmerge", "block_bio_frontmerge", "block_rq_merge"];
        assert_eq!(names(&new.merges), merges);
        assert_eq!(names(&new.bios), ["block_bio_queue", "block_bio_complete"]);
    }

    #[test]
    fn a_tracepoint_that_is_missing_or_strange_costs_its_own_fields_only() {
        let plan = planned(BlockTracepoints { bio_queue: Some(7), ..BlockTracepoints::default() });
        assert_eq!(plan.block, Ok(()));
        assert_eq!(plan.flight, Err("this kernel has no tracepoint block_rq_issue".to_owned()));
        assert_eq!(
            plan.merges,
            Err("this kernel has no tracepoint block_bio_backmerge".to_owned())
        );
        let strange = "this kernel's tracepoint block_bio_queue has 7 arguments where 1 are known";
        assert_eq!(plan.bios, Err(strange.to_owned()));
    }
}
