//! What this process asks of the kernel for itself: memory, open files, CPU priority,
//! capabilities.

use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
    time::Duration,
};

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};
use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
    sys::resource::{Resource, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
    unistd::{SysconfVar, sysconf},
};

/// Descriptors that the kernel's table has room for from the start: those of about 300 containers,
/// in 32 KiB.
const DESCRIPTORS_AT_START: i32 = 4096;

/// The size of a page of memory.
pub fn page_bytes() -> Option<u64> {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten()?.try_into().ok()
}

/// CPU time of this thread.
pub fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Returns the allocator's free memory to the kernel. For use after a phase that needed much more
/// memory than what follows: glibc keeps freed memory otherwise.
pub fn release_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: memory in use is not touched.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has all threads allocate from one heap. glibc would give each its own, which keeps what was
/// freed there: 2 MiB with 1,000 containers, 10 MiB with 10,000. Call this before there are
/// threads.
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number of the allocator.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Sets the nice value of the calling thread, from -20 (first) to 19 (last). Threads that it starts
/// later inherit the value.
///
/// # Errors
///
/// If the kernel refuses: a lower value than the present one needs `CAP_SYS_NICE` or
/// `RLIMIT_NICE`.
pub fn set_nice(nice: i8) -> io::Result<()> {
    // SAFETY: changes the calling thread's own nice value, which is memory-safe in any case. Linux
    // takes `PRIO_PROCESS` with 0 for the calling thread (`setpriority(2)`, NOTES).
    let done = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice.into()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives up all capabilities of the calling thread but these, and returns the names of those that
/// it has left. Capabilities belong to threads: threads that it starts later inherit the rest.
pub fn keep_capabilities(kept: &[Capability]) -> Vec<String> {
    if let Err(error) = keep_only(kept) {
        tracing::warn!(%error, "cannot give up capabilities that are not needed");
    }
    let held = caps::read(None, CapSet::Effective).unwrap_or_default();
    let mut names: Vec<_> = held.iter().map(|it| it.to_string().to_lowercase()).collect();
    names.sort();
    names
}

fn keep_only(kept: &[Capability]) -> Result<(), CapsError> {
    let kept: CapsHashSet = kept.iter().copied().collect();
    let permitted = caps::read(None, CapSet::Permitted)?;
    let rest: CapsHashSet = permitted.intersection(&kept).copied().collect();
    // A capability cannot be in effect, inherited or ambient unless it is permitted.
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &rest)?;
    caps::set(None, CapSet::Permitted, &rest)
}

/// Raises the limit of open files to the hard limit and enlarges the table of descriptors.
///
/// A container takes about a dozen descriptors, and the usual soft limit is 1,024. Call this before
/// there are threads: the kernel waits some milliseconds whenever a table grows that threads share
/// (`fs/file.c`, `expand_fdtable`).
pub fn prepare_descriptors() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    // Where the limit is lower, this fails, and the table cannot grow so large either.
    if let Ok(last) = fcntl(io::stdin(), FcntlArg::F_DUPFD_CLOEXEC(DESCRIPTORS_AT_START - 1)) {
        // SAFETY: the descriptor was made just now and has no other owner.
        drop(unsafe { OwnedFd::from_raw_fd(last) });
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn nice() -> i32 {
        // SAFETY: reads the calling thread's nice value.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
    }

    #[test]
    fn a_nice_value_is_that_of_the_calling_thread_only() {
        let before = nice();
        let in_thread = thread::spawn(|| set_nice(19).map(|()| nice())).join().unwrap();
        assert_eq!(in_thread.unwrap(), 19);
        assert_eq!(nice(), before);
    }
}
