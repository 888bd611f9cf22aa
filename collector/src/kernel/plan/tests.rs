use super::*;
use crate::kernel::{ended::EndedHierarchies, per_cpu::PerCpuFacts, tracepoints, walk::WalkFacts};

const PAYLOAD_ONLY: (SocketLevel, Option<SocketLevel>) = (SocketLevel::Payload, None);
const PACKETS_ONLY: (SocketLevel, Option<SocketLevel>) = (SocketLevel::L3, None);

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
        css_set_dfl_cgroup: 136,
        css_serial: 88,
        cgroup_self: 0,
        css_cgroup: 0,
        cgroup_kn: 96,
        kn_id: 96,
        ..Layout::UNKNOWN
    };
    let btf = BtfFacts {
        layout,
        tracepoints: [
            ("sock_send_length", Some(3)),
            ("sock_recv_length", Some(3)),
            ("tcp_retransmit_skb", Some(3)),
            ("inet_sock_set_state", Some(3)),
        ]
        .into(),
        walk: WalkFacts::default(),
        per_cpu: PerCpuFacts { pointers: Some(280), looks_up_others: true },
    };
    let ended = EndedHierarchies::default();
    Facts { object: true, btf: Ok(btf), ids, ended, tasks_off: None }
}

const UNIFIED: Option<SocketIds> = Some(SocketIds::Unified);
const MEMORY: Option<SocketIds> = Some(SocketIds::Memory);

/// The plan of a kernel that lacks something.
fn plan_without(
    ids: Option<SocketIds>,
    preferred: Option<SocketLevel>,
    lose: impl Fn(&mut BtfFacts),
) -> Plan {
    let mut facts = facts(ids);
    lose(facts.btf.as_mut().unwrap());
    plan(&facts, preferred)
}

/// The levels of a plan, the first one first, and why that is only the second best.
fn levels(plan: &Plan) -> ((SocketLevel, Option<SocketLevel>), Option<Reason>) {
    let sockets = plan.network.sockets.clone().unwrap();
    ((sockets.level, sockets.fallback), sockets.second_best)
}

#[test]
fn the_preferred_level_comes_first() {
    use SocketLevel::{L3, Payload};
    for (preferred, expected) in [
        (None, (Payload, Some(L3))),
        (Some(Payload), (Payload, Some(L3))),
        (Some(L3), (L3, Some(Payload))),
    ] {
        assert_eq!(levels(&plan(&facts(UNIFIED), preferred)), (expected, None), "{preferred:?}");
    }
}

#[test]
fn a_kernel_without_the_socket_tracepoints_counts_packets_and_says_so() {
    let no_tracepoint = |btf: &mut BtfFacts| lose(btf, "sock_recv_length");
    for preferred in [None, Some(SocketLevel::Payload)] {
        let plan = plan_without(UNIFIED, preferred, no_tracepoint);
        let reason = Reason::MissingTracepoint { tracepoint: "sock_recv_length" };
        assert_eq!(levels(&plan), (PACKETS_ONLY, Some(reason)));
        assert!(plan.network.retransmits.is_ok() && plan.network.connections.is_ok());
    }
    // With packets preferred nothing is missing.
    let plan = plan_without(UNIFIED, Some(SocketLevel::L3), no_tracepoint);
    assert_eq!(levels(&plan), (PACKETS_ONLY, None));
}

#[test]
fn a_field_of_another_size_is_no_field() {
    let plan = plan_without(UNIFIED, None, |btf| btf.layout.sock_family = ABSENT);
    let reason = Reason::MissingField { field: "sock.skc_family" };
    assert_eq!(levels(&plan), (PACKETS_ONLY, Some(reason)));
}

#[test]
fn without_containers_in_cgroup2_callers_are_separated_by_memory_cgroup() {
    let preferred = plan(&facts(MEMORY), Some(SocketLevel::L3));
    assert_eq!(levels(&preferred), (PAYLOAD_ONLY, Some(Reason::PacketsNotSeparable)));
    let plan = plan(&facts(MEMORY), None);
    assert_eq!(levels(&plan), (PAYLOAD_ONLY, None));
    assert_eq!(plan.layout.css_set_memory, 32);
    for planned in [plan.network.retransmits, plan.network.connections] {
        assert_eq!(planned, Err(Reason::NotSeparable { callers: None }));
    }
}

#[test]
fn in_cgroup2_callers_are_separated_by_cgroup2() {
    assert_eq!(plan(&facts(UNIFIED), None).layout.css_set_memory, ABSENT);
}

#[test]
fn where_neither_is_possible_sockets_are_not_separable() {
    let not_separable = |reason: Reason| Err(Reason::NotSeparable { callers: Some(reason.into()) });

    let plan = plan_without(MEMORY, None, |btf| lose(btf, "sock_send_length"));
    assert!(plan.network.is_nothing());
    let tracepoint = "sock_send_length";
    assert_eq!(plan.network.sockets, not_separable(Reason::MissingTracepoint { tracepoint }));

    let plan = plan_without(MEMORY, None, |btf| btf.layout.css_set_memory = ABSENT);
    let field = "css_set.subsys[memory_cgrp_id]";
    assert_eq!(plan.network.sockets, not_separable(Reason::MissingField { field }));

    let plan = super::plan(&facts(None), None);
    assert!(plan.network.is_nothing());
    assert_eq!(plan.network.sockets, not_separable(Reason::NoMemoryHierarchy));
}

