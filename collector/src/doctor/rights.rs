//! The rights of this process.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Serialize;

use crate::reason::Circumstances;

/// A capability that Tare can use.
pub(super) struct Capability {
    /// Its bit (`include/uapi/linux/capability.h`).
    bit: u32,
    /// Its name.
    pub name: &'static str,
    /// What Tare uses it for.
    pub gives: &'static str,
}

/// All capabilities that Tare can use, the most useful first.
pub(super) const CAPABILITIES: [Capability; 8] = [
    capability(39, "CAP_BPF", "load programs and maps"),
    capability(38, "CAP_PERFMON", "attach programs to tracepoints"),
    capability(12, "CAP_NET_ADMIN", "attach programs for IP packets (level l3)"),
    capability(19, "CAP_SYS_PTRACE", "see which network namespace a container is in"),
    capability(21, "CAP_SYS_ADMIN", "do what CAP_BPF and CAP_PERFMON are for"),
    capability(24, "CAP_SYS_RESOURCE", "raise limits of memory and open files"),
    capability(23, "CAP_SYS_NICE", "read a container's files before they go, on a busy host"),
    capability(2, "CAP_DAC_READ_SEARCH", "read files of others"),
];

const fn capability(bit: u32, name: &'static str, gives: &'static str) -> Capability {
    Capability { bit, name, gives }
}

/// The rights of this process. `None` is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Rights {
    /// Effective user.
    pub user_id: Option<u32>,
    /// For each of [`CAPABILITIES`] whether it is effective.
    pub capabilities: BTreeMap<&'static str, bool>,
    /// Whether system calls are filtered.
    pub seccomp: Option<bool>,
    /// Whether we are in the host's user namespace: in another one capabilities are worth little.
    pub host_user_namespace: Option<bool>,
    /// Whether we are in the host's PID namespace: in another one the processes of containers have
    /// no ids.
    pub host_pid_namespace: Option<bool>,
    /// Whether we are in the host's cgroup namespace: in another one we see only a part of the
    /// tree.
    pub host_cgroup_namespace: Option<bool>,
    /// `none`, `integrity` or `confidentiality`; `None` where the kernel cannot lock down.
    pub lockdown: Option<String>,
    /// `kernel.unprivileged_bpf_disabled`: with 0 ordinary users may load some programs.
    pub unprivileged_bpf_disabled: Option<u64>,
    /// `net.core.bpf_jit_enable`: with 0 programs are interpreted. Only root may read it.
    pub bpf_jit_enable: Option<u64>,
    /// `RLIMIT_NOFILE`, after Tare raised it. A container takes about a dozen open files.
    pub open_files_limit: Option<u64>,
}

impl Rights {
    /// Reads our own process through this `/proc`, and the kernel's settings.
    pub(super) fn read(proc_root: &Path, sys_root: &Path) -> Self {
        let own = proc_root.join("self");
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let setting = |name: &str| read(&proc_root.join("sys").join(name)).trim().parse().ok();
        let namespace = |name: &str| {
            let link = fs::read_link(own.join("ns").join(name)).ok()?;
            link.to_str().map(str::to_owned)
        };
        // The initial namespace of each kind has a fixed inode (`include/linux/proc_ns.h`).
        let is = |name: &str, number: u32| Some(namespace(name)? == format!("{name}:[{number}]"));
        Self {
            host_user_namespace: is("user", 0xefff_fffd),
            host_pid_namespace: is("pid", 0xefff_fffc),
            host_cgroup_namespace: is("cgroup", 0xefff_fffb),
            lockdown: parse_lockdown(&read(&sys_root.join("kernel/security/lockdown"))),
            unprivileged_bpf_disabled: setting("kernel/unprivileged_bpf_disabled"),
            bpf_jit_enable: setting("net/core/bpf_jit_enable"),
            open_files_limit: parse_open_files(&read(&own.join("limits"))),
            ..parse_status(&read(&own.join("status")))
        }
    }

