//! Whether our counters of block requests add up to the kernel's own of each device.
//!
//! The kernel tells our programs of a completion before it counts it itself (`blk_update_request`,
//! then `blk_account_io_done`, `block/blk-mq.c`). So what stands in its book was told to us before,
//! and where the book is ahead of our counters, though these are read after it, a program did not
//! run. Requests that complete between the two reads hide some of that until the next look; nothing
//! makes it larger than it is.

use std::collections::BTreeMap;

use tare_ebpf::BlockCell;

use crate::kernel_totals::Completed;

/// What our programs counted of one device, in all cgroups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Reads, writes and discards, failed ones included.
    pub ops: u64,
    /// Bytes of those that did not fail.
    bytes: u64,
    /// Failed ones: the kernel's book has their bytes.
    failed: u64,
    /// Requests of other kinds, of which the kernel's book may have some.
    others: u64,
    /// Operations with a flush of the device's cache, of which the kernel's book may lack some:
    /// that of Debian's Linux 6.12 lacks those without data.
    flushes: u64,
}

/// The kernel's book, by device as in [`Key::device`](tare_ebpf::Key::device).
pub type Told = BTreeMap<u32, Completed>;

/// Our book.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// By device, as in [`Told`].
    pub devices: BTreeMap<u32, Counted>,
    /// What found no slot: it may be any device's.
    pub overflow: Counted,
}

/// Both books, since they were first compared.
#[derive(Debug, Default)]
pub struct Ledger(BTreeMap<u32, Account>);

/// What the books say of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Operations that completed by the kernel's book.
    pub expected: u64,
    /// Operations that our programs saw.
    pub counted: u64,
    /// Operations that they are proved not to have seen. Never falls.
    pub lost: u64,
    /// Bytes of these; `None` once there was something of which the books have different bytes.
    pub lost_bytes: Option<u64>,
}

/// One device's books.
#[derive(Debug)]
struct Account {
    opened: Page,
    /// By how much the kernel's book was ahead at that time: at most, and at least.
    ahead_max: Ahead,
    ahead_min: Ahead,
    last: Page,
    lost: Lost,
    /// What was entered for former devices of the same number.
    former: Tally,
    /// Our book has what the kernel's lacks, so that one proves nothing.
    has_holes: bool,
    /// Something failed, or was of another kind.
    has_odd_bytes: bool,
}

/// Both books at one time.
#[derive(Clone, Copy, Debug)]
struct Page {
    told: Completed,
    counted: Counted,
}

/// By how much the kernel's book is ahead of ours.
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