#[test]
fn each_tcp_program_stands_or_falls_alone() {
    let plan = plan_without(UNIFIED, None, |btf| lose(btf, "tcp_retransmit_skb"));
    let NetworkPlan { sockets, retransmits, connections } = plan.network;
    let tracepoint = "tcp_retransmit_skb";
    assert_eq!(retransmits, Err(Reason::MissingTracepoint { tracepoint }));
    assert!(connections.is_ok() && sockets.unwrap().fallback.is_some());

    let plan = plan_without(UNIFIED, None, |btf| change(btf, "inet_sock_set_state", 2));
    let tracepoint = "inet_sock_set_state";
    let changed = Reason::ChangedTracepoint { tracepoint, found: 2, expected: 3 };
    assert_eq!(plan.network.connections, Err(changed));
    assert!(plan.network.retransmits.is_ok());

    let plan = plan_without(UNIFIED, None, |btf| btf.layout.sock_cgroup = ABSENT);
    let missing = |field| Err(Reason::MissingField { field });
    assert_eq!(plan.network.connections, missing("sock.sk_cgrp_data.cgroup"));
    assert_eq!(plan.network.retransmits, missing("sock.sk_cgrp_data.cgroup"));

    let plan = plan_without(UNIFIED, None, |btf| btf.layout.skb_tcp_segments = ABSENT);
    assert_eq!(plan.network.retransmits, missing("tcp_skb_cb.tcp_gso_segs"));
}

#[test]
fn a_retransmit_may_carry_more_than_we_know() {
    for (count, taken) in [(1, false), (2, true), (3, true), (4, true)] {
        let plan = plan_without(UNIFIED, None, |btf| change(btf, "tcp_retransmit_skb", count));
        assert_eq!(plan.network.retransmits.is_ok(), taken, "{count} arguments");
    }
}

#[test]
fn without_type_information_or_object_nothing_is_planned() {
    let mut facts = facts(UNIFIED);
    let no_btf = Reason::NoBtf { path: "/sys/kernel/btf/vmlinux".into() };
    facts.btf = Err(no_btf.clone());
    assert_eq!(plan(&facts, None), Plan::nothing(&no_btf));
    facts.object = false;
    assert_eq!(plan(&facts, None), Plan::nothing(&Reason::NoObject));
}

fn lose(btf: &mut BtfFacts, tracepoint: &'static str) {
    btf.tracepoints.insert(tracepoint, None);
}

fn change(btf: &mut BtfFacts, tracepoint: &'static str, arguments: usize) {
    btf.tracepoints.insert(tracepoint, Some(arguments));
}

/// A kernel whose block layer has these tracepoints, and all the fields.
fn planned(block: &[(&'static str, usize)]) -> BlockPlan {
    let mut facts = facts(UNIFIED);
    if let Ok(btf) = &mut facts.btf {
        change(btf, "block_rq_complete", 3);
        for (tracepoint, arguments) in block {
            change(btf, tracepoint, *arguments);
        }
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
            blkcg_css: 0,
            cgroup_kn: 8,
            kn_id: 8,
            ..btf.layout
        };
    }
    plan(&facts, None).block.unwrap()
}

fn names(programs: &Programs) -> Vec<&'static str> {
    programs.iter().flatten().map(|spec| spec.program).collect()
}

#[test]
fn block_programs_are_chosen_by_the_number_of_arguments() {
    // include/trace/events/block.h of Linux 5.10.136.
    let old = planned(&[
        ("block_rq_issue", 2),
        ("block_rq_requeue", 2),
        ("block_rq_merge", 2),
        ("block_bio_backmerge", 3),
        ("block_bio_frontmerge", 3),
        ("block_bio_queue", 2),
        ("block_bio_complete", 2),
    ]);
    assert_eq!(names(&old.in_flight), ["block_rq_issue_2", "block_rq_requeue_2"]);
    let merges = ["block_bio_backmerge_3", "block_bio_frontmerge_3", "block_rq_merge_2"];
    assert_eq!(names(&old.merges), merges);
    assert_eq!(names(&old.bios), ["block_bio_queue_2", "block_bio_complete"]);
    // Of Linux 7.2.
    let new = planned(&[
        ("block_rq_issue", 1),
        ("block_rq_requeue", 1),
        ("block_rq_merge", 1),
        ("block_bio_backmerge", 1),
        ("block_bio_frontmerge", 1),
        ("block_bio_queue", 1),
        ("block_bio_complete", 2),
    ]);
    assert_eq!(names(&new.in_flight), ["block_rq_issue", "block_rq_requeue"]);
    let merges = ["block_bio_backmerge", "block_bio_frontmerge", "block_rq_merge"];
    assert_eq!(names(&new.merges), merges);
    assert_eq!(names(&new.bios), ["block_bio_queue", "block_bio_complete"]);
}