    /// What remedies depend on.
    pub(super) fn circumstances(&self) -> Circumstances {
        Circumstances {
            missing_capabilities: self.missing(&CAPABILITIES.map(|capability| capability.name)),
            host_user_namespace: self.host_user_namespace,
            host_pid_namespace: self.host_pid_namespace,
            host_cgroup_namespace: self.host_cgroup_namespace,
            seccomp: self.seccomp,
        }
    }

    /// Those of these capabilities that are known to be missing.
    fn missing(&self, wanted: &[&'static str]) -> Vec<&'static str> {
        let has = |name: &str| self.capabilities.get(name).copied();
        // Before Linux 5.8 it stood for CAP_BPF and CAP_PERFMON, and still includes both.
        let admin = has("CAP_SYS_ADMIN") == Some(true);
        let stands_for = |name: &str| admin && matches!(name, "CAP_BPF" | "CAP_PERFMON");
        let lacks = |name: &&&'static str| has(name) == Some(false) && !stands_for(name);
        wanted.iter().filter(lacks).copied().collect()
    }
}

/// Reads a `/proc/PID/status` (`fs/proc/array.c`).
fn parse_status(text: &str) -> Rights {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim())
    };
    let effective = field("CapEff").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    let capabilities = effective.map(|bits| {
        CAPABILITIES.map(|capability| (capability.name, bits >> capability.bit & 1 == 1)).into()
    });
    Rights {
        user_id: field("Uid").and_then(|ids| ids.split_whitespace().nth(1)?.parse().ok()),
        capabilities: capabilities.unwrap_or_default(),
        seccomp: field("Seccomp").map(|mode| mode != "0"),
        ..Rights::default()
    }
}

/// The soft limit of `Max open files` in a `/proc/PID/limits`.
fn parse_open_files(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The level in brackets, as in `none [integrity] confidentiality`
/// (`security/lockdown/lockdown.c`).
fn parse_lockdown(text: &str) -> Option<String> {
    let chosen = text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    chosen.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATUS: &str = "Name:\ttare\nUid:\t1000\t1001\t1000\t1000\nCapInh:\t0000000000000000\n\
        CapEff:\t000000c000080000\nNoNewPrivs:\t0\nSeccomp:\t2\nSeccomp_filters:\t1\n";

    #[test]
    fn effective_capabilities_are_read() {
        let rights = parse_status(STATUS);
        assert_eq!((rights.user_id, rights.seccomp), (Some(1001), Some(true)));
        assert_eq!(rights.missing(&["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE"]), [""; 0]);
        assert_eq!(rights.missing(&["CAP_BPF", "CAP_NET_ADMIN"]), ["CAP_NET_ADMIN"]);
    }

    #[test]
    fn cap_sys_admin_includes_the_newer_ones() {
        let rights = parse_status("CapEff:\t0000000000200000\n");
        assert_eq!(rights.missing(&["CAP_BPF", "CAP_PERFMON"]), [""; 0]);
        assert_eq!(rights.missing(&["CAP_SYS_PTRACE"]), ["CAP_SYS_PTRACE"]);
    }

    #[test]
    fn an_unknown_capability_is_not_missing() {
        let rights = parse_status("CapEff:\tx\n");
        assert_eq!(rights, Rights::default());
        assert_eq!(rights.missing(&["CAP_BPF"]), [""; 0]);
    }

    #[test]
    fn limits_and_lockdown() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  4096  files\n";
        assert_eq!(parse_open_files(limits), Some(1024));
        assert_eq!(parse_open_files("Max open files  unlimited"), None);
        let lockdown = "none [integrity] confidentiality\n";
        assert_eq!(parse_lockdown(lockdown).as_deref(), Some("integrity"));
        assert_eq!(parse_lockdown(""), None);
    }

    #[test]
    fn this_process_is_read() {
        let rights = Rights::read(Path::new("/proc"), Path::new("/sys"));
        assert_eq!(rights.user_id, Some(nix::unistd::geteuid().as_raw()));
        assert_eq!(rights.capabilities.len(), CAPABILITIES.len());
        assert!(rights.open_files_limit > Some(0));
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text: String) {
            parse_status(&text);
            parse_open_files(&format!("Max open files{text}"));
            parse_lockdown(&text);
        }
    }
}
