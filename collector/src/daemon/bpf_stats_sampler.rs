//! Samples what our BPF programs cost.
//!
//! The kernel's statistics cost every run of every BPF program on the host about 40 ns, so they are
//! on for a short measurement only, and the next one is a while away. The first measurement begins
//! at the start, before the capability for it is given up.

use std::{
    collections::BTreeMap,
    future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::{self, Instant};

use crate::{
    kernel::{RunStatistics, Runs},
    reason::Reason,
    telemetry::{BpfRunStats, ProgramRuns},
};

/// How long a measurement takes.
const MEASUREMENT: Duration = Duration::from_secs(1);

/// From one measurement to the next without `--bpf-stats-interval`.
const USUAL_INTERVAL: Duration = Duration::from_secs(60);

/// Measures the runs of our BPF programs now and then.
pub(super) struct BpfStatsSampler {
    proc_root: PathBuf,
    interval: Duration,
    /// When the next measurement begins or the present one ends; `None` for never.
    due: Option<Instant>,
    running: Option<Measurement>,
    total: Option<Arc<BpfRunStats>>,
}

struct Measurement {
    statistics: RunStatistics,
    begun: Instant,
    before: ProgramsRuns,
}

/// Runs so far, by the name of the program.
type ProgramsRuns = BTreeMap<String, Runs>;

impl BpfStatsSampler {
    /// Begins the first measurement, if there are programs and it is allowed. `interval` is that of
    /// `--bpf-stats-interval`; 0 is never.
    pub(super) fn start(
        interval: Option<Duration>,
        proc_root: &Path,
        runs: impl Fn() -> ProgramsRuns,
    ) -> Self {
        let wanted = interval != Some(Duration::ZERO) && !runs().is_empty();
        let mut sampler = Self {
            proc_root: proc_root.to_owned(),
            interval: interval.unwrap_or(USUAL_INTERVAL),
            due: None,
            running: None,
            total: None,
        };
        if wanted && let Err(reason) = sampler.advance(runs) {
            match interval {
                Some(_) => tracing::warn!(
                    reason = reason.code(),
                    "runs of BPF programs are not counted: {reason}"
                ),
                None => tracing::debug!(
                    reason = reason.code(),
                    "runs of BPF programs are not counted: {reason}"
                ),
            }
        }
        sampler
    }

    /// Waits until it is time for [`BpfStatsSampler::advance`].
    pub(super) async fn due(&self) {
        match self.due {
            Some(due) => time::sleep_until(due).await,
            None => future::pending().await,
        }
    }

    /// Ends the present measurement, or else begins one.
    ///
    /// # Errors
    ///
    /// Why no measurement could begin.
    pub(super) fn advance(&mut self, runs: impl Fn() -> ProgramsRuns) -> Result<(), Reason> {
        let now = Instant::now();
        if let Some(Measurement { statistics, begun, before }) = self.running.take() {
            self.due = Some(begun + self.interval.max(MEASUREMENT));
            if statistics.are_on(&self.proc_root) {
                let former = self.total.take().unwrap_or_default();
                let sum = former.with(now - begun, &before, &runs());
                self.total = Some(sum.into());
            }
            return Ok(());
        }
        self.due = Some(now + self.interval);
        let statistics = RunStatistics::switch_on(&self.proc_root)?;
        self.due = Some(now + MEASUREMENT);
        self.running = Some(Measurement { statistics, begun: now, before: runs() });
        Ok(())
    }

    /// The sum of all measurements so far; `None` before the end of the first one.
    pub(super) fn total(&self) -> Option<Arc<BpfRunStats>> {
        self.total.clone()
    }
}

impl BpfRunStats {
    /// Adds a measurement.
    fn with(&self, elapsed: Duration, before: &ProgramsRuns, after: &ProgramsRuns) -> Self {
        let mut sum = self.clone();
        sum.seconds += elapsed.as_secs_f64();
        for (name, after) in after {
            // A program that was loaded meanwhile had not run before.
            let before = before.get(name).copied().unwrap_or_default();
            let program = sum.programs.entry(name.clone()).or_default();
            let ProgramRuns { count, seconds } = program;
            *count += after.count.saturating_sub(before.count);
            *seconds += after.time.saturating_sub(before.time).as_secs_f64();
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(all: &[(&str, u64, u64)]) -> BTreeMap<String, Runs> {
        let runs = |(name, count, nanoseconds): &(&str, u64, u64)| {
            let runs = Runs { count: *count, time: Duration::from_nanos(*nanoseconds) };
            ((*name).to_owned(), runs)
        };
        all.iter().map(runs).collect()
    }

    #[test]
    fn only_what_ran_during_measurements_is_added() {
        let second = Duration::from_secs(1);
        let empty = BpfRunStats::default();
        let one = empty.with(second, &runs(&[("a", 10, 1_000)]), &runs(&[("a", 12, 1_500)]));
        // The statistics were on in between for another reason; `b` is new.
        let after = runs(&[("a", 103, 9_500), ("b", 1, 250)]);
        let two = one.with(2 * second, &runs(&[("a", 100, 9_000)]), &after);
        let found = |name: &str| two.programs.get(name).map(|program| program.count);
        assert_eq!((found("a"), found("b"), found("c")), (Some(5), Some(1), None));
        assert!((two.seconds - 3.0).abs() < 1e-9);
        assert!((two.programs["a"].seconds - 1e-6).abs() < 1e-12);
        // A program that was loaded anew has counted less: no total falls.
        let three = two.with(second, &runs(&[("a", 103, 9_500)]), &runs(&[("a", 1, 50)]));
        assert_eq!(three.programs["a"].count, 5);
    }

    #[test]
    fn without_programs_nothing_is_measured() {
        let sampler = BpfStatsSampler::start(None, Path::new("/proc"), BTreeMap::new);
        assert!(sampler.due.is_none() && sampler.total().is_none());
    }
}
