use std::collections::BTreeMap;

use proptest::prelude::*;
use tare_model::{Family, Source};

use super::*;
use crate::{
    doctor::diagnosis::{CgroupWalk, Cgroups, CountedDevice, Daemon, Named},
    kernel::{LoadedMap, LoadedProgram},
};

/// What the table of [`diagnosis`] must look like, to the letter.
const GOLDEN: &str = include_str!("golden.txt");

fn diagnosis() -> Diagnosis {
    let text = |text: &str| Some(text.to_owned());
    let on = Finding { source: Source::on("cpu.stat"), remedy: None };
    let packets = Finding {
        source: Source::degraded(
            "cgroup_skb ingress and egress at the root of cgroup2",
            "packets, not payload: this kernel has no tracepoint sock_send_length",
        ),
        remedy: text("take a kernel with the tracepoint sock_send_length (Linux 6.3)"),
    };
    let off = Finding { source: Source::off("no\u{1b}[2J rights"), remedy: text("run it as root") };
    let program = |name: &str, attached: bool| {
        let memory_bytes = attached.then_some(4096);
        let name = name.to_owned();
        let verified_instructions = None;
        (
            name.clone(),
            LoadedProgram { name, kind: "tp_btf", attached, verified_instructions, memory_bytes },
        )
    };
    let map = LoadedMap {
        name: "NET_KEYS".to_owned(),
        kind: "array",
        entries: Some(4096),
        key_bytes: Some(4),
        value_bytes: None,
        memory_bytes: Some(69_632),
    };
    Diagnosis {
        version: "1.2.3",
        host: Named { hostname: text("box"), kernel: text("6.1.0"), os_name: None },
        fault: text("something is wrong"),
        families: [(Family::Cpu, on), (Family::NetworkSockets, packets), (Family::Block, off)]
            .into(),
        kernel_side: KernelSide {
            object: true,
            btf: true,
            btf_reason: None,
            tracepoints: [("cgroup_mkdir", Some(2)), ("sock_send_length", None)].into(),
            programs: [program("cgroup_mkdir", true), program("egress", false)].into(),
            maps: [(map.name.clone(), map)].into(),
            memory_bytes: Some(73_728),
        },
        rights: Rights {
            user_id: Some(1000),
            capabilities: BTreeMap::from([("CAP_BPF", true), ("CAP_SYS_PTRACE", false)]),
            host_pid_namespace: Some(false),
            ..Rights::default()
        },
        cgroups: Cgroups {
            layout: "v2",
            hierarchies: vec![Hierarchy {
                path: "/sys/fs/cgroup".to_owned(),
                version: 2,
                id: Some(0),
                controllers: Some(vec!["cpu".to_owned(), "memory".to_owned()]),
            }],
        },
        cgroup_walk: Some(CgroupWalk {
            check: Check::on("bpf_iter_css"),
            files: [("cpu_time", "cgroup v1 counts it for each CPU".to_owned())].into(),
        }),
        pressure: Check {
            state: State::Off,
            found: None,
            reason: text("switched off on the kernel's command line (psi=0)"),
            remedy: text("boot with psi=1"),
        },
        clock: Check::on("tsc"),
        recording: Check::on("/var/lib/tare/record: process 7 records"),
        daemons: vec![Daemon {
            name: "docker",
            socket: "/run/docker.sock".to_owned(),
            state: "Permission denied".to_owned(),
        }],
        block_devices: [(
            "8:0".to_owned(),
            CountedDevice { name: "sda".to_owned(), counted: Some("requests"), reason: None },
        )]
        .into(),
    }
}

#[test]
fn the_table_is_the_golden_one() {
    let found = render(&diagnosis());
    assert_eq!(found, GOLDEN, "found:\n{found}");
    assert!(found.lines().all(|line| line.chars().count() <= WIDTH && !line.ends_with(' ')));
}

#[test]
fn long_texts_are_wrapped_below_their_start() {
    let mut page = Page::default();
    page.row("label", &"word ".repeat(30));
    let lines: Vec<&str> = page.0.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("  label                  word word"));
    assert!(lines[1].starts_with("                         word word"));
}

#[test]
fn a_row_without_text_keeps_its_label() {
    let mut page = Page::default();
    page.row("label", "");
    assert_eq!(page.0.trim_end(), "  label");
}

proptest! {
    #[test]
    fn lines_are_never_too_wide_nor_unsafe(label in ".{0,40}", text in "(.{0,40} ){0,9}") {
        let mut page = Page::default();
        page.row(&label, &text);
        for line in page.0.lines() {
            prop_assert!(!line.chars().any(char::is_control));
        }
    }
}
