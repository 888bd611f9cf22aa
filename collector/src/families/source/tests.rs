use jiff::Timestamp;
use tare_model::Family;

use super::*;
use crate::{
    cgroup::Hierarchies,
    families::{
        block, cpu, lifecycle, memory, network_interfaces, network_sockets, network_tcp,
        perf_events, pids, tasks, walked::WalkStatus,
    },
    kernel::{BlockStatus, KernelStatus, LifecycleStatus, SocketIds, SocketLevel, SocketPrograms},
    reason::Circumstances,
};

static PAYLOAD: SocketPrograms = SocketPrograms { level: SocketLevel::Payload, second_best: None };

/// A host without cgroup files, whose kernel side does all it can.
fn inputs<'a>(hierarchies: &'a Hierarchies, sockets: &'a SocketPrograms) -> Inputs<'a> {
    let block = BlockStatus { overflow: None, in_flight: Ok(()), merges: Ok(()), bios: Ok(false) };
    Inputs {
        hierarchies,
        reopened_files: 0,
        descriptor_limit: 64,
        walk: WalkStatus { way: Err(&Reason::NoObject), layout: None },
        kernel: KernelStatus {
            sockets: Ok(sockets),
            network_overflow: None,
            retransmits: Ok(()),
            connections: Ok(()),
            block: Ok(block),
            lifecycle: Ok(LifecycleStatus { lost: 0, missing: &[], ended: Ok(()) }),
            tasks: Ok(Vec::new()),
        },
        socket_ids: Some(SocketIds::Unified),
        inseparable: 0,
        charged_above: 0,
        any_namespace: true,
        namespace_fault: None,
        perf_events: None,
        perf_refused: 0,
        requests: None,
        segments: None,
    }
}

fn decided(inputs: &Inputs<'_>, family: Family) -> Source {
    let status = match family {
        Family::Cpu => cpu::source(inputs),
        Family::Memory => memory::source(inputs),
        Family::Pids => pids::source(inputs),
        Family::Tasks => tasks::source(inputs),
        Family::NetworkInterfaces => network_interfaces::source(inputs),
        Family::NetworkSockets => network_sockets::source(inputs),
        Family::NetworkTcp => network_tcp::source(inputs),
        Family::Block => block::source(inputs),
        Family::Lifecycle => lifecycle::source(inputs),
        Family::PerfEvents => perf_events::source(inputs).unwrap(),
        Family::Identity => unreachable!("decided from the status of daemons"),
    };
    Source::from(&status)
}

fn reason_of(source: &Source) -> &str {
    source.reason.as_deref().unwrap_or_default()
}

#[test]
fn a_family_that_works_in_full_is_on_and_has_no_reason() {
    let hierarchies = Hierarchies::default();
    let inputs = inputs(&hierarchies, &PAYLOAD);
    for family in [
        Family::Tasks,
        Family::NetworkInterfaces,
        Family::NetworkSockets,
        Family::NetworkTcp,
        Family::Block,
        Family::Lifecycle,
    ] {
        let source = decided(&inputs, family);
        assert_eq!((source.state, source.reason), (State::On, None), "{family:?}");
        assert!(source.reason_codes.is_empty());
    }
}

#[test]
fn without_a_controller_a_family_of_files_is_off() {
    let hierarchies = Hierarchies::default();
    let inputs = inputs(&hierarchies, &PAYLOAD);
    for (family, controller) in
        [(Family::Cpu, "cpuacct"), (Family::Memory, "memory"), (Family::Pids, "pids")]
    {
        let source = decided(&inputs, family);
        let reason = format!("no cgroup hierarchy with the {controller} controller");
        assert_eq!((source.state, source.reason), (State::Off, Some(reason)));
        assert_eq!(source.reason_codes, ["no_controller"]);
    }
}

#[test]
fn files_that_cannot_stay_open_make_their_families_degraded() {
    let hierarchies =
        Hierarchies { unified: Some("/sys/fs/cgroup".into()), ..Hierarchies::default() };
    let inputs = Inputs { reopened_files: 7, ..inputs(&hierarchies, &PAYLOAD) };
    let source = decided(&inputs, Family::Cpu);
    assert_eq!((source.state, source.source.as_deref()), (State::Degraded, Some("cpu.stat")));
    assert!(reason_of(&source).starts_with("7 files are opened anew"), "{source:?}");
    assert_eq!(source.reason_codes, ["open_files_limit"]);
}

#[test]
fn sockets_name_everything_that_they_lack() {
    let hierarchies = Hierarchies::default();
    let packets = SocketPrograms {
        level: SocketLevel::L3,
        second_best: Some(Reason::MissingTracepoint { tracepoint: "sock_send_length" }),
    };
    let mut inputs = inputs(&hierarchies, &packets);
    inputs.inseparable = 2;
    inputs.kernel.network_overflow = Some(Reason::SlotsFull { slots: 15 });
    let source = decided(&inputs, Family::NetworkSockets);
    assert_eq!(source.state, State::Degraded);
    assert_eq!(source.reason_codes, ["slots_full", "missing_tracepoint", "not_separable"]);
    let reason = reason_of(&source);
    assert!(reason.starts_with("all 15 slots were in use"), "{reason}");
    let second_best = "; packets, not payload: this kernel has no tracepoint sock_send_length; ";
    assert!(reason.contains(second_best), "{reason}");
    assert!(reason.contains("; not separable for 2 of them"), "{reason}");
}

