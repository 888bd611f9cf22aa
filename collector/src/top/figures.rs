//! The numbers of a row: shares, sizes, and rates since the previous report.

use tare_model::{Container, NetworkIo};

/// A number that has a column of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    /// Share of one CPU, in percent.
    Cpu,
    /// Working set, in bytes.
    Memory,
    /// Working set as a share of the limit, in percent.
    MemoryPercent,
    /// Bytes received per second.
    Rx,
    /// Bytes sent per second.
    Tx,
    /// Bytes read from block devices per second.
    Read,
    /// Bytes written to block devices per second.
    Write,
    /// Processes and threads.
    Pids,
    /// Tasks running, ready to run or in uninterruptible sleep, averaged over 10 s.
    Load,
    /// Tasks running and ready to run.
    Runnable,
    /// Tasks in uninterruptible sleep.
    Blocked,
    /// Tasks that waited for a CPU, on average over the last seconds.
    RunWait,
}

/// How many figures there are.
const FIGURES: usize = 12;

/// All figures of a row. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Figures([Option<f64>; FIGURES]);

/// The figures of several rows together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sum {
    /// The sums of the known values.
    pub figures: Figures,
    partial: [bool; FIGURES],
}

/// Counters of a row, for the rates of the next report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    network: [Option<u64>; 2],
    /// Whether these are bytes of the container's own sockets. They are not comparable with those
    /// of devices.
    own_sockets: bool,
    block: [Option<u64>; 2],
}

impl Figures {
    /// The figures of a row. Rates need `before`: earlier counters, and how many seconds ago they
    /// were read.
    pub(super) fn of(row: &Container, now: &Counters, before: Option<(&Counters, f64)>) -> Self {
        let mut figures = Self::default();
        figures.set(Figure::Cpu, row.cpu.percent);
        figures.set(Figure::Memory, row.memory.working_set_bytes.map(|bytes| bytes as f64));
        figures.set(Figure::MemoryPercent, row.memory.percent);
        figures.set(Figure::Pids, row.pids.current.map(|pids| pids as f64));
        let tasks = &row.tasks;
        let runnable = tasks.running.zip(tasks.runnable).map(|(running, ready)| running + ready);
        figures.set(Figure::Load, tasks.load.map(|load| load.ten_seconds));
        figures.set(Figure::Runnable, runnable.map(|tasks| tasks as f64));
        figures.set(Figure::Blocked, tasks.uninterruptible.map(|tasks| tasks as f64));
        figures.set(Figure::RunWait, tasks.waiting_for_cpu);
        if let Some((before, seconds)) = before {
            if before.own_sockets == now.own_sockets {
                figures.set(Figure::Rx, rate(before.network[0], now.network[0], seconds));
                figures.set(Figure::Tx, rate(before.network[1], now.network[1], seconds));
            }
            figures.set(Figure::Read, rate(before.block[0], now.block[0], seconds));
            figures.set(Figure::Write, rate(before.block[1], now.block[1], seconds));
        }
        figures
    }

    /// The value of a figure.
    pub(super) fn get(&self, figure: Figure) -> Option<f64> {
        self.0[figure as usize]
    }

    /// The sum of two figures; `None` if both are unknown.
    pub(super) fn both(&self, [first, second]: [Figure; 2]) -> Option<f64> {
        match (self.get(first), self.get(second)) {
            (None, None) => None,
            (first, second) => Some(first.unwrap_or(0.0) + second.unwrap_or(0.0)),
        }
    }

    /// Sets the value of a figure.
    pub(super) fn set(&mut self, figure: Figure, value: Option<f64>) {
        self.0[figure as usize] = value;
    }
}

impl Sum {
    /// Adds the figures of a row.
    pub(super) fn add(&mut self, other: &Figures) {
        for ((sum, partial), value) in
            self.figures.0.iter_mut().zip(&mut self.partial).zip(&other.0)
        {
            match value {
                Some(value) => *sum = Some(sum.unwrap_or(0.0) + value),
                None => *partial = true,
            }
        }
    }

    /// Whether the sum of a figure leaves out rows because their value is unknown.
    pub(super) fn is_partial(&self, figure: Figure) -> bool {
        self.partial[figure as usize]
    }
}

impl Counters {
    /// The counters of a row.
    pub(super) fn of(row: &Container) -> Self {
        let NetworkIo { rx_bytes, tx_bytes, own_sockets } = row.network.io();
        let block = &row.block.total;
        Self {
            network: [rx_bytes, tx_bytes],
            own_sockets,
            block: [block.read_bytes, block.write_bytes],
        }
    }
}

/// Growth per second. `None` if the counter fell, because then it is another counter.
pub(super) fn rate(before: Option<u64>, now: Option<u64>, seconds: f64) -> Option<f64> {
    let grown = now?.checked_sub(before?)?;
    (seconds > 0.0).then(|| grown as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::fixture;

    #[test]
    fn rates_are_growth_per_second_and_unknown_after_a_fall() {
        assert_eq!(rate(Some(10), Some(30), 2.0), Some(10.0));
        assert_eq!(rate(Some(30), Some(10), 2.0), None);
        assert_eq!(rate(None, Some(10), 2.0), None);
        assert_eq!(rate(Some(10), Some(30), 0.0), None);
    }

    #[test]
    fn devices_and_own_sockets_are_not_compared() {
        let row = fixture::web();
        let now = Counters::of(&row);
        let same = Figures::of(&row, &now, Some((&now, 1.0)));
        assert_eq!((same.get(Figure::Rx), same.get(Figure::Write)), (Some(0.0), Some(0.0)));
        let other = Counters { own_sockets: true, ..now };
        let changed = Figures::of(&row, &now, Some((&other, 1.0)));
        assert_eq!((changed.get(Figure::Rx), changed.get(Figure::Write)), (None, Some(0.0)));
        assert_eq!(Figures::of(&row, &now, None).get(Figure::Read), None);
    }

    #[test]
    fn sums_mark_what_they_leave_out() {
        let mut sum = Sum::default();
        let mut row = Figures::default();
        row.set(Figure::Cpu, Some(2.5));
        sum.add(&row);
        row.set(Figure::Pids, Some(3.0));
        sum.add(&row);
        assert_eq!(sum.figures.get(Figure::Cpu), Some(5.0));
        assert!(!sum.is_partial(Figure::Cpu));
        assert_eq!(
            (sum.figures.get(Figure::Pids), sum.is_partial(Figure::Pids)),
            (Some(3.0), true)
        );
        assert_eq!((sum.figures.get(Figure::Rx), sum.is_partial(Figure::Rx)), (None, true));
    }
}
