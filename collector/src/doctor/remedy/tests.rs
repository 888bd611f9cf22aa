use clap::Parser;

use super::*;
use crate::{cli::Cli, config::Config, kernel::Facts};

fn common(args: &[&str]) -> Common {
    Config::from(Cli::try_parse_from([&["tare", "doctor"], args].concat()).unwrap()).common
}

fn kernel_side() -> KernelSide {
    let facts = Facts { object: true, btf: Err("none".to_owned()), ids: None };
    let tracepoints = [("sock_send_length", Some(3)), ("block_rq_complete", Some(3))];
    KernelSide {
        btf: true,
        tracepoints: tracepoints.into(),
        ..KernelSide::new(&facts, Vec::new(), Vec::new())
    }
}

fn remedy(
    args: &[&str],
    side: &KernelSide,
    rights: &Rights,
    family: Family,
    reason: &str,
) -> String {
    let common = common(args);
    let circumstances = Circumstances { common: &common, kernel_side: side, rights };
    circumstances.remedy(family, &Source::off(reason)).unwrap_or_default()
}

fn without(missing: &'static str) -> Rights {
    let all = ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_ADMIN"];
    let has = |name: &'static str| (name, name != missing && name != "CAP_SYS_ADMIN");
    Rights { capabilities: all.map(has).into(), ..Rights::default() }
}

const DENIED: &str = "not permitted: needs CAP_BPF and CAP_PERFMON (run as root)";

#[test]
fn the_first_obstacle_is_named_first() {
    let rights = without("CAP_BPF");
    let mut side = kernel_side();
    let of = |args: &[&str], side: &KernelSide| remedy(args, side, &rights, Family::Block, DENIED);
    assert_eq!(of(&[], &side), "run it as root, or give it CAP_BPF");
    side.btf = false;
    assert!(of(&[], &side).contains("CONFIG_DEBUG_INFO_BTF=y"));
    side.object = false;
    assert!(of(&[], &side).contains("cargo xtask build"));
    assert_eq!(of(&["--bpf", "off"], &side), "leave out --bpf off");
}

#[test]
fn with_all_capabilities_something_else_refuses() {
    let side = kernel_side();
    let of = |rights: &Rights| remedy(&[], &side, rights, Family::Lifecycle, DENIED);
    let mut rights = without("");
    assert!(of(&rights).contains("security module"));
    rights.seccomp = Some(true);
    assert!(of(&rights).contains("seccomp"));
    rights.host_user_namespace = Some(false);
    assert!(of(&rights).contains("user namespace"));
}

#[test]
fn packets_need_the_right_to_attach_them() {
    let mut side = kernel_side();
    side.tracepoints.insert("sock_send_length", None);
    let rights = without("CAP_NET_ADMIN");
    let of = |family| remedy(&[], &side, &rights, family, DENIED);
    assert!(of(Family::NetworkSockets).contains("CAP_NET_ADMIN"));
    assert!(!of(Family::NetworkTcp).contains("CAP_NET_ADMIN"));
    let old = remedy(&[], &side, &rights, Family::NetworkSockets, "no tracepoint");
    assert!(old.contains("sock_send_length"));
}

#[test]
fn other_families_have_remedies_of_their_own() {
    let side = kernel_side();
    let of = |rights: &Rights, family, reason: &str| remedy(&[], &side, rights, family, reason);
    let rights = without("CAP_SYS_PTRACE");
    assert!(of(&rights, Family::Memory, "off").contains("cgroup_disable=memory"));
    assert!(of(&rights, Family::NetworkInterfaces, "x").contains("CAP_SYS_PTRACE"));
    assert!(of(&rights, Family::Identity, "x").contains("--docker-socket"));
    assert!(of(&rights, Family::Block, "in use: see --slots").contains("--slots"));
    let inside = Rights {
        host_pid_namespace: Some(false),
        host_cgroup_namespace: Some(false),
        ..without("")
    };
    assert!(of(&inside, Family::NetworkInterfaces, "x").contains("--pid host"));
    assert!(of(&inside, Family::Cpu, "x").contains("--cgroup-root"));
}

#[test]
fn what_is_on_needs_nothing() {
    let (common, side, rights) = (common(&[]), kernel_side(), Rights::default());
    let circumstances = Circumstances { common: &common, kernel_side: &side, rights: &rights };
    for family in Family::ALL {
        assert_eq!(circumstances.remedy(family, &Source::on("x")), None);
    }
}

#[test]
fn families_are_named_as_in_json() {
    for family in Family::ALL {
        assert_eq!(serde_json::to_value(family).unwrap(), family.as_str());
    }
}