#[test]
fn a_tracepoint_that_is_missing_or_strange_costs_its_own_fields_only() {
    let plan = planned(&[("block_bio_queue", 7)]);
    assert_eq!(names(&Ok(plan.requests)), ["block_rq_complete"]);
    let missing = |tracepoint| Err(Reason::MissingTracepoint { tracepoint });
    assert_eq!(plan.in_flight, missing("block_rq_issue"));
    assert_eq!(plan.merges, missing("block_bio_backmerge"));
    let tracepoint = "block_bio_queue";
    assert_eq!(plan.bios, Err(Reason::ChangedTracepoint { tracepoint, found: 7, expected: 1 }));
}

#[test]
fn every_event_that_a_kernel_lacks_has_its_reason() {
    let mut facts = facts(UNIFIED);
    let btf = facts.btf.as_mut().unwrap();
    for spec in LIFECYCLE_REQUIRED.iter().chain(&LIFECYCLE_OPTIONAL) {
        btf.tracepoints.entry(spec.tracepoint).or_insert(None);
    }
    btf.layout.cgroup_root = 8;
    btf.layout.root_hierarchy_id = 8;
    btf.layout.cgroup_parent_css = 8;
    let required = [("cgroup_mkdir", 2), ("cgroup_rmdir", 2), ("cgroup_notify_populated", 3)];
    for (tracepoint, arguments) in required {
        let missing = Err(Reason::MissingTracepoint { tracepoint });
        assert_eq!(plan(&facts, None).lifecycle, missing);
        change(facts.btf.as_mut().unwrap(), tracepoint, arguments);
    }
    let plan = plan(&facts, None).lifecycle.unwrap();
    assert_eq!(names(&Ok(plan.optional)), ["first_listen"]);
    let missing = ["cgroup_attach_task", "sched_process_exec", "mark_victim"];
    assert_eq!(plan.missing, missing.map(|tracepoint| Reason::MissingTracepoint { tracepoint }));
}

#[test]
fn every_planned_tracepoint_is_looked_up() {
    let names = tracepoints::names();
    assert_eq!(names.len(), 19, "{names:?}");
    for list in IN_FLIGHT.iter().chain(&MERGES).chain(&BIOS) {
        assert!(list.iter().all(|spec| names.contains(spec.tracepoint)), "{list:?}");
    }
}

/// A kernel with all that a pass over the tasks needs.
fn with_tasks(ids: Option<SocketIds>) -> Facts {
    let mut facts = facts(ids);
    let btf = facts.btf.as_mut().unwrap();
    btf.tracepoints.insert("sched_process_free", Some(1));
    btf.walk = WalkFacts::with_task_iterator();
    btf.layout = Layout {
        css_set_dfl_cgroup: 8,
        iter_number: 8,
        iter_output: 8,
        task_pid: 8,
        task_tgid: 8,
        task_state: 8,
        task_exit_state: 8,
        task_on_cpu: 8,
        task_signal: 8,
        signal_live: 8,
        task_run_time: 8,
        task_run_delay: 8,
        task_run_count: 8,
        task_last_run: 8,
        file_inode: 8,
        inode_mode: 8,
        ..btf.layout
    };
    facts
}

#[test]
fn tasks_are_counted_where_the_kernel_has_all_that_it_takes() {
    for ids in [UNIFIED, MEMORY] {
        let all = TaskPlan { freed: TASK_FREED, open_files: Ok(()) };
        assert_eq!(plan(&with_tasks(ids), None).tasks, Ok(all));
    }
    let refusal = |lose: fn(&mut Facts)| {
        let mut facts = with_tasks(UNIFIED);
        lose(&mut facts);
        plan(&facts, None).tasks.unwrap_err()
    };
    let off = Reason::SwitchedOff { option: "--tasks off" };
    assert_eq!(
        refusal(|facts| {
            facts.tasks_off = Some(Reason::SwitchedOff { option: "--tasks off" });
        }),
        off
    );
    assert_eq!(refusal(|facts| facts.ids = None), Reason::NoMemoryHierarchy);
    assert_eq!(
        refusal(|facts| facts.btf.as_mut().unwrap().walk = WalkFacts::default()),
        Reason::MissingFunction { function: "bpf_iter_task" }
    );
    assert_eq!(
        refusal(|facts| lose(facts.btf.as_mut().unwrap(), "sched_process_free")),
        Reason::MissingTracepoint { tracepoint: "sched_process_free" }
    );
    assert_eq!(
        refusal(|facts| facts.btf.as_mut().unwrap().layout.task_run_delay = ABSENT),
        Reason::MissingField { field: "task_struct.sched_info.run_delay" }
    );
    let mut facts = with_tasks(UNIFIED);
    facts.btf.as_mut().unwrap().layout.inode_mode = ABSENT;
    let open_files = plan(&facts, None).tasks.unwrap().open_files;
    assert_eq!(open_files, Err(Reason::MissingField { field: "inode.i_mode" }));
}
