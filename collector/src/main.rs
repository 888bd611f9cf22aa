//! `tare`: what every container on this host uses.

use std::process::ExitCode;

/// A scrape of 500 containers takes 9 ms with musl's own allocator.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    tare::main()
}
