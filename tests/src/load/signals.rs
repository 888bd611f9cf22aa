//! Ending on SIGTERM, also as process 1 of a container, which ignores it by default.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::{
    libc,
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
};

/// Whether the load is done, so that SIGTERM is the orderly end.
static DONE: AtomicBool = AtomicBool::new(false);

/// Exit code for a load that was ended before it was done: what a shell shows for SIGTERM.
const CUT_SHORT: i32 = 128 + libc::SIGTERM;

extern "C" fn end(_signal: libc::c_int) {
    let code = if DONE.load(Ordering::Relaxed) { 0 } else { CUT_SHORT };
    // SAFETY: `_exit` is async-signal-safe and takes no pointers.
    unsafe { libc::_exit(code) }
}

/// Ends this process when SIGTERM comes, wherever it is.
pub(super) fn end_on_sigterm() -> nix::Result<()> {
    let action = SigAction::new(SigHandler::Handler(end), SaFlags::empty(), SigSet::empty());
    // SAFETY: `end` only reads an atomic and calls `_exit`, both async-signal-safe.
    unsafe { sigaction(Signal::SIGTERM, &action) }.map(|_| ())
}

/// Waits for SIGTERM, which ends the process with success.
pub(super) fn stay() -> ! {
    DONE.store(true, Ordering::Relaxed);
    loop {
        std::thread::park();
    }
}
