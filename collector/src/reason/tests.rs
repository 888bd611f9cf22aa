use super::*;

fn text(text: &str) -> Arc<str> {
    text.into()
}

/// Reasons of every code, with the text and the code that people and programs know.
fn table() -> Vec<(Reason, &'static str, &'static str)> {
    vec![
        (Reason::NotStarted { fault: text("no cgroup") }, "no cgroup", "not_started"),
        (
            Reason::SwitchedOff { option: "--bpf off" },
            "switched off with --bpf off",
            "switched_off",
        ),
        (
            Reason::SingleSample,
            "not loaded for a single sample, in which it would count nothing",
            "single_sample",
        ),
        (
            Reason::NoObject,
            "built without the eBPF object; build with `cargo xtask build`",
            "no_object",
        ),
        (
            Reason::NoBtf { path: text("/sys/kernel/btf/vmlinux") },
            "no kernel type information (BTF) at /sys/kernel/btf/vmlinux: needs \
             CONFIG_DEBUG_INFO_BTF",
            "no_btf",
        ),
        (
            Reason::UnreadableBtf { path: text("/a"), error: text("cut off") },
            "/a: cut off",
            "no_btf",
        ),
        (
            Reason::MissingTracepoint { tracepoint: "sock_send_length" },
            "this kernel has no tracepoint sock_send_length",
            "missing_tracepoint",
        ),
        (
            Reason::ChangedTracepoint { tracepoint: "block_bio_queue", found: 7, expected: 1 },
            "this kernel's tracepoint block_bio_queue has 7 arguments where 1 are known",
            "changed_tracepoint",
        ),
        (
            Reason::MissingField { field: "sock.skc_family" },
            "this kernel's BTF has no field sock.skc_family of the known size",
            "missing_field",
        ),
        (
            Reason::MissingFunction { function: "bpf_iter_css_new" },
            "this kernel has no function bpf_iter_css_new for programs",
            "missing_function",
        ),
        (
            Reason::WalkHoldsLock,
            "used only with --sources walk: no cgroup can be made or removed during this walk",
            "switched_off",
        ),
        (Reason::NotWalked, "it is in no cgroup hierarchy that programs can walk", "no_controller"),
        (
            Reason::WalkFailed { error: text("no root") },
            "the walk of the cgroups failed: no root",
            "kernel_error",
        ),
        (
            Reason::CountedPerCpu,
            "cgroup v1 counts it for each CPU, out of reach of programs",
            "cgroup_v1",
        ),
        (Reason::OnlyUnified, "cgroup v1 does not have it", "cgroup_v1"),
        (
            Reason::NotPermitted { needs: &["CAP_BPF", "CAP_PERFMON"] },
            "not permitted: needs CAP_BPF and CAP_PERFMON (run as root)",
            "not_permitted",
        ),
        (Reason::kernel("first line\nsecond"), "first line", "kernel_error"),
        (
            Reason::NoController { controller: "pids" },
            "no cgroup hierarchy with the pids controller",
            "no_controller",
        ),
        (
            Reason::ControllerOff { controller: "memory" },
            "the memory controller is off: cgroup2 does not offer it",
            "no_controller",
        ),
        (
            Reason::IoChargedAbove { cgroups: 2 },
            "the kernel charges the I/O of 2 cgroups to one above, because the io controller is not \
             enabled there",
            "controller_not_enabled",
        ),
        (
            Reason::IoChargedTo { ancestor: text("/a") },
            "the io controller is not enabled for this cgroup: the kernel charges /a",
            "controller_not_enabled",
        ),
        (
            Reason::WritebackNotCharged,
            "cgroup v1: what the kernel writes back later from the page cache is charged to the \
             root, not to the cgroup that wrote it",
            "cgroup_v1",
        ),
        (
            Reason::NotSeparable { callers: Some(Reason::NoMemoryHierarchy.into()) },
            "not separable: sockets belong to cgroups of cgroup2 only, where no container is on \
             this host, and the memory controller, by which their callers could be told apart, has \
             no v1 hierarchy",
            "not_separable",
        ),
        (
            Reason::PacketsNotSeparable,
            "sockets belong to cgroups of cgroup2 only, where no container is on this host",
            "not_separable",
        ),
        (
            Reason::NamespaceUnreadable { error: text("/proc/7/ns/net: Permission denied") },
            "/proc/7/ns/net: Permission denied",
            "namespace_unreadable",
        ),
        (
            Reason::BlockSlotsFull { slots: 15, read_bytes: 512, write_bytes: 1024 },
            "all 15 slots were in use: some cgroups are counted together as overflow; see --slots \
             (512 bytes read and 1024 written so far)",
            "slots_full",
        ),
        (
            Reason::EventsLost { lost: 7 },
            "7 events were lost because too many came at once",
            "events_lost",
        ),
        (
            Reason::OpenFilesLimit { files: 12, limit: 64 },
            "12 files are opened anew for each reading, because this process may open only 64 \
             files: raise its limit (ulimit -n, LimitNOFILE)",
            "open_files_limit",
        ),
        (
            Reason::NotSeen { lost: 3, expected: 400, what: text("requests on sda, sdb") },
            "3 of 400 requests on sda, sdb (0.75 %) were not seen by the kernel's programs",
            "not_seen",
        ),
        (
            Reason::NoRequests,
            "it neither makes requests nor stands on a device that does",
            "no_requests",
        ),
        (
            Reason::DaemonConnecting { daemon: text("Podman API") },
            "Podman API has not answered yet",
            "daemon_connecting",
        ),
        (
            Reason::DaemonNotAsked { daemon: text("Podman API") },
            "Podman API is not asked",
            "switched_off",
        ),
        (
            Reason::NoDaemonSocket { daemon: "Docker", paths: text("/a or /b") },
            "no Docker socket at /a or /b",
            "no_daemon_socket",
        ),
        (
            Reason::DaemonAway { error: text("/a: no answer within 2 s") },
            "/a: no answer within 2 s",
            "daemon_away",
        ),
        (
            Reason::NoPressure(NoPressure::CommandLine { value: text("0") }),
            "switched off on the kernel's command line (psi=0)",
            "no_pressure",
        ),
        (
            Reason::UnreadableFile { path: "/proc/a", error: text("denied") },
            "/proc/a: denied",
            "unreadable_file",
        ),
        (
            Reason::SlowClock { clock: text("hpet") },
            "hpet is slow or coarse: block requests cost more to count",
            "slow_clock",
        ),
        (Reason::UnknownClock, "the kernel does not tell its clock", "unknown_clock"),
    ]
}

