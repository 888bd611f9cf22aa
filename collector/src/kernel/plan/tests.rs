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