#[test]
fn each_half_of_tcp_may_be_missing() {
    let hierarchies = Hierarchies::default();
    let mut inputs = inputs(&hierarchies, &PAYLOAD);
    let missing = Reason::MissingField { field: "sock.skc_state" };
    inputs.kernel.retransmits = Err(&missing);
    let source = decided(&inputs, Family::NetworkTcp);
    assert_eq!(source.source.as_deref(), Some("tp_btf/inet_sock_set_state"));
    assert!(reason_of(&source).starts_with("no retransmits: this kernel's BTF has no field"));
    inputs.kernel.connections = Err(&missing);
    assert_eq!(decided(&inputs, Family::NetworkTcp).state, State::Off);
}

#[test]
fn all_gaps_of_block_io_are_listed_and_the_same_reason_once() {
    let hierarchies = Hierarchies::default();
    let reconciled = Reconciled {
        with: "/proc/diskstats".into(),
        since: Timestamp::UNIX_EPOCH,
        expected: 400,
        counted: 387,
        lost: 13,
        lost_bytes: Some(512),
        covered: 1,
        uncovered: 2,
    };
    let found = Comparison { reconciled: reconciled.clone(), what: "requests on sda".to_owned() };
    let missing = Reason::NotPermitted { needs: &["CAP_BPF"] };
    let mut inputs = inputs(&hierarchies, &PAYLOAD);
    inputs.requests = Some(found);
    inputs.charged_above = 1;
    inputs.kernel.block = Ok(BlockStatus {
        overflow: Some(Reason::BlockSlotsFull { slots: 15, read_bytes: 1, write_bytes: 2 }),
        in_flight: Err(&missing),
        merges: Err(&missing),
        bios: Ok(true),
    });
    let source = decided(&inputs, Family::Block);
    let programs = "tp_btf/block_rq_complete, tp_btf/block_bio_queue";
    assert_eq!(source.source.as_deref(), Some(programs));
    assert_eq!(
        source.reason_codes,
        ["slots_full", "controller_not_enabled", "not_permitted", "not_seen"]
    );
    let reason = reason_of(&source);
    assert_eq!(reason.split("; ").count(), 6, "the text of the overflow has one itself: {reason}");
    assert!(reason.ends_with("were not seen by the kernel's programs"), "{reason}");
    assert_eq!(source.reconciled, Some(reconciled));
}

#[test]
fn a_few_unseen_requests_are_counted_and_make_no_source_degraded() {
    let hierarchies = Hierarchies::default();
    for (lost, expected, state) in [
        (10, 20, State::On),
        (11, 20, State::Degraded),
        (1000, 1_000_000, State::On),
        (1001, 1_000_000, State::Degraded),
    ] {
        let reconciled = Reconciled {
            with: "/proc/diskstats".into(),
            since: Timestamp::UNIX_EPOCH,
            expected,
            counted: expected - lost,
            lost,
            lost_bytes: None,
            covered: 1,
            uncovered: 0,
        };
        let mut inputs = inputs(&hierarchies, &PAYLOAD);
        inputs.requests = Some(Comparison { reconciled, what: "requests on sda".to_owned() });
        let source = decided(&inputs, Family::Block);
        assert_eq!(source.state, state, "{lost} of {expected}");
        assert_eq!(source.reconciled.map(|found| found.lost), Some(lost));
    }
}

#[test]
fn without_programs_block_io_comes_from_files_if_there_are_any() {
    let missing = Reason::SwitchedOff { option: "--bpf off" };
    let none = Hierarchies::default();
    let v2 = Hierarchies { unified: Some("/sys/fs/cgroup".into()), ..Hierarchies::default() };
    for (hierarchies, state, reason) in [
        (&none, State::Off, "switched off with --bpf off"),
        (&v2, State::Degraded, "no latency: switched off with --bpf off"),
    ] {
        let mut inputs = inputs(hierarchies, &PAYLOAD);
        inputs.kernel.block = Err(&missing);
        let source = decided(&inputs, Family::Block);
        assert_eq!((source.state, reason_of(&source)), (state, reason));
        assert_eq!(source.reason_codes, ["switched_off"]);
    }
}

#[test]
fn lost_and_missing_events_are_both_named() {
    let hierarchies = Hierarchies::default();
    let missing = [Reason::MissingTracepoint { tracepoint: "mark_victim" }];
    let mut inputs = inputs(&hierarchies, &PAYLOAD);
    inputs.kernel.lifecycle = Ok(LifecycleStatus { lost: 5, missing: &missing, ended: Ok(()) });
    let source = decided(&inputs, Family::Lifecycle);
    assert_eq!(source.reason_codes, ["events_lost", "missing_tracepoint"]);
    assert!(reason_of(&source).starts_with("5 events were lost"), "{source:?}");
    inputs.kernel.lifecycle = Err(&missing[0]);
    let source = decided(&inputs, Family::Lifecycle);
    let reason = "short-lived containers may be missed: this kernel has no tracepoint mark_victim";
    assert_eq!((source.state, reason_of(&source)), (State::Degraded, reason));
}

#[test]
fn a_namespace_fault_is_a_gap_if_other_namespaces_are_known() {
    let hierarchies = Hierarchies::default();
    let fault = Reason::NamespaceUnreadable { error: "/proc/7/ns/net: denied".into() };
    let mut inputs = inputs(&hierarchies, &PAYLOAD);
    inputs.namespace_fault = Some(&fault);
    assert_eq!(decided(&inputs, Family::NetworkInterfaces).state, State::Degraded);
    inputs.any_namespace = false;
    let status = network_interfaces::source(&inputs);
    assert_eq!((status.state(), &status.gaps[0].reason), (State::Off, &fault));
    let missing = vec!["CAP_SYS_PTRACE"];
    let circumstances = Circumstances { missing_capabilities: missing, ..Circumstances::default() };
    let remedy = status.gaps[0].reason.remedy(&circumstances);
    assert_eq!(remedy.as_deref(), Some("run it as root, or give it CAP_SYS_PTRACE"));
}
