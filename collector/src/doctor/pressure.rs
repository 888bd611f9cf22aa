//! Whether the kernel measures pressure, and why not.

use std::{fs, io};

use nix::errno::Errno;
use tare_model::State;

use crate::{
    config::Common,
    doctor::diagnosis::Check,
    host::HostRoot,
    reason::{Circumstances, NoPressure, Reason},
};

/// Looks at `/proc/pressure` (Linux 4.20), and for the reason at the kernel's command line and
/// configuration.
pub(super) fn check(common: &Common, circumstances: &Circumstances) -> Check {
    let read = fs::read(common.proc_root.join("pressure/cpu"));
    let Err(error) = read else { return Check::on("/proc/pressure") };
    let text = |path: &str| fs::read_to_string(common.proc_root.join(path)).ok();
    let command_line = text("cmdline").unwrap_or_default();
    let config = text("sys/kernel/osrelease").and_then(|release| {
        HostRoot::new(&common.proc_root).read(&format!("/boot/config-{}", release.trim()))
    });
    let reason = reason(&error, &command_line, config.as_deref());
    Check::new(State::Off, None, &reason, circumstances)
}

/// The nearest reason that can be found.
fn reason(error: &io::Error, command_line: &str, config: Option<&str>) -> Reason {
    let off = command_line.split_whitespace().rev().find_map(|word| word.strip_prefix("psi="));
    let set = |line: &str| config.is_some_and(|config| config.lines().any(|found| found == line));
    let unsupported = error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32);
    if let Some(value @ ("0" | "n" | "N" | "off")) = off {
        return Reason::NoPressure(NoPressure::CommandLine { value: value.into() });
    }
    if set("# CONFIG_PSI is not set") {
        return Reason::NoPressure(NoPressure::NotBuilt);
    }
    if set("CONFIG_PSI_DEFAULT_DISABLED=y") {
        return Reason::NoPressure(NoPressure::OffByDefault);
    }
    match error.kind() {
        _ if unsupported => Reason::NoPressure(NoPressure::SwitchedOff),
        io::ErrorKind::NotFound => Reason::NoPressure(NoPressure::NoFiles),
        _ => {
            let error = error.to_string().into();
            Reason::UnreadableFile { path: "/proc/pressure/cpu", error }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_reason_is_found() {
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
        for (error, command_line, config, text, remedy) in table {
            let reason = reason(&error, command_line, config);
            let found = reason.remedy(&Circumstances::default()).unwrap();
            assert!(reason.to_string().contains(text), "{reason}");
            assert!(found.contains(remedy), "{found}");
        }
    }
}
