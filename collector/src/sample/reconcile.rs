//! Comparing what our programs counted with what the kernel did, at every sample.

use std::{collections::BTreeMap, mem, thread, time::Duration};

use jiff::Timestamp;
use tare_ebpf::BlockCell;

use super::{
    block::device,
    ledger::{Counted, Counts, Ledger, Tally, Told},
};
use crate::{
    cgroup::ReadError,
    devices::{BlockDevice, Devices},
    kernel::Table,
    kernel_totals::{DiskTotals, Diskstats},
    sample::{Sampler, Usage, block::number},
};

/// Between two looks at a new device: a completion takes less from one book to the other.
const SETTLE: Duration = Duration::from_millis(1);

/// Compares block requests.
#[derive(Debug)]
pub struct BlockReconciler {
    diskstats: Diskstats,
    ledger: Ledger,
    /// What slots that were given back had counted.
    released: BTreeMap<u32, Counted>,
    lines: Vec<DiskTotals>,
    proof: Option<Reconciliation>,
}

/// What the comparison proves.
#[derive(Clone, Debug)]
pub struct Reconciliation {
    /// Since when everything is compared.
    pub since: Timestamp,
    /// All devices together.
    pub total: Tally,
    /// Devices that are compared, and those of which nothing can be said. Only devices that did
    /// something, and stand on no others.
    pub covered: u64,
    /// Those of which nothing can be said.
    pub uncovered: u64,
    /// Names of the devices of which something is lost.
    pub losers: Vec<String>,
}

impl BlockReconciler {
    /// Compares with this file.
    pub fn new(diskstats: Diskstats) -> Self {
        Self {
            diskstats,
            ledger: Ledger::default(),
            released: BTreeMap::new(),
            lines: Vec::new(),
            proof: None,
        }
    }

    /// What the last comparison proved; `None` if nothing could be compared.
    pub fn proof(&self) -> Option<&Reconciliation> {
        self.proof.as_ref()
    }

    /// Keeps what a slot had counted that is given back.
    pub(super) fn released(&mut self, device: u32, cell: &BlockCell) {
        self.released.entry(device).or_default().add(cell);
    }

    /// Requests that each device had at the last comparison.
    fn in_progress(&self) -> impl Iterator<Item = (u32, u64)> {
        self.lines.iter().map(|disk| (number(disk.device), disk.in_progress))
    }

    fn told(&mut self, buffer: &mut Vec<u8>) -> Result<Told, ReadError> {
        self.diskstats.read(buffer, &mut self.lines)?;
        Ok(self.lines.iter().map(|disk| (number(disk.device), disk.completed)).collect())
    }

    /// Our own book. No system call is made.
    fn counts(&self, table: &Table<BlockCell>) -> Counts {
        let mut counts = Counts { devices: self.released.clone(), ..Counts::default() };
        table.for_each(|_, key, cell| counts.devices.entry(key.device).or_default().add(cell));
        counts.overflow.add(&table.overflow());
        counts
    }

    fn compare(
        &mut self,
        table: &Table<BlockCell>,
        buffer: &mut Vec<u8>,
    ) -> Result<Counts, ReadError> {
        let told = self.told(buffer)?;
        if self.ledger.has_new(&told) {
            let first = (self.counts(table), self.told(buffer)?);
            thread::sleep(SETTLE);
            let second = (self.counts(table), self.told(buffer)?);
            self.ledger.open((&first.0, &first.1), (&second.0, &second.1));
        }
        let mut ledger = mem::take(&mut self.ledger);
        let counts = ledger.compare(&told, || self.counts(table));
        self.ledger = ledger;
        Ok(counts)
    }

    fn prove(&mut self, counts: &Counts, devices: &mut Devices) {
        let since = self.proof.as_ref().map_or_else(Timestamp::now, |proof| proof.since);
        let total = Tally::default();
        let mut proof =
            Reconciliation { since, total, covered: 0, uncovered: 0, losers: Vec::new() };
        for key in counts.devices.keys() {
            let BlockDevice { name, stacked, requests } = devices.get(device(*key));
            if *stacked {
                continue;
            }
            // Without `iostats` the kernel keeps an empty book.
            let kept = |entry: &Tally| entry.expected > 0 || entry.counted == 0;
            match self.ledger.entry(*key).filter(|entry| *requests && kept(entry)) {
                Some(entry) => {
                    proof.covered += 1;
                    proof.total.add(&entry);
                    if entry.lost > 0 {
                        proof.losers.push(name.clone().unwrap_or_else(|| device(*key).to_string()));
                    }
                }
                None => proof.uncovered += 1,
            }
        }
        proof.total.counted += counts.overflow.ops;
        self.proof = Some(proof);
    }
}

impl Sampler {
    /// Compares the sum of the kernel side's counters with the kernel's own, and what is in flight
    /// with what devices have.
    pub(super) fn reconcile(&mut self, usages: &mut [Usage]) {
        let Self { kernel, registry, books, flights, buffer, devices, .. } = self;
        let Ok(block) = &kernel.block else { return };
        match books.compare(&block.table, buffer) {
            Ok(counts) => {
                books.prove(&counts, devices);
                flights.correct(usages, books.in_progress());
            }
            Err(fault) => {
                books.proof = None;
                registry.tell(&fault);
            }
        }
    }
}
