//! Whether our counters of block requests add up to the kernel's own totals of each device.
//!
//! A completion reaches our programs before the kernel counts it (`blk_update_request`, then
//! `blk_account_io_done`, `block/blk-mq.c`). Our counters are read after the kernel's totals, so
//! where the totals are ahead, a program did not run. Requests that complete between the two reads
//! hide some losses until the next comparison; nothing makes a loss larger than it is.

use std::collections::BTreeMap;

use tare_ebpf::BlockCell;

use crate::{kernel_totals::Completed, sample::reconcilers::ReconciledCounts};

/// What our programs counted of one device, in all cgroups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnCounts {
    /// Reads, writes and discards, failed ones included.
    pub ops: u64,
    /// Bytes of those that did not fail.
    bytes: u64,
    /// Failed ones: the kernel's totals have their bytes.
    failed: u64,
    /// Requests of other kinds, some of which the kernel's totals may have.
    others: u64,
    /// Operations with a flush of the device's cache, some of which the kernel's totals may lack:
    /// those of Debian's Linux 6.12 lack flushes without data.
    flushes: u64,
}

/// The kernel's totals, by device as in [`Key::device`](tare_ebpf::Key::device).
pub(super) type KernelTotals = BTreeMap<u32, Completed>;

/// Our totals.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnTotals {
    /// By device, as in [`KernelTotals`].
    pub devices: BTreeMap<u32, OwnCounts>,
    /// What found no slot: it may be any device's.
    pub overflow: OwnCounts,
}

/// Both totals of each device, since they were first compared.
#[derive(Debug, Default)]
pub(super) struct Comparison(BTreeMap<u32, DeviceComparison>);

/// Both totals of one device.
#[derive(Debug)]
struct DeviceComparison {
    first: Totals,
    /// By how much the kernel's total was ahead at that time: at most, and at least.
    ahead_max: Ahead,
    ahead_min: Ahead,
    last: Totals,
    lost: Lost,
    /// The results of former devices of the same number.
    former: ReconciledCounts,
    /// Our total has requests that the kernel's lacks, which therefore proves nothing.
    has_holes: bool,
    /// Something failed, or was of another kind.
    has_odd_bytes: bool,
}

/// Both totals at one time.
#[derive(Clone, Copy, Debug)]
struct Totals {
    kernel: Completed,
    counted: OwnCounts,
}

/// By how much the kernel's total is ahead of ours.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    ops: i64,
    bytes: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Lost {
    ops: u64,
    bytes: u64,
}

impl OwnCounts {
    /// Adds what a slot counted.
    pub(super) fn add(&mut self, cell: &BlockCell) {
        let kinds = [cell.read, cell.write, cell.discard];
        let ops = kinds.iter().fold(cell.errors, |sum, kind| sum.wrapping_add(kind.ops));
        let bytes = kinds.iter().fold(0, |sum: u64, kind| sum.wrapping_add(kind.bytes));
        self.ops = self.ops.wrapping_add(ops);
        self.bytes = self.bytes.wrapping_add(bytes);
        self.failed = self.failed.wrapping_add(cell.errors);
        self.others = self.others.wrapping_add(cell.others);
        self.flushes = self.flushes.wrapping_add(cell.flush_ops);
    }
}

impl OwnTotals {
    fn of(&self, device: u32) -> OwnCounts {
        self.devices.get(&device).copied().unwrap_or_default()
    }
}

impl Totals {
    fn ahead(&self) -> Ahead {
        let less = |kernel: u64, counted: u64| kernel.wrapping_sub(counted) as i64;
        Ahead {
            ops: less(self.kernel.ops, self.counted.ops),
            bytes: less(self.kernel.bytes, self.counted.bytes),
        }
    }
}

impl Ahead {
    fn max(self, other: Self) -> Self {
        Self { ops: self.ops.max(other.ops), bytes: self.bytes.max(other.bytes) }
    }
}

impl Comparison {
    /// Whether there is a device that was not compared yet, or one whose total fell: that is
    /// another device of the same number.
    pub(super) fn has_new(&self, kernel: &KernelTotals) -> bool {
        kernel
            .iter()
            .any(|(device, kernel)| self.0.get(device).is_none_or(|a| !a.continues(kernel)))
    }

