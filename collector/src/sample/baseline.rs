//! Block I/O that cgroups had done before our programs counted.

use std::sync::Arc;

use tare_ebpf::{BlockCell, Cell};
use tare_parsers::io::IoCounters;

use crate::{
    cgroup::{ReadError, Version},
    devices::Devices,
    families::{Place, ReadContext, block::ByDevice},
    hashing::HashMap,
    kernel::Kernel,
    registry::{InstanceId, Registry},
    sample::{Usage, device_number::device_number},
};

/// What instances that are older than our programs had done on each device before. On v2
/// `io.stat` has it; on v1 no file does.
#[derive(Debug, Default)]
pub(super) struct Baseline(HashMap<InstanceId, ByDevice<BlockCell>>);

impl Baseline {
    /// Reads `io.stat` of instances whose baseline is not known yet, into their readings.
    pub(super) fn read(
        &self,
        registry: &mut Registry,
        kernel: &Kernel,
        context: &mut ReadContext<'_>,
        usages: &mut [Usage],
    ) -> Vec<ReadError> {
        let controller = registry.hierarchies().controller("blkio");
        let has_file = controller.is_some_and(|controller| controller.version == Version::V2);
        if !has_file || kernel.block.is_err() {
            return Vec::new();
        }
        let mut errors = Vec::new();
        for usage in usages.iter_mut().filter(|usage| usage.instance.preexisting) {
            let id = usage.instance.id;
            if usage.block.is_none() || self.0.contains_key(&id) {
                continue;
            }
            let (hierarchies, layout, tracked) = registry.part_mut(id);
            let read = tracked.and_then(|tracked| {
                let (path, is_young) = (&tracked.instance.path, tracked.is_young());
                let readers = tracked.readers.as_mut()?;
                let place = Place::of(readers, hierarchies, path, layout, is_young);
                Some(readers.read_block(&mut context.of_cgroup(place, None)))
            });
            match read {
                Some(Ok(io)) => usage.readings_mut().block = io,
                None | Some(Err(ReadError::Vanished)) => {}
                Some(Err(error)) => errors.push(error),
            }
        }
        errors
    }

    /// Adds the baseline to the counters. Devices that no program counts are left out: their
    /// numbers would stand still.
    ///
    /// A request that was submitted and not yet completed at the first sample is counted by both.
    pub(super) fn add(&mut self, devices: &mut Devices, usages: &mut [Usage]) {
        for usage in usages {
            let Some(cells) = &mut usage.block else { continue };
            if usage.instance.preexisting
                && !self.0.contains_key(&usage.instance.id)
                && usage.readings.block.is_some()
                && let Some(io) = Arc::make_mut(&mut usage.readings).block.take()
            {
                let before = self.0.entry(usage.instance.id).or_default();
                for (device, io) in io.devices {
                    let known = devices.get(device);
                    if known.requests || !known.stacked {
                        let number = device_number(device);
                        let counted = cells.get(number).copied().unwrap_or_default();
                        *before.get_or_default(number) = without(&io, &counted);
                    }
                }
            }
            if let Some(before) = self.0.get(&usage.instance.id) {
                usage.block_has_baseline = true;
                for (device, cell) in before.iter() {
                    cells.get_or_default(device).add(cell);
                }
            }
        }
    }

    pub(super) fn forget(&mut self, id: InstanceId) {
        self.0.remove(&id);
    }

    pub(super) fn retain(&mut self, mut is_alive: impl FnMut(InstanceId) -> bool) {
        self.0.retain(|id, _| is_alive(*id));
    }
}

/// The part of `io.stat` that our counters do not have.
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
