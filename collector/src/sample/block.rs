//! What a sample knows of block I/O besides the kernel's tables: who is charged, what was done
//! before us, what found no slot, and what the devices are called.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use tare_ebpf::{BlockCell, Cell, Key};
use tare_parsers::io::{Device, IoCounters, IoUsage};

use crate::{
    cgroup::{ReadError, Version},
    families::{ReadContext, Readers, block::BlockContext},
    kernel::{Kernel, Table},
    reason::Reason,
    registry::{Counters, InstanceId, TrackedCgroup},
    sample::{Sample, Sampler, Usage},
};

/// Whether the kernel charges a member with its block I/O at all, and why that is unknown or
/// incomplete.
pub(super) fn charge(
    tracked: &TrackedCgroup,
    kernel: &Kernel,
    reason: &mut Option<Reason>,
) -> bool {
    let Some(above) = tracked.readers.as_ref().and_then(Readers::block_charged_to) else {
        *reason = kernel.block.as_ref().err().cloned();
        return true;
    };
    let known = match reason {
        Some(Reason::IoChargedTo { ancestor }) => **ancestor == *above,
        _ => false,
    };
    // The path is copied once.
    if !known {
        *reason = Some(Reason::IoChargedTo { ancestor: above.into() });
    }
    false
}

/// Sets counts to what removed sub-cgroups had counted. Whatever is there stays there, because
/// counts do not fall.
pub(super) fn reset<C: Copy + Default>(counts: &mut BTreeMap<u32, C>, former: &BTreeMap<u32, C>) {
    for (device, count) in counts.iter_mut() {
        *count = former.get(device).copied().unwrap_or_default();
    }
    for (device, count) in former {
        counts.entry(*device).or_insert(*count);
    }
}

/// A device as the kernel's tables name it.
pub(super) fn number(device: Device) -> u32 {
    Key::device(0, device.major, device.minor).device
}

/// The inverse of [`number`].
pub(super) fn device(number: u32) -> Device {
    let (major, minor) = Key { device: number, ..Key::default() }.major_minor();
    Device { major, minor }
}

impl Sampler {
    pub(super) fn block_is_v1(&self) -> bool {
        let controller = self.registry.hierarchies().controller("blkio");
        controller.is_some_and(|controller| controller.version == Version::V1)
    }

    /// Looks for devices that came and went.
    pub(super) fn discover_devices(&mut self) {
        let Self { devices, kernel, .. } = self;
        devices.refresh();
        if kernel.block.is_ok() {
            kernel.count_bios(devices.bio_leaves().map(number));
        }
    }

    /// On v2, what members had done before us stands in `io.stat`: it is read once, at the same
    /// moment as the tables.
    pub(super) fn read_io_baseline(&mut self, usages: &mut [Usage]) {
        let Self { registry, kernel, buffer, baseline, .. } = self;
        let controller = registry.hierarchies().controller("blkio");
        let told = controller.is_some_and(|controller| controller.version == Version::V2);
        if !told || kernel.block.is_err() {
            return;
        }
        let now = Instant::now();
        let mut faults = Vec::new();
        for usage in usages.iter_mut().filter(|usage| usage.instance.preexisting) {
            let id = usage.instance.id;
            if usage.block.is_none() || baseline.contains_key(&id) {
                continue;
            }
            let readers = registry.get_mut(id).and_then(|tracked| tracked.readers.as_mut());
            let mut context = ReadContext::new(now, buffer);
            match readers.map(|readers| readers.read_block(&mut context)) {
                Some(Ok(io)) => usage.readings.block = io,
                None | Some(Err(ReadError::Vanished)) => {}
                Some(Err(fault)) => faults.push(fault),
            }
        }
        for fault in faults {
            registry.tell(&fault);
        }
    }

    /// Adds what was done before us. Devices of which we count nothing ourselves are left out:
    /// their numbers would stand still.
    ///
    /// What was submitted and not yet completed at the first sample is counted by both.
    pub(super) fn add_io_baseline(&mut self, usages: &mut [Usage]) {
        let Self { baseline, devices, .. } = self;
        for usage in usages {
            let Some(cells) = &mut usage.block else { continue };
            if let Some(io) = usage.readings.block.take() {
                let before = baseline.entry(usage.instance.id).or_default();
                for (device, io) in io.devices {
                    let known = devices.get(device);
                    if known.requests || !known.stacked {
                        let counted = cells.get(&number(device)).copied().unwrap_or_default();
                        before.insert(number(device), without(&io, &counted));
                    }
                }
            }
            if let Some(before) = baseline.get(&usage.instance.id) {
                usage.block_has_baseline = true;
                for (device, cell) in before {
                    cells.entry(*device).or_default().add(cell);
                }
            }
        }
    }

    /// Names the devices of all usages.
    pub(super) fn name_devices(&mut self, sample: &mut Sample) {
        let Sample { usages, block: BlockContext { devices: block_devices, .. }, .. } = sample;
        let all = || {
            let ended = self.receipts.iter().map(|receipt| &receipt.usage);
            usages.iter().chain(ended)
        };
        block_devices.retain(|number, _| all().any(|usage| usage.names(*number)));
        for usage in all() {
            let cells = usage.block.iter().flat_map(|cells| cells.keys().copied());
            let files =
                usage.readings.block.iter().flat_map(|io| &io.devices).map(|(device, _)| *device);
            for number in cells.chain(files.map(number)) {
                let known = self.devices.get(device(number));
                if block_devices.get(&number) != Some(known) {
                    block_devices.insert(number, known.clone());
                }
            }
        }
    }
}

