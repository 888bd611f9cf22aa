//! What a person can do about a reason.

use crate::reason::{NoPressure, Reason};

/// What remedies depend on besides the reason: the rights of this process.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// Capabilities that this process is known to lack.
    pub missing_capabilities: Vec<&'static str>,
    /// Whether it is in the host's user namespace; `None` is unknown, as in all that follow.
    pub host_user_namespace: Option<bool>,
    /// Whether it is in the host's PID namespace.
    pub host_pid_namespace: Option<bool>,
    /// Whether it is in the host's cgroup namespace.
    pub host_cgroup_namespace: Option<bool>,
    /// Whether its system calls are filtered.
    pub seccomp: Option<bool>,
}

impl Reason {
    /// What a person can do; `None` if nothing is known to help.
    pub fn remedy(&self, circumstances: &Circumstances) -> Option<String> {
        let text = match self {
            Self::SwitchedOff { option } => return Some(format!("leave out {option}")),
            Self::WalkHoldsLock => "give --sources walk",
            Self::SingleSample => "take two samples, with --window",
            Self::NoObject => "build the kernel side into the binary: cargo xtask build",
            Self::NoBtf { .. } | Self::UnreadableBtf { .. } => {
                "take a kernel with CONFIG_DEBUG_INFO_BTF=y; in a container, mount the host's \
                 /sys and name it with --sys-root"
            }
            // The only tracepoints for which there is a second best.
            Self::MissingTracepoint { tracepoint: "sock_send_length" | "sock_recv_length" } => {
                "take a kernel with the tracepoint sock_send_length (Linux 6.3)"
            }
            Self::MissingTracepoint { .. } | Self::MissingFunction { .. } => "take a newer kernel",
            Self::ChangedTracepoint { .. } | Self::MissingField { .. } => {
                "take a newer kernel, or a version of Tare that knows this one"
            }
            Self::NotPermitted { needs } => return Some(circumstances.permit(needs)),
            Self::NoController { controller } | Self::ControllerOff { controller } => {
                return Some(circumstances.mount(controller));
            }
            Self::IoChargedAbove { .. } | Self::IoChargedTo { .. } => {
                "add +io to cgroup.subtree_control of the cgroups above them"
            }
            Self::NotSeparable { .. } | Self::PacketsNotSeparable | Self::NoMemoryHierarchy => {
                "let the host use cgroup2 alone: boot with systemd.unified_cgroup_hierarchy=1"
            }
            Self::NamespaceUnreadable { .. } => return circumstances.see_namespaces(),
            Self::SlotsFull { .. } | Self::BlockSlotsFull { .. } | Self::InOverflow => {
                "raise --slots"
            }
            Self::OpenFilesLimit { .. } => "raise the limit of open files (ulimit -n, LimitNOFILE)",
            Self::PerfDescriptors { .. } => "name fewer events in --perf-events",
            Self::NoPerfEvent => "leave it out of --perf-events",
            Self::DaemonNotAsked { .. } => {
                "leave out --docker-socket off, --podman-socket off and --cri-socket off"
            }
            Self::DaemonConnecting { .. }
            | Self::NoDaemonSocket { .. }
            | Self::DaemonAway { .. } => {
                "start the daemon, let this process open its socket (root, or the socket's group), \
                 or name the socket with --docker-socket, --podman-socket or --cri-socket"
            }
            Self::NoPressure(reason) => reason.remedy(),
            Self::UnreadableFile { path, .. } => {
                return Some(format!("let this process read {path}"));
            }
            Self::SlowClock { .. } => {
                "see dmesg for why the kernel does not trust the CPU's own clock"
            }
            // A fault at the start names its own remedy. The others have none, or are harmless.
            Self::NotStarted { .. }
            | Self::Kernel { .. }
            | Self::WritebackNotCharged
            | Self::OnlyThrottledCounted
            | Self::CountedPerCpu
            | Self::NotWalked
            | Self::WalkFailed { .. }
            | Self::OnlyUnified
            | Self::InstancesNotSeparable { .. }
            | Self::EventsLost { .. }
            | Self::NotSeen { .. }
            | Self::NoRequests
            | Self::UnknownClock => return None,
        };
        Some(text.to_owned())
    }
}

impl NoPressure {
    fn remedy(&self) -> &'static str {
        match self {
            Self::CommandLine { .. } | Self::OffByDefault | Self::SwitchedOff => "boot with psi=1",
            Self::NotBuilt => "take a kernel with CONFIG_PSI=y",
            Self::NoFiles => "boot with psi=1, or take a kernel with CONFIG_PSI=y",
        }
    }
}

impl Circumstances {
    /// The kernel said no to what these capabilities are for.
    fn permit(&self, needs: &[&'static str]) -> String {
        if let Some(text) = self.give(needs) {
            return text;
        }
        let text = if self.host_user_namespace == Some(false) {
            "run it in the host's user namespace: capabilities of another are worth nothing to BPF"
        } else if self.seccomp == Some(true) {
            "allow the system call bpf in the seccomp profile"
        } else {
            "see the logs of the security module (SELinux, AppArmor, lockdown) that refuses bpf"
        };
        text.to_owned()
    }

    /// Names those of these capabilities that are missing.
    fn give(&self, needs: &[&'static str]) -> Option<String> {
        let missing = needs.iter().filter(|name| self.missing_capabilities.contains(name));
        let missing: Vec<&str> = missing.copied().collect();
        (!missing.is_empty()).then(|| format!("run it as root, or give it {}", missing.join(", ")))
    }

    fn mount(&self, controller: &str) -> String {
        if self.host_cgroup_namespace == Some(false) {
            return "mount the host's /sys/fs/cgroup and name it with --cgroup-root".to_owned();
        }
        // The option knows the controllers by their names on v2.
        let controller = if controller == "cpuacct" { "cpu" } else { controller };
        format!(
            "boot without cgroup_disable={controller}; in a container, mount the host's \
             /sys/fs/cgroup and name it with --cgroup-root"
        )
    }

    fn see_namespaces(&self) -> Option<String> {
        if self.host_pid_namespace == Some(false) {
            return Some(
                "share the host's PID namespace (docker run --pid host; hostPID: true)".to_owned(),
            );
        }
        self.give(&["CAP_SYS_PTRACE"])
    }
}
