use super::*;

/// A kernel with everything, hybrid or pure v2 by `ids`.
fn facts(ids: Option<SocketIds>) -> Facts {
    // Any offset does, as long as it is one.
    let layout = Layout {
        sock_family: 16,
        sock_protocol: 516,
        sock_state: 18,
        sock_cgroup: 640,
        skb_tcp_segments: 48,
        retransmit_arguments: 3,
        task_cgroups: 1000,
        css_set_memory: 32,
        css_cgroup: 0,
        cgroup_kn: 96,
        kn_id: 96,
        ..Layout::UNKNOWN
    };
    let btf = BtfFacts {
        layout,
        sock_send_length: Some(3),
        sock_recv_length: Some(3),
        tcp_retransmit_skb: Some(3),
        inet_sock_set_state: Some(3),
        block_rq_complete: None,
        lifecycle: [None; LIFECYCLE.len()],
        block: BlockTracepoints::default(),
    };
    Facts { object: true, btf: Ok(btf), ids }
}

const UNIFIED: Option<SocketIds> = Some(SocketIds::Unified);
const MEMORY: Option<SocketIds> = Some(SocketIds::Memory);

/// The plan of a kernel that lacks something.
fn plan_without(
    ids: Option<SocketIds>,
    wish: Option<Sockets>,
    lose: impl Fn(&mut BtfFacts),
) -> Plan {
    let mut facts = facts(ids);
    lose(facts.btf.as_mut().unwrap());
    plan(&facts, wish)
}

#[test]
fn the_wished_level_comes_first() {
    use Sockets::{L3, Payload};
    for (wish, ways) in [
        (None, vec![Payload, L3]),
        (Some(Payload), vec![Payload, L3]),
        (Some(L3), vec![L3, Payload]),
    ] {
        let plan = plan(&facts(UNIFIED), wish);
        assert_eq!((plan.sockets, plan.sockets_reason), (ways, None), "{wish:?}");
    }
}

#[test]
fn a_kernel_without_the_socket_tracepoints_counts_packets_and_says_so() {
    let no_tracepoint = |btf: &mut BtfFacts| btf.sock_recv_length = None;
    for wish in [None, Some(Sockets::Payload)] {
        let plan = plan_without(UNIFIED, wish, no_tracepoint);
        assert_eq!(plan.sockets, [Sockets::L3]);
        let reason = plan.sockets_reason.unwrap();
        assert_eq!(reason, "this kernel has no tracepoint sock_recv_length");
        assert_eq!((plan.retransmits, plan.connections), (Ok(()), Ok(())));
    }
    // Who asked for packets misses nothing.
    let plan = plan_without(UNIFIED, Some(Sockets::L3), no_tracepoint);
    assert_eq!((plan.sockets, plan.sockets_reason), (vec![Sockets::L3], None));
}

#[test]
fn a_field_of_another_size_is_no_field() {
    let plan = plan_without(UNIFIED, None, |btf| btf.layout.sock_family = ABSENT);
    assert_eq!(plan.sockets, [Sockets::L3]);
    assert!(plan.sockets_reason.unwrap().contains("sock.skc_family"));
}

#[test]
fn without_containers_in_cgroup2_callers_are_told_apart_by_memory_cgroup() {
    let asked = plan(&facts(MEMORY), Some(Sockets::L3));
    assert_eq!(asked.sockets, [Sockets::Payload]);
    assert!(asked.sockets_reason.unwrap().contains("cgroup2 only"));
    let plan = plan(&facts(MEMORY), None);
    assert_eq!((plan.sockets, plan.sockets_reason), (vec![Sockets::Payload], None));
    assert_eq!(plan.layout.css_set_memory, 32);
    for planned in [plan.retransmits, plan.connections] {
        assert!(planned.unwrap_err().starts_with("not separable: "));
    }
}

#[test]
fn in_cgroup2_callers_are_told_apart_by_cgroup2() {
    assert_eq!(plan(&facts(UNIFIED), None).layout.css_set_memory, ABSENT);
}

#[test]
fn where_neither_is_possible_sockets_are_not_separable() {
    let plan = plan_without(MEMORY, None, |btf| btf.sock_send_length = None);
    assert!(plan.is_without_net());
    let reason = plan.sockets_reason.unwrap();
    assert!(reason.starts_with("not separable: "), "{reason}");
    assert!(reason.contains("no tracepoint sock_send_length"), "{reason}");

    let plan = plan_without(MEMORY, None, |btf| btf.layout.css_set_memory = ABSENT);
    assert!(plan.sockets_reason.unwrap().contains("css_set.subsys[memory_cgrp_id]"));

    let plan = super::plan(&facts(None), None);
    assert!(plan.is_without_net());
    assert!(plan.sockets_reason.unwrap().starts_with("not separable: "));
}

#[test]
fn each_tcp_program_stands_or_falls_alone() {
    let plan = plan_without(UNIFIED, None, |btf| btf.tcp_retransmit_skb = None);
    assert_eq!(plan.retransmits.unwrap_err(), "this kernel has no tracepoint tcp_retransmit_skb");
    assert_eq!((plan.connections, plan.sockets.len()), (Ok(()), 2));

    let plan = plan_without(UNIFIED, None, |btf| btf.inet_sock_set_state = Some(2));
    assert!(plan.connections.unwrap_err().contains("has 2 arguments where 3 are known"));
    assert_eq!(plan.retransmits, Ok(()));

    let plan = plan_without(UNIFIED, None, |btf| btf.layout.sock_cgroup = ABSENT);
    assert!(plan.connections.unwrap_err().contains("sk_cgrp_data"));
    assert!(plan.retransmits.unwrap_err().contains("sk_cgrp_data"));

    let plan = plan_without(UNIFIED, None, |btf| btf.layout.skb_tcp_segments = ABSENT);
    assert!(plan.retransmits.unwrap_err().contains("tcp_gso_segs"));
}

#[test]
fn a_retransmit_may_carry_more_than_we_know() {
    for (count, taken) in [(1, false), (2, true), (3, true), (4, true)] {
        let plan = plan_without(UNIFIED, None, |btf| btf.tcp_retransmit_skb = Some(count));
        assert_eq!(plan.retransmits.is_ok(), taken, "{count} arguments");
    }
}

#[test]
fn without_type_information_or_object_nothing_is_planned() {
    let mut facts = facts(UNIFIED);
    facts.btf = Err("no BTF".to_owned());
    assert_eq!(plan(&facts, None), Plan::nothing("no BTF"));
    facts.object = false;
    assert!(plan(&facts, None).sockets_reason.unwrap().starts_with("built without"));
}

/// A kernel whose block layer has these tracepoints, and all the fields.
fn planned(block: BlockTracepoints) -> Plan {
    let mut facts = facts(UNIFIED);
    if let Ok(btf) = &mut facts.btf {
        btf.block_rq_complete = Some(3);
        btf.block = block;
        btf.layout = Layout {
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
            ..btf.layout
        };
    }
    plan(&facts, None)
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
    assert_eq!(plan.merges, Err("this kernel has no tracepoint block_bio_backmerge".to_owned()));
    let strange = "this kernel's tracepoint block_bio_queue has 7 arguments where 1 are known";
    assert_eq!(plan.bios, Err(strange.to_owned()));
}
