//! Durations of the phases of a command, logged at level `debug`.

use std::time::Instant;

/// Runs `work` and logs its duration.
pub fn timed<T>(phase: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    log(phase, begun);
    done
}

/// Logs the time since `begun`.
pub fn log(phase: &str, begun: Instant) {
    tracing::debug!("{phase} took {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
}