    /// Begins to compare new devices, by two readings of both totals some time apart, ours first
    /// each time. A completion that is in one total only at the first reading is in both at the
    /// second.
    pub(super) fn start(
        &mut self,
        first: (&OwnTotals, &KernelTotals),
        second: (&OwnTotals, &KernelTotals),
    ) {
        for (device, kernel) in second.1 {
            let known = self.0.get(device);
            if known.is_some_and(|account| account.continues(kernel)) {
                continue;
            }
            let former = known.map(DeviceComparison::entry).unwrap_or_default();
            let Some(earlier) = first.1.get(device).filter(|e| e.ops <= kernel.ops) else {
                continue;
            };
            let totals = |kernel: &Completed, counts: &OwnTotals| Totals {
                kernel: *kernel,
                counted: counts.of(*device),
            };
            let (before, now) = (totals(earlier, first.0), totals(kernel, second.0));
            let account = DeviceComparison {
                first: now,
                ahead_max: before.ahead().max(now.ahead()),
                ahead_min: totals(earlier, second.0).ahead(),
                last: now,
                lost: Lost::default(),
                former,
                has_holes: false,
                has_odd_bytes: false,
            };
            self.0.insert(*device, account);
        }
    }

    /// Compares the kernel's totals with ours, which `count` reads after them and which are
    /// returned.
    pub(super) fn compare(
        &mut self,
        kernel: &KernelTotals,
        count: impl Fn() -> OwnTotals,
    ) -> OwnTotals {
        let mut counts = count();
        let grows = |(device, account): (&u32, &DeviceComparison)| {
            let totals = account.totals(kernel, &counts, *device);
            totals.is_some_and(|totals| {
                account.missing(&totals, &counts.overflow).ops > account.lost.ops
            })
        };
        // The first counts of a slot are visible a moment before its key.
        if self.0.iter().any(grows) {
            counts = count();
        }
        for (device, account) in &mut self.0 {
            if let Some(totals) = account.totals(kernel, &counts, *device) {
                account.update(totals, &counts.overflow);
            }
        }
        counts
    }

    /// The result of one device; `None` if its totals cannot be compared.
    pub(super) fn entry(&self, device: u32) -> Option<ReconciledCounts> {
        self.0.get(&device).filter(|account| !account.has_holes).map(DeviceComparison::entry)
    }
}

impl DeviceComparison {
    /// Whether this can be what the same device has completed later.
    fn continues(&self, kernel: &Completed) -> bool {
        kernel.ops >= self.last.kernel.ops
    }

    fn totals(&self, kernel: &KernelTotals, counts: &OwnTotals, device: u32) -> Option<Totals> {
        let kernel = *kernel.get(&device).filter(|kernel| self.continues(kernel))?;
        Some(Totals { kernel, counted: counts.of(device) })
    }

    /// The requests that our total provably lacks. Requests of unknown devices count as seen.
    fn missing(&self, totals: &Totals, overflow: &OwnCounts) -> Lost {
        let others = totals.counted.others.saturating_sub(self.first.counted.others);
        let ours = others.saturating_add(overflow.others).saturating_add(overflow.ops);
        let more = |now: i64, then: i64| now.saturating_sub(then).max(0) as u64;
        let ahead = totals.ahead();
        Lost {
            ops: more(ahead.ops, self.ahead_max.ops).saturating_sub(ours),
            bytes: more(ahead.bytes, self.ahead_max.bytes).saturating_sub(overflow.bytes),
        }
    }

    fn update(&mut self, totals: Totals, overflow: &OwnCounts) {
        // What we had counted by the last comparison is in the kernel's total by now, if ever.
        let then = Totals { kernel: totals.kernel, counted: self.last.counted };
        let flushes = then.counted.flushes.saturating_sub(self.first.counted.flushes);
        self.has_holes |= then.ahead().ops.saturating_add_unsigned(flushes) < self.ahead_min.ops;
        let odd = |counted: &OwnCounts| counted.failed.wrapping_add(counted.others);
        self.has_odd_bytes |=
            odd(&totals.counted) != odd(&self.first.counted) || odd(overflow) != 0;
        let mut missing = self.missing(&totals, overflow);
        // Flushes that only we count hide lost operations, but not lost bytes.
        if missing.bytes > 0 && !self.has_odd_bytes {
            missing.ops = missing.ops.max(1);
        }
        self.lost.ops = self.lost.ops.max(missing.ops);
        self.lost.bytes = self.lost.bytes.max(missing.bytes);
        self.last = totals;
    }

    fn entry(&self) -> ReconciledCounts {
        let Totals { kernel, counted } = &self.last;
        let mut entry = ReconciledCounts {
            expected: kernel.ops.saturating_sub(self.first.kernel.ops),
            counted: counted.ops.saturating_sub(self.first.counted.ops),
            lost: self.lost.ops,
            lost_bytes: (!self.has_odd_bytes).then_some(self.lost.bytes),
        };
        entry.add(&self.former);
        entry
    }
}

#[cfg(test)]
mod tests;
