//! What a person can do about a family that is not on.
//!
//! Decided from what was found; the words of the reason only tell which of several faults it is.

use crate::{
    config::{Bpf, Common},
    doctor::{diagnosis::KernelSide, rights::Rights},
    identity::{RuntimeSockets, Socket},
    kernel::NOT_PERMITTED,
    sources::{Family, Source, State},
};

/// What remedies are decided from.
pub struct Circumstances<'a> {
    /// What Tare was told.
    pub common: &'a Common,
    /// What the kernel offers.
    pub kernel_side: &'a KernelSide,
    /// What this process may do.
    pub rights: &'a Rights,
}

impl Circumstances<'_> {
    /// What would make a family's source better; `None` if it is on, or nothing is known to help.
    pub fn remedy(&self, family: Family, source: &Source) -> Option<String> {
        let reason = source.reason.as_deref().filter(|_| source.state != State::On)?;
        match family {
            Family::Cpu => Some(self.mount("cpu")),
            Family::Memory => Some(self.mount("memory")),
            Family::Pids => Some(self.mount("pids")),
            Family::NetworkInterfaces => self.namespaces(),
            Family::NetworkSockets | Family::NetworkTcp | Family::Block | Family::Lifecycle => {
                self.programs(family, source.state, reason)
            }
            Family::Identity => Some(self.names().to_owned()),
        }
    }

    fn mount(&self, controller: &str) -> String {
        if self.rights.host_cgroup_namespace == Some(false) {
            return "mount the host's /sys/fs/cgroup and name it with --cgroup-root".to_owned();
        }
        format!(
            "boot without cgroup_disable={controller}; in a container, mount the host's \
             /sys/fs/cgroup and name it with --cgroup-root"
        )
    }

    fn namespaces(&self) -> Option<String> {
        if self.rights.host_pid_namespace == Some(false) {
            return Some(
                "share the host's PID namespace (docker run --pid host; hostPID: true)".to_owned(),
            );
        }
        give(&self.rights.missing(&["CAP_SYS_PTRACE"]))
    }

    fn names(&self) -> &'static str {
        let RuntimeSockets { docker, podman, cri } = &self.common.sockets;
        if [docker, podman, cri].contains(&&Socket::Off) {
            return "leave out --docker-socket off, --podman-socket off and --cri-socket off";
        }
        "start the daemon, let this process open its socket (root, or the socket's group), or name \
         the socket with --docker-socket, --podman-socket or --cri-socket"
    }

    /// For families that have programs.
    fn programs(&self, family: Family, state: State, reason: &str) -> Option<String> {
        let said = |text: &str| Some(text.to_owned());
        if self.common.bpf == Bpf::Off {
            return said("leave out --bpf off");
        }
        if !self.kernel_side.object {
            return said("build the kernel side into the binary: cargo xtask build");
        }
        if !self.kernel_side.btf {
            return said(
                "take a kernel with CONFIG_DEBUG_INFO_BTF=y; in a container, mount the host's \
                 /sys and name it with --sys-root",
            );
        }
        if reason.contains(NOT_PERMITTED) {
            return self.permit(family);
        }
        match family {
            _ if reason.contains("--slots") => said("raise --slots"),
            Family::Block if state == State::Degraded && reason.contains("io controller") => {
                said("add +io to cgroup.subtree_control of the cgroups above them")
            }
            // The second best, by choice or because the kernel has no better.
            Family::NetworkSockets if self.lacks("sock_send_length") => {
                said("take a kernel with the tracepoint sock_send_length (Linux 6.3)")
            }
            Family::NetworkSockets | Family::NetworkTcp if reason.contains("cgroup2") => {
                said("let the host use cgroup2 alone: boot with systemd.unified_cgroup_hierarchy=1")
            }
            _ if self.kernel_side.tracepoints.values().any(Option::is_none) => {
                said("take a newer kernel")
            }
            _ => None,
        }
    }

    fn lacks(&self, tracepoint: &str) -> bool {
        self.kernel_side.tracepoints.get(tracepoint) == Some(&None)
    }

    /// The kernel said no.
    fn permit(&self, family: Family) -> Option<String> {
        let wanted: &[&str] = match family {
            Family::NetworkSockets if self.lacks("sock_send_length") => {
                &["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"]
            }
            _ => &["CAP_BPF", "CAP_PERFMON"],
        };
        let missing = self.rights.missing(wanted);
        if !missing.is_empty() {
            return give(&missing);
        }
        let text = if self.rights.host_user_namespace == Some(false) {
            "run it in the host's user namespace: capabilities of another are worth nothing to BPF"
        } else if self.rights.seccomp == Some(true) {
            "allow the system call bpf in the seccomp profile"
        } else {
            "see the logs of the security module (SELinux, AppArmor, lockdown) that refuses bpf"
        };
        Some(text.to_owned())
    }
}

fn give(missing: &[&str]) -> Option<String> {
    (!missing.is_empty()).then(|| format!("run it as root, or give it {}", missing.join(", ")))
}

#[cfg(test)]
mod tests;