impl Counted {
    /// Adds what a slot counted.
    pub fn add(&mut self, cell: &BlockCell) {
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

impl Counts {
    fn of(&self, device: u32) -> Counted {
        self.devices.get(&device).copied().unwrap_or_default()
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self { expected: 0, counted: 0, lost: 0, lost_bytes: Some(0) }
    }
}

impl Tally {
    /// Adds another device's.
    pub fn add(&mut self, other: &Self) {
        self.expected = self.expected.saturating_add(other.expected);
        self.counted = self.counted.saturating_add(other.counted);
        self.lost = self.lost.saturating_add(other.lost);
        self.lost_bytes = self.lost_bytes.zip(other.lost_bytes).map(|(a, b)| a.saturating_add(b));
    }
}

impl Page {
    fn ahead(&self) -> Ahead {
        let less = |told: u64, counted: u64| told.wrapping_sub(counted) as i64;
        Ahead {
            ops: less(self.told.ops, self.counted.ops),
            bytes: less(self.told.bytes, self.counted.bytes),
        }
    }
}

impl Ahead {
    fn max(self, other: Self) -> Self {
        Self { ops: self.ops.max(other.ops), bytes: self.bytes.max(other.bytes) }
    }
}

impl Ledger {
    /// Whether the kernel's book has a device that is not in the ledger, or one whose count fell:
    /// that is another device of the same number.
    pub fn has_new(&self, told: &Told) -> bool {
        told.iter().any(|(device, told)| self.0.get(device).is_none_or(|a| !a.continues(told)))
    }

    /// Enters new devices, by two readings of both books some time apart, ours first each time. A
    /// completion that is under way at the first reading, and in one book only, is in both at the
    /// second one.
    pub fn open(&mut self, first: (&Counts, &Told), second: (&Counts, &Told)) {
        for (device, told) in second.1 {
            let known = self.0.get(device);
            if known.is_some_and(|account| account.continues(told)) {
                continue;
            }
            let former = known.map(Account::entry).unwrap_or_default();
            let Some(earlier) = first.1.get(device).filter(|e| e.ops <= told.ops) else { continue };
            let page = |told: &Completed, counts: &Counts| Page {
                told: *told,
                counted: counts.of(*device),
            };
            let (before, now) = (page(earlier, first.0), page(told, second.0));
            let account = Account {
                opened: now,
                ahead_max: before.ahead().max(now.ahead()),
                ahead_min: page(earlier, second.0).ahead(),
                last: now,
                lost: Lost::default(),
                former,
                has_holes: false,
                has_odd_bytes: false,
            };
            self.0.insert(*device, account);
        }
    }

    /// Compares the kernel's book with ours, which `count` reads after it and which is returned.
    pub fn compare(&mut self, told: &Told, count: impl Fn() -> Counts) -> Counts {
        let mut counts = count();
        let grows = |(device, account): (&u32, &Account)| {
            let page = account.page(told, &counts, *device);
            page.is_some_and(|page| account.missing(&page, &counts.overflow).ops > account.lost.ops)
        };
        // The first counts of a slot show a moment before its key does.
        if self.0.iter().any(grows) {
            counts = count();
        }
        for (device, account) in &mut self.0 {
            if let Some(page) = account.page(told, &counts, *device) {
                account.turn(page, &counts.overflow);
            }
        }
        counts
    }

    /// What the books say of a device; `None` if they cannot be compared.
    pub fn entry(&self, device: u32) -> Option<Tally> {
        self.0.get(&device).filter(|account| !account.has_holes).map(Account::entry)
    }
}

impl Account {
    /// Whether this can be what the same device has completed later.
    fn continues(&self, told: &Completed) -> bool {
        told.ops >= self.last.told.ops
    }

    fn page(&self, told: &Told, counts: &Counts, device: u32) -> Option<Page> {
        let told = *told.get(&device).filter(|told| self.continues(told))?;
        Some(Page { told, counted: counts.of(device) })
    }

    /// What our book is proved to lack. Anything that is nowhere else counts as ours.
    fn missing(&self, page: &Page, overflow: &Counted) -> Lost {
        let others = page.counted.others.saturating_sub(self.opened.counted.others);
        let ours = others.saturating_add(overflow.others).saturating_add(overflow.ops);
        let more = |now: i64, then: i64| now.saturating_sub(then).max(0) as u64;
        let ahead = page.ahead();
        Lost {
            ops: more(ahead.ops, self.ahead_max.ops).saturating_sub(ours),
            bytes: more(ahead.bytes, self.ahead_max.bytes).saturating_sub(overflow.bytes),
        }
    }

    fn turn(&mut self, page: Page, overflow: &Counted) {
        // All that we had counted by the last look is in the kernel's book by now, if it is ever.
        let then = Page { told: page.told, counted: self.last.counted };
        let flushes = then.counted.flushes.saturating_sub(self.opened.counted.flushes);
        self.has_holes |= then.ahead().ops.saturating_add_unsigned(flushes) < self.ahead_min.ops;
        let odd = |counted: &Counted| counted.failed.wrapping_add(counted.others);
        self.has_odd_bytes |= odd(&page.counted) != odd(&self.opened.counted) || odd(overflow) != 0;
        let mut missing = self.missing(&page, overflow);
        // Flushes that only we count hide lost operations, but not their bytes.
        if missing.bytes > 0 && !self.has_odd_bytes {
            missing.ops = missing.ops.max(1);
        }
        self.lost.ops = self.lost.ops.max(missing.ops);
        self.lost.bytes = self.lost.bytes.max(missing.bytes);
        self.last = page;
    }

    fn entry(&self) -> Tally {
        let Page { told, counted } = &self.last;
        let mut entry = Tally {
            expected: told.ops.saturating_sub(self.opened.told.ops),
            counted: counted.ops.saturating_sub(self.opened.counted.ops),
            lost: self.lost.ops,
            lost_bytes: (!self.has_odd_bytes).then_some(self.lost.bytes),
        };
        entry.add(&self.former);
        entry
    }
}

#[cfg(test)]
mod tests;
