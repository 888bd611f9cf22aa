//! How often our programs run and how long that takes. The kernel counts both while its statistics
//! of programs are on. They are usually off: they cost each run of each program on the host two
//! reads of a clock.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
    path::Path,
    time::Duration,
};

use aya::{
    Ebpf,
    programs::Program,
    sys::{Stats, enable_stats},
};

use crate::{kernel::Kernel, reason::Reason};

/// Runs of a program while the statistics were on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// How many.
    pub count: u64,
    /// How long they took together, part of the reads of the clock included.
    pub time: Duration,
}

/// Keeps the kernel's statistics of programs on until it is dropped. They may also be on for good,
/// by the sysctl `kernel.bpf_stats_enabled`: then this holds nothing.
#[derive(Debug)]
pub struct RunStatistics(Option<OwnedFd>);

impl RunStatistics {
    /// Switches the statistics on, if they are not on for good.
    ///
    /// # Errors
    ///
    /// Before Linux 5.8, and without `CAP_SYS_ADMIN` (`kernel/bpf/syscall.c`, `bpf_enable_stats`).
    pub fn switch_on(proc_root: &Path) -> Result<Self, Reason> {
        if is_permanent(proc_root) {
            return Ok(Self(None));
        }
        enable_stats(Stats::RunTime).map(|ours| Self(Some(ours))).map_err(|error| {
            if error.io_error.kind() == std::io::ErrorKind::PermissionDenied {
                Reason::NotPermitted { needs: &["CAP_SYS_ADMIN"] }
            } else {
                Reason::kernel(&error.to_string())
            }
        })
    }

    /// Whether the statistics are on still.
    pub fn are_on(&self, proc_root: &Path) -> bool {
        self.0.is_some() || is_permanent(proc_root)
    }
}

impl Kernel {
    /// Runs of each loaded program so far, by its name in the object.
    pub fn runs(&self) -> BTreeMap<String, Runs> {
        let all = self.ebpf.as_ref().into_iter().flat_map(Ebpf::programs);
        all.filter_map(|(name, program)| Some((name.to_owned(), runs(program)?))).collect()
    }
}

/// Needs a descriptor of the program and no capability (`kernel/bpf/syscall.c`,
/// `bpf_prog_get_info_by_fd`).
fn runs(program: &Program) -> Option<Runs> {
    let info = match program {
        Program::BtfTracePoint(program) => program.info(),
        Program::CgroupSkb(program) => program.info(),
        Program::Iter(program) => program.info(),
        _ => return None,
    };
    let info = info.ok()?;
    Some(Runs { count: info.run_count(), time: info.run_time() })
}

/// The same of a program that aya did not load, by `/proc/self/fdinfo` (`kernel/bpf/syscall.c`,
/// `bpf_prog_show_fdinfo`, Linux 5.1).
pub(super) fn runs_of(program: BorrowedFd<'_>) -> Option<Runs> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd())).ok()?;
    let number = |name| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    let time = Duration::from_nanos(number("run_time_ns:")?);
    Some(Runs { count: number("run_cnt:")?, time })
}

fn is_permanent(proc_root: &Path) -> bool {
    let setting = fs::read(proc_root.join("sys/kernel/bpf_stats_enabled"));
    setting.is_ok_and(|text| text.trim_ascii() == b"1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_that_are_on_for_good_need_no_right() {
        let proc = tempfile::tempdir().unwrap();
        let setting = proc.path().join("sys/kernel/bpf_stats_enabled");
        assert!(!is_permanent(proc.path()));
        fs::create_dir_all(setting.parent().unwrap()).unwrap();
        fs::write(&setting, "1\n").unwrap();
        let statistics = RunStatistics::switch_on(proc.path()).unwrap();
        assert!(statistics.0.is_none());
        assert!(statistics.are_on(proc.path()));
        fs::write(&setting, "0\n").unwrap();
        assert!(!statistics.are_on(proc.path()));
    }
}
