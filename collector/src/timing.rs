//! How long the parts of a command take, for those who ask with `--log-level debug`.

use std::time::Instant;

/// Does the work, and logs how long it took.
pub fn timed<T>(phase: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    log(phase, begun);
    done
}

/// Logs how long something took that began then.
pub fn log(phase: &str, begun: Instant) {
    tracing::debug!("{phase} took {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
}