#[test]
fn every_reason_has_its_text_and_its_code() {
    for (reason, text, code) in table() {
        assert_eq!((reason.to_string().as_str(), reason.code()), (text, code));
    }
}

#[test]
fn every_code_is_documented() {
    let documented = include_str!("../../../docs/json.md");
    for (reason, ..) in table() {
        let code = format!("`{}`", reason.code());
        assert!(documented.contains(&code), "docs/json.md does not explain {code}");
    }
}

fn remedy(reason: &Reason, circumstances: &Circumstances) -> String {
    reason.remedy(circumstances).unwrap_or_default()
}

fn without(missing: &[&'static str]) -> Circumstances {
    Circumstances { missing_capabilities: missing.to_vec(), ..Circumstances::default() }
}

const TRACING: Reason = Reason::NotPermitted { needs: &["CAP_BPF", "CAP_PERFMON"] };

#[test]
fn each_obstacle_to_programs_has_its_own_remedy() {
    let of = |reason: &Reason| remedy(reason, &without(&["CAP_BPF", "CAP_SYS_PTRACE"]));
    assert_eq!(of(&TRACING), "run it as root, or give it CAP_BPF");
    assert!(of(&Reason::NoBtf { path: text("/a") }).contains("CONFIG_DEBUG_INFO_BTF=y"));
    assert!(of(&Reason::NoObject).contains("cargo xtask build"));
    assert_eq!(of(&Reason::SwitchedOff { option: "--bpf off" }), "leave out --bpf off");
    let tracepoint = "sock_send_length";
    assert!(of(&Reason::MissingTracepoint { tracepoint }).contains("sock_send_length"));
    let tracepoint = "mark_victim";
    assert_eq!(of(&Reason::MissingTracepoint { tracepoint }), "take a newer kernel");
}

#[test]
fn with_all_capabilities_something_else_refuses() {
    let mut circumstances = without(&[]);
    assert!(remedy(&TRACING, &circumstances).contains("security module"));
    circumstances.seccomp = Some(true);
    assert!(remedy(&TRACING, &circumstances).contains("seccomp"));
    circumstances.host_user_namespace = Some(false);
    assert!(remedy(&TRACING, &circumstances).contains("user namespace"));
}

#[test]
fn packets_need_the_right_to_attach_them() {
    let circumstances = without(&["CAP_NET_ADMIN"]);
    let packets = Reason::NotPermitted { needs: &["CAP_BPF", "CAP_NET_ADMIN"] };
    assert!(remedy(&packets, &circumstances).contains("CAP_NET_ADMIN"));
    assert!(!remedy(&TRACING, &circumstances).contains("CAP_NET_ADMIN"));
}

#[test]
fn other_families_have_remedies_of_their_own() {
    let circumstances = without(&["CAP_SYS_PTRACE"]);
    let of = |reason: &Reason| remedy(reason, &circumstances);
    let memory = Reason::ControllerOff { controller: "memory" };
    assert!(of(&memory).contains("cgroup_disable=memory"));
    let namespace = Reason::NamespaceUnreadable { error: text("x") };
    assert!(of(&namespace).contains("CAP_SYS_PTRACE"));
    assert!(of(&Reason::DaemonAway { error: text("x") }).contains("--docker-socket"));
    assert!(of(&Reason::SlotsFull { slots: 1 }).contains("--slots"));
    assert!(of(&Reason::OpenFilesLimit { files: 1, limit: 1 }).contains("LimitNOFILE"));
    let inside = Circumstances {
        host_pid_namespace: Some(false),
        host_cgroup_namespace: Some(false),
        ..without(&[])
    };
    assert!(remedy(&namespace, &inside).contains("--pid host"));
    assert!(
        remedy(&Reason::NoController { controller: "cpuacct" }, &inside).contains("--cgroup-root")
    );
}
