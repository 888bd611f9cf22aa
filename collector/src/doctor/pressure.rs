//! Whether the kernel tells pressure, and why not.

use std::{fs, io};

use nix::errno::Errno;

use crate::{config::Common, doctor::diagnosis::Check, host::HostRoot, sources::State};

/// Looks at `/proc/pressure`, and for the reason at the kernel's command line and configuration.
pub(super) fn check(common: &Common) -> Check {
    let read = fs::read(common.proc_root.join("pressure/cpu"));
    let Err(error) = read else { return Check::on("/proc/pressure") };
    let text = |path: &str| fs::read_to_string(common.proc_root.join(path)).ok();
    let command_line = text("cmdline").unwrap_or_default();
    let config = text("sys/kernel/osrelease").and_then(|release| {
        HostRoot::new(&common.proc_root).read(&format!("/boot/config-{}", release.trim()))
    });
    let (reason, remedy) = why(&error, &command_line, config.as_deref());
    Check { state: State::Off, found: None, reason: Some(reason), remedy: Some(remedy.to_owned()) }
}

/// Reason and remedy (`kernel/sched/psi.c`, `setup_psi` and `psi_proc_init`).
fn why(error: &io::Error, command_line: &str, config: Option<&str>) -> (String, &'static str) {
    const BOOT: &str = "boot with psi=1";
    const BUILD: &str = "take a kernel with CONFIG_PSI=y";
    let off = command_line.split_whitespace().rev().find_map(|word| word.strip_prefix("psi="));
    let set = |line: &str| config.is_some_and(|config| config.lines().any(|found| found == line));
    let unsupported = error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32);
    if let Some(value @ ("0" | "n" | "N" | "off")) = off {
        return (format!("switched off on the kernel's command line (psi={value})"), BOOT);
    }
    if set("# CONFIG_PSI is not set") {
        return ("the kernel was built without CONFIG_PSI".to_owned(), BUILD);
    }
    if set("CONFIG_PSI_DEFAULT_DISABLED=y") {
        return ("off unless asked for (CONFIG_PSI_DEFAULT_DISABLED=y)".to_owned(), BOOT);
    }
    match error.kind() {
        _ if unsupported => ("switched off (EOPNOTSUPP)".to_owned(), BOOT),
        io::ErrorKind::NotFound => (
            "no /proc/pressure: built without CONFIG_PSI, or off unless asked for".to_owned(),
            "boot with psi=1, or take a kernel with CONFIG_PSI=y",
        ),
        _ => (format!("/proc/pressure/cpu: {error}"), "let this process read /proc/pressure"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_as_near_as_can_be_told() {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let refused = || io::Error::from_raw_os_error(Errno::EOPNOTSUPP as i32);
        let table = [
            (missing(), "quiet psi=0", None, "command line", "psi=1"),
            (
                missing(),
                "",
                Some("# CONFIG_PSI is not set\n"),
                "without CONFIG_PSI",
                "CONFIG_PSI=y",
            ),
            (missing(), "", Some("CONFIG_PSI_DEFAULT_DISABLED=y"), "unless asked for", "psi=1"),
            (missing(), "psi=1", None, "no /proc/pressure", "CONFIG_PSI=y"),
            (refused(), "", None, "EOPNOTSUPP", "psi=1"),
            (io::ErrorKind::PermissionDenied.into(), "", None, "permission", "let this process"),
        ];
        for (error, command_line, config, reason, remedy) in table {
            let found = why(&error, command_line, config);
            assert!(found.0.contains(reason) && found.1.contains(remedy), "{found:?}");
        }
    }
}
