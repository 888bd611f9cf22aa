//! Compares our counters of block requests with the kernel's own totals, at every sample.

use std::{collections::BTreeMap, mem, thread, time::Duration};

use jiff::Timestamp;
use tare_ebpf::BlockCell;

use crate::{
    cgroup::ReadError,
    devices::{BlockDevice, Devices},
    kernel::{Kernel, Table},
    kernel_totals::{DiskTotals, Diskstats},
    sample::{
        block_totals::{Comparison, KernelTotals, OwnCounts, OwnTotals},
        device_number::{device_number, device_of},
        reconcilers::{ReconciledCounts, Reconciliation},
    },
};

/// The time between two readings of a new device: a completion takes less from one total to the
/// other.
const SETTLE: Duration = Duration::from_millis(1);

/// Compares block requests.
#[derive(Debug)]
pub struct BlockReconciler {
    diskstats: Diskstats,
    comparison: Comparison,
    /// Counts of slots that were freed.
    released: BTreeMap<u32, OwnCounts>,
    lines: Vec<DiskTotals>,
    result: Option<Reconciliation>,
}

impl BlockReconciler {
    /// Compares with this file.
    pub fn new(diskstats: Diskstats) -> Self {
        Self {
            diskstats,
            comparison: Comparison::default(),
            released: BTreeMap::new(),
            lines: Vec::new(),
            result: None,
        }
    }

    /// The result of the last comparison; `None` if nothing could be compared.
    pub fn result(&self) -> Option<&Reconciliation> {
        self.result.as_ref()
    }

    /// Keeps the counts of a slot that is freed.
    pub(super) fn released(&mut self, device: u32, cell: &BlockCell) {
        self.released.entry(device).or_default().add(cell);
    }

    /// Requests that each device had at the last comparison.
    pub(super) fn in_progress(&self) -> impl Iterator<Item = (u32, u64)> {
        self.lines.iter().map(|disk| (device_number(disk.device), disk.in_progress))
    }

    fn read_kernel(&mut self, buffer: &mut Vec<u8>) -> Result<KernelTotals, ReadError> {
        self.diskstats.read(buffer, &mut self.lines)?;
        Ok(self.lines.iter().map(|disk| (device_number(disk.device), disk.completed)).collect())
    }

    /// Our own totals. No system call is made.
    fn read_own(&self, table: &Table<BlockCell>) -> OwnTotals {
        let mut counts = OwnTotals { devices: self.released.clone(), ..OwnTotals::default() };
        table.for_each(|_, key, cell| counts.devices.entry(key.device).or_default().add(cell));
        counts.overflow.add(&table.overflow());
        counts
    }

    /// Compares our counters with the kernel's totals. When the totals cannot be read, there is no
    /// result.
    pub(super) fn compare(
        &mut self,
        kernel: &Kernel,
        devices: &mut Devices,
        buffer: &mut Vec<u8>,
    ) -> Option<ReadError> {
        let block = kernel.block.as_ref().ok()?;
        match self.compare_totals(&block.table, buffer) {
            Ok(counts) => {
                self.summarize(&counts, devices);
                None
            }
            Err(error) => {
                self.result = None;
                self.lines.clear();
                Some(error)
            }
        }
    }

    fn compare_totals(
        &mut self,
        table: &Table<BlockCell>,
        buffer: &mut Vec<u8>,
    ) -> Result<OwnTotals, ReadError> {
        let kernel = self.read_kernel(buffer)?;
        if self.comparison.has_new(&kernel) {
            let first = (self.read_own(table), self.read_kernel(buffer)?);
            thread::sleep(SETTLE);
            let second = (self.read_own(table), self.read_kernel(buffer)?);
            self.comparison.start((&first.0, &first.1), (&second.0, &second.1));
        }
        let mut comparison = mem::take(&mut self.comparison);
        let counts = comparison.compare(&kernel, || self.read_own(table));
        self.comparison = comparison;
        Ok(counts)
    }

    fn summarize(&mut self, counts: &OwnTotals, devices: &mut Devices) {
        let since = self.result.as_ref().map_or_else(Timestamp::now, |result| result.since);
        let total = ReconciledCounts::default();
        let mut result =
            Reconciliation { since, total, covered: 0, uncovered: 0, losers: Vec::new() };
        for number in counts.devices.keys() {
            let BlockDevice { name, stacked, requests } = devices.get(device_of(*number));
            if *stacked {
                continue;
            }
            // Without `iostats` the kernel's totals of a device stay 0.
            let is_kept = |entry: &ReconciledCounts| entry.expected > 0 || entry.counted == 0;
            match self.comparison.entry(*number).filter(|entry| *requests && is_kept(entry)) {
                Some(entry) => {
                    result.covered += 1;
                    result.total.add(&entry);
                    if entry.lost > 0 {
                        let name = name.clone();
                        result.losers.push(name.unwrap_or_else(|| device_of(*number).to_string()));
                    }
                }
                None => result.uncovered += 1,
            }
        }
        result.total.counted += counts.overflow.ops;
        self.result = Some(result);
    }
}
