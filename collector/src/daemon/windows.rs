//! Windows in which the kernel counts the runs of our BPF programs.
//!
//! That costs every run of every program on the host some 40 ns, so a window is short and the next one
//! is a while away. The first opens at the start, before the right to open any is given up.

use std::{
    collections::BTreeMap,
    future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::{self, Instant};

use crate::{
    kernel::{Kernel, RunStatistics, Runs},
    reason::Reason,
    telemetry::{BpfRunStats, ProgramRuns},
};

/// How long a window is open.
const WINDOW: Duration = Duration::from_secs(1);

/// From one window to the next, unless it is said.
const USUAL_INTERVAL: Duration = Duration::from_secs(60);

/// Opens and closes windows.
pub(super) struct Windows {
    proc_root: PathBuf,
    interval: Duration,
    /// When the next one opens, or the open one closes; `None` if there are none.
    due: Option<Instant>,
    open: Option<Window>,
    seen: Option<Arc<BpfRunStats>>,
}

struct Window {
    statistics: RunStatistics,
    begun: Instant,
    before: BTreeMap<String, Runs>,
}

impl Windows {
    /// Opens the first one, if there are programs and it is allowed. `interval` is what was asked
    /// for; 0 is no window at all.
    pub(super) fn start(interval: Option<Duration>, proc_root: &Path, kernel: &Kernel) -> Self {
        let wanted = interval != Some(Duration::ZERO) && !kernel.runs().is_empty();
        let mut windows = Self {
            proc_root: proc_root.to_owned(),
            interval: interval.unwrap_or(USUAL_INTERVAL),
            due: None,
            open: None,
            seen: None,
        };
        if wanted && let Err(reason) = windows.turn(kernel) {
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
        windows
    }

    /// Waits until it is time for [`Windows::turn`].
    pub(super) async fn due(&self) {
        match self.due {
            Some(due) => time::sleep_until(due).await,
            None => future::pending().await,
        }
    }

    /// Closes the window that is open, or else opens one.
    ///
    /// # Errors
    ///
    /// Why none could be opened.
    pub(super) fn turn(&mut self, kernel: &Kernel) -> Result<(), Reason> {
        let now = Instant::now();
        if let Some(Window { statistics, begun, before }) = self.open.take() {
            self.due = Some(begun + self.interval.max(WINDOW));
            if statistics.are_on(&self.proc_root) {
                let former = self.seen.take().unwrap_or_default();
                let sum = former.with(now - begun, &before, &kernel.runs());
                self.seen = Some(sum.into());
            }
            return Ok(());
        }
        self.due = Some(now + self.interval);
        let statistics = RunStatistics::switch_on(&self.proc_root)?;
        self.due = Some(now + WINDOW);
        self.open = Some(Window { statistics, begun: now, before: kernel.runs() });
        Ok(())
    }

    /// What all windows so far have shown; `None` before the first one has closed.
    pub(super) fn seen(&self) -> Option<Arc<BpfRunStats>> {
        self.seen.clone()
    }
}

impl BpfRunStats {
    /// The same with a further window.
    fn with(
        &self,
        elapsed: Duration,
        before: &BTreeMap<String, Runs>,
        after: &BTreeMap<String, Runs>,
    ) -> Self {
        let mut sum = self.clone();
        sum.seconds += elapsed.as_secs_f64();
        for (name, after) in after {
            // Who was loaded while the window was open had not run before.
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
    fn only_what_ran_in_windows_is_added() {
        let second = Duration::from_secs(1);
        let empty = BpfRunStats::default();
        let one = empty.with(second, &runs(&[("a", 10, 1_000)]), &runs(&[("a", 12, 1_500)]));
        // Somebody else had the statistics on in between; `b` is new.
        let after = runs(&[("a", 103, 9_500), ("b", 1, 250)]);
        let two = one.with(2 * second, &runs(&[("a", 100, 9_000)]), &after);
        let found = |name: &str| two.programs.get(name).map(|program| program.count);
        assert_eq!((found("a"), found("b"), found("c")), (Some(5), Some(1), None));
        assert!((two.seconds - 3.0).abs() < 1e-9);
        assert!((two.programs["a"].seconds - 1e-6).abs() < 1e-12);
        // A program that was loaded anew has counted less: nothing falls.
        let three = two.with(second, &runs(&[("a", 103, 9_500)]), &runs(&[("a", 1, 50)]));
        assert_eq!(three.programs["a"].count, 5);
    }

    #[test]
    fn without_programs_there_are_no_windows() {
        let options = crate::kernel::Options {
            off: Some(Reason::SingleSample),
            sys_root: "/sys".into(),
            unified: None,
            socket_ids: None,
            socket_level: None,
            slots: 16,
            watched_net: None,
            watched_block: None,
        };
        let windows = Windows::start(None, Path::new("/proc"), &Kernel::start(&options));
        assert!(windows.due.is_none() && windows.seen().is_none());
    }
}