impl Usage {
    /// Whether anything was counted on a device.
    fn names(&self, device: u32) -> bool {
        let counted = self.block.as_ref().is_some_and(|cells| cells.contains_key(&device));
        let told = |io: &IoUsage| io.devices.iter().any(|(told, _)| number(*told) == device);
        counted || self.readings.block.as_ref().is_some_and(told)
    }
}

/// What `io.stat` tells and our own counters do not.
fn without(io: &IoCounters, counted: &BlockCell) -> BlockCell {
    let mut before = BlockCell::default();
    before.read.bytes = io.read_bytes.saturating_sub(counted.read.bytes);
    before.read.ops = io.read_ops.saturating_sub(counted.read.ops);
    before.write.bytes = io.write_bytes.saturating_sub(counted.write.bytes);
    before.write.ops = io.write_ops.saturating_sub(counted.write.ops);
    before.discard.bytes = io.discard_bytes.unwrap_or(0).saturating_sub(counted.discard.bytes);
    before.discard.ops = io.discard_ops.unwrap_or(0).saturating_sub(counted.discard.ops);
    before
}

/// Who may have been counted as overflow: a member without a slot whose table has overflowed since
/// just before the member was first seen. Its numbers are unknown then, not 0.
#[derive(Debug, Default)]
pub(super) struct OverflowTracker {
    /// What the overflow had counted in the sample before a member's first one.
    before: HashMap<InstanceId, [u64; 2]>,
    /// What it had counted in the last sample, and now.
    last: [u64; 2],
    now: [u64; 2],
    found: Vec<[bool; 2]>,
}

/// Why numbers are unknown for want of a slot.
impl OverflowTracker {
    pub(super) fn begin(&mut self, now: [u64; 2], usages: &[Usage]) {
        for usage in usages {
            self.before.entry(usage.instance.id).or_insert(self.last);
        }
        self.now = now;
        self.found.clear();
        self.found.resize(usages.len(), [false; 2]);
    }

    /// Notes that a usage has a slot.
    pub(super) fn found(&mut self, counters: Counters, at: usize) {
        if let Some(found) = self.found.get_mut(at) {
            found[family(counters)] = true;
        }
    }

    /// Makes unknown what may be wrong.
    pub(super) fn strike(&self, usages: &mut [Usage]) {
        for (usage, found) in usages.iter_mut().zip(&self.found) {
            let before = self.before.get(&usage.instance.id).copied().unwrap_or_default();
            let missed = |family: usize| !found[family] && self.now[family] != before[family];
            if missed(family(Counters::Net)) {
                usage.net = None;
            }
            if missed(family(Counters::Block)) && usage.block.is_some() {
                (usage.block, usage.readings.block) = (None, None);
                usage.block_reason = Some(Reason::InOverflow);
            }
        }
    }

    /// A sample was taken: whoever comes later was not in the overflow until now.
    pub(super) fn sampled(&mut self) {
        self.last = self.now;
    }

    pub(super) fn forget(&mut self, id: InstanceId) {
        self.before.remove(&id);
    }

    pub(super) fn retain(&mut self, mut alive: impl FnMut(InstanceId) -> bool) {
        self.before.retain(|id, _| alive(*id));
    }
}

fn family(counters: Counters) -> usize {
    match counters {
        Counters::Net => 0,
        Counters::Block => 1,
    }
}

/// What the overflow of each table has counted.
pub(super) fn overflows(kernel: &Kernel) -> [u64; 2] {
    let block = kernel.block.as_ref().ok().map(|block| &block.table);
    [overflow(kernel.net.as_ref()), overflow(block)]
}

/// All that the overflow has counted, of whatever unit: only whether it grows matters.
fn overflow<C: Cell>(table: Option<&Table<C>>) -> u64 {
    let words = |cell: C| cell.words().iter().fold(0_u64, |sum, word| sum.wrapping_add(*word));
    table.map_or(0, |table| words(table.overflow()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_be_in_the_overflow_is_unknown_also_if_others_ended_meanwhile() {
        let usage = |id| {
            let net = Some(tare_ebpf::NetCell::default());
            Usage { net, ..Usage::of_path(id, "/docker/abc") }
        };
        let mut missed = OverflowTracker::default();
        let known = |missed: &mut OverflowTracker, overflow, id, is_found| {
            let mut usages = [usage(id)];
            missed.begin([overflow, 0], &usages);
            if is_found {
                missed.found(Counters::Net, 0);
            }
            missed.strike(&mut usages);
            usages[0].net.is_some()
        };
        assert!(known(&mut missed, 0, 1, false), "nothing overflowed");
        missed.sampled();
        assert!(known(&mut missed, 5, 2, true), "it has a slot and ended between two samples");
        assert!(!known(&mut missed, 5, 3, false), "born since the sample before");
        assert!(!known(&mut missed, 5, 1, false));
        missed.sampled();
        assert!(known(&mut missed, 5, 4, false), "nothing overflowed since it was born");
    }
}
