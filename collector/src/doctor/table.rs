//! The findings for people, in at most [`WIDTH`] columns.

use tare_model::State;

use crate::{
    doctor::{
        diagnosis::{CgroupWalk, Check, Diagnosis, Finding, Hierarchy, KernelSide},
        rights::{CAPABILITIES, Rights},
    },
    output::{
        text::{printable, wrap},
        units::bytes_size,
    },
};

/// Columns that lines are wrapped at. A single longer word stays whole.
const WIDTH: usize = 100;

/// Where the second column begins.
const INDENT: usize = 25;

/// Where a source begins, after the state.
const SOURCE_INDENT: usize = 35;

/// Lays out the findings.
pub(super) fn render(diagnosis: &Diagnosis) -> String {
    let mut page = Page::default();
    let host = &diagnosis.host;
    let known = [&host.kernel.as_ref().map(|kernel| format!("Linux {kernel}")), &host.os_name];
    let known: Vec<_> = known.into_iter().flatten().cloned().collect();
    let name = host.hostname.as_deref().unwrap_or("an unnamed host");
    page.lines(0, &format!("Tare {} on {name}: {}", diagnosis.version, known.join(", ")));
    if let Some(fault) = &diagnosis.fault {
        page.lines(0, &format!("Nothing can be started: {fault}"));
    }
    page.section("FAMILIES OF NUMBERS");
    for (family, found) in &diagnosis.families {
        page.family(family.as_str(), found);
    }
    page.kernel_side(&diagnosis.kernel_side);
    page.rights(&diagnosis.rights);
    page.section("CGROUPS");
    page.row("layout", diagnosis.cgroups.layout);
    for hierarchy in &diagnosis.cgroups.hierarchies {
        page.hierarchy(hierarchy);
    }
    if let Some(CgroupWalk { check, files }) = &diagnosis.cgroup_walk {
        page.check("walk in the kernel", check);
        for (name, reason) in files {
            page.row("", &format!("{} from files: {reason}", name.replace('_', " ")));
        }
    }
    page.section("HOST");
    page.check("pressure", &diagnosis.pressure);
    page.check("clock", &diagnosis.clock);
    page.check("recording", &diagnosis.recording);
    for daemon in &diagnosis.daemons {
        page.row(daemon.name, &format!("{}: {}", daemon.socket, daemon.state));
    }
    for (numbers, device) in &diagnosis.block_devices {
        let how = match (device.counted, &device.reason) {
            (Some("below"), _) => "counted by the devices that it stands on".to_owned(),
            (Some(how), _) => format!("counted by its {how}"),
            (None, reason) => {
                format!(
                    "not counted in the kernel: {}",
                    reason.as_deref().unwrap_or("for an unknown reason")
                )
            }
        };
        page.row(&format!("disk {}", device.name), &format!("{how} ({numbers})"));
    }
    page.0
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn section(&mut self, title: &str) {
        self.0.push('\n');
        self.lines(0, title);
    }

    fn row(&mut self, label: &str, text: &str) {
        self.labelled(&format!("  {label:<0$} ", INDENT - 3), text);
    }

    fn labelled(&mut self, label: &str, text: &str) {
        let start = self.0.len();
        self.lines(label.chars().count(), text);
        // The label replaces the indent of the first line.
        let indent = label.chars().count().min(self.0.len() - start);
        self.0.replace_range(start..start + indent, &printable(label));
    }

    fn lines(&mut self, indent: usize, text: &str) {
        for line in wrap(text, indent, WIDTH) {
            self.0.push_str(&line);
            self.0.push('\n');
        }
    }

    fn family(&mut self, family: &str, found: &Finding) {
        let state = found.source.state.as_str();
        let label = format!("  {family:<22} {state:<10}");
        self.labelled(&label, found.source.source.as_deref().unwrap_or("no source"));
        self.advice(SOURCE_INDENT, found.source.reason.as_deref(), found.remedy.as_deref());
    }

    fn check(&mut self, label: &str, check: &Check) {
        let found = check.found.as_deref().unwrap_or("unknown");
        match check.state {
            State::On => self.row(label, found),
            state => self.row(label, check.found.as_deref().unwrap_or(state.as_str())),
        }
        self.advice(INDENT, check.reason.as_deref(), check.remedy.as_deref());
    }

    fn advice(&mut self, indent: usize, reason: Option<&str>, remedy: Option<&str>) {
        for (label, text) in [("why", reason), ("do", remedy)] {
            if let Some(text) = text {
                self.labelled(&format!("{:indent$}{label:<5}", ""), text);
            }
        }
    }

    fn kernel_side(&mut self, side: &KernelSide) {
        self.section("KERNEL SIDE");
        self.row("in this binary", if side.object { "yes" } else { "no" });
        self.row("type information", side.btf_reason.as_deref().unwrap_or("found"));
        if side.btf {
            self.tracepoints(side);
        }
        let attached = |wanted: bool| {
            let named = side.programs.iter().filter(move |(_, program)| program.attached == wanted);
            named.map(|(name, _)| name.as_str()).collect::<Vec<_>>()
        };
        let (on, idle) = (attached(true), attached(false));
        if side.memory_bytes.is_none() {
            self.row("programs", "none is loaded");
            return;
        }
        self.row("programs attached", &format!("{}: {}", on.len(), on.join(", ")));
        self.row("programs not needed", &format!("{}: {}", idle.len(), idle.join(", ")));
        let memory = side.memory_bytes.map_or_else(|| "unknown".to_owned(), bytes_size);
        self.row("memory in the kernel", &memory);
        for (name, map) in &side.maps {
            let number =
                |number: Option<u32>| number.map_or_else(|| "?".to_owned(), |n| n.to_string());
            let memory = map.memory_bytes.map_or_else(|| "unknown".to_owned(), bytes_size);
            let shape = match map.kind {
                "ring" => format!("{} bytes", number(map.entries)),
                _ => format!(
                    "{} × ({} + {} bytes)",
                    number(map.entries),
                    number(map.key_bytes),
                    number(map.value_bytes)
                ),
            };
            self.row(&format!("  {name}"), &format!("{memory}, {} of {shape}", map.kind));
        }
    }

    fn tracepoints(&mut self, side: &KernelSide) {
        let there: Vec<String> = side
            .tracepoints
            .iter()
            .filter_map(|(name, arguments)| Some(format!("{name}({})", (*arguments)?)))
            .collect();
        let all = side.tracepoints.len();
        self.row("tracepoints", &format!("{} of {all}: {}", there.len(), there.join(", ")));
        let lacking = side.tracepoints.iter().filter(|(_, arguments)| arguments.is_none());
        let lacking: Vec<&str> = lacking.map(|(name, _)| *name).collect();
        if !lacking.is_empty() {
            self.row("not in this kernel", &lacking.join(", "));
        }
    }

    fn rights(&mut self, rights: &Rights) {
        self.section("RIGHTS");
        let number =
            |number: Option<u64>| number.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
        self.row("user", &number(rights.user_id.map(u64::from)));
        for capability in &CAPABILITIES {
            let has = match rights.capabilities.get(capability.name) {
                Some(true) => "yes",
                Some(false) => "no",
                None => "unknown",
            };
            self.row(capability.name, &format!("{has:<7} (to {})", capability.gives));
        }
        for (name, host) in [
            ("user namespace", rights.host_user_namespace),
            ("PID namespace", rights.host_pid_namespace),
            ("cgroup namespace", rights.host_cgroup_namespace),
        ] {
            let owner = match host {
                Some(true) => "the host's",
                Some(false) => "another one than the host's",
                None => "unknown",
            };
            self.row(name, owner);
        }
        let seccomp = match rights.seccomp {
            Some(true) => "system calls are filtered",
            Some(false) => "none",
            None => "unknown",
        };
        self.row("seccomp", seccomp);
        self.row(
            "lockdown",
            rights.lockdown.as_deref().unwrap_or("not in this kernel, or unknown"),
        );
        for (label, setting, value) in [
            (
                "unprivileged BPF",
                "kernel.unprivileged_bpf_disabled",
                rights.unprivileged_bpf_disabled,
            ),
            ("BPF compiler", "net.core.bpf_jit_enable", rights.bpf_jit_enable),
        ] {
            self.row(label, &format!("{setting} is {}", number(value)));
        }
        self.row("open files, at most", &number(rights.open_files_limit));
    }

    fn hierarchy(&mut self, hierarchy: &Hierarchy) {
        let Hierarchy { path, version, controllers, .. } = hierarchy;
        let controllers =
            controllers.as_ref().map_or_else(|| "unknown".to_owned(), |all| all.join(", "));
        self.row(&format!("v{version}"), &format!("{path}: {controllers}"));
    }
}

#[cfg(test)]
mod tests;
