//! The phases of a sample that read the kernel's counter tables.

use std::collections::HashSet;

use tare_ebpf::{BlockCell, Cell, Key, NetCell, TaskTimes};
use tare_parsers::io::IoUsage;

use crate::{
    cgroup::ReadError,
    devices::Devices,
    families::{ReadContext, Readers, block::ByDevice},
    kernel::{BlockPrograms, Kernel},
    reason::Reason,
    registry::{Counters, InstanceId, Registry, TrackedCgroup},
    sample::{
        Reconcilers, Sample, Usage,
        baseline::Baseline,
        device_number::{device_number, device_of},
        in_flight::InFlight,
        overflow::{OverflowTracker, overflows},
        receipts::Receipts,
    },
};

/// Reads the counters of the kernel's tables into usages.
#[derive(Debug, Default)]
pub(super) struct CounterReader {
    baseline: Baseline,
    overflow: OverflowTracker,
    in_flight: InFlight,
}

impl CounterReader {
    /// Reads what instances did before our programs counted, where a file has it.
    pub(super) fn read_baseline(
        &self,
        registry: &mut Registry,
        kernel: &Kernel,
        context: &mut ReadContext<'_>,
        usages: &mut [Usage],
    ) -> Vec<ReadError> {
        start_all(registry, kernel, usages);
        self.baseline.read(registry, kernel, context, usages)
    }

    /// Sums the kernel's counters of each instance. No system call is made.
    pub(super) fn read(&mut self, registry: &Registry, kernel: &Kernel, usages: &mut [Usage]) {
        self.read_last(registry, kernel, usages);
        self.overflow.finish();
    }

    /// The same for instances that ended: they are not part of a sample.
    pub(super) fn read_last(&mut self, registry: &Registry, kernel: &Kernel, usages: &mut [Usage]) {
        let Self { overflow, .. } = self;
        overflow.begin(overflows(kernel), usages);
        // Ids only grow, so the usages are sorted by them.
        let find = |usages: &mut [Usage], counters, key: Key| {
            let owner = registry.owner(counters, key.cgroup_id)?;
            usages.binary_search_by_key(&owner, |usage| usage.instance.id).ok()
        };
        if let Some(net) = &kernel.net {
            let is_whole = net.for_each(|_, key, cell| {
                if let Some(at) = find(usages, Counters::Net, key)
                    && let Some(sum) = &mut usages[at].net
                {
                    overflow.found(Counters::Net, at);
                    sum.make_mut().add(cell);
                }
            });
            if !is_whole {
                usages.iter_mut().for_each(|usage| usage.net = None);
            }
        }
        if let Ok(BlockPrograms { table, latency, .. }) = &kernel.block {
            let mut has_latencies = true;
            let is_whole = table.for_each(|slot, key, cell| {
                has_latencies &= latency.is_readable(slot);
                if let Some(at) = find(usages, Counters::Block, key)
                    && let Some(devices) = &mut usages[at].block
                {
                    overflow.found(Counters::Block, at);
                    devices.get_or_default(key.device).add(cell);
                    let sum = usages[at].latency.get_or_default(key.device);
                    sum.add(&latency.of(slot));
                }
            });
            if !is_whole || !has_latencies {
                usages.iter_mut().for_each(|usage| usage.block = None);
            }
        }
        self.clear_missed(usages);
    }

    /// Takes out of the counters what a device says is not in flight.
    pub(super) fn correct_in_flight(
        &mut self,
        in_progress: impl Iterator<Item = (u32, u64)>,
        usages: &mut [Usage],
    ) {
        self.in_flight.correct(usages, in_progress);
    }

    /// Adds what was done before our programs counted.
    pub(super) fn add_baseline(&mut self, devices: &mut Devices, usages: &mut [Usage]) {
        self.baseline.add(devices, usages);
    }

    /// Forgets an instance that ended.
    pub(super) fn forget(&mut self, id: InstanceId) {
        self.baseline.forget(id);
        self.overflow.forget(id);
    }

    /// Forgets instances that are gone.
    pub(super) fn retain(&mut self, is_alive: impl Fn(InstanceId) -> bool) {
        self.baseline.retain(&is_alive);
        self.overflow.retain(&is_alive);
        self.in_flight.retain(&is_alive);
    }

    /// Makes counters unknown that may be in the overflow.
    fn clear_missed(&self, usages: &mut [Usage]) {
        if !self.overflow.is_any() {
            return;
        }
        for (at, usage) in usages.iter_mut().enumerate() {
            if self.overflow.is_missed(Counters::Net, at, usage.instance.id) {
                usage.net = None;
            }
            if self.overflow.is_missed(Counters::Block, at, usage.instance.id)
                && usage.block.is_some()
            {
                usage.block = None;
                if usage.readings.block.is_some() {
                    usage.readings_mut().block = None;
                }
                usage.block_reason = Some(Reason::InOverflow);
            }
        }
    }
}

/// Sets the counters of all usages to those of removed sub-cgroups.
fn start_all(registry: &Registry, kernel: &Kernel, usages: &mut [Usage]) {
    // Both are in the order of their numbers, and each usage is of one that is alive.
    let mut living = registry.tracked();
    for usage in usages {
        if let Some(tracked) = living.find(|tracked| tracked.instance.id == usage.instance.id) {
            start(usage, tracked, kernel);
        }
    }
}

/// Sets an instance's counters to those of its removed sub-cgroups. Where a program counts and the
/// instance has no slot, there was nothing else to count.
pub(super) fn start(usage: &mut Usage, tracked: &TrackedCgroup, kernel: &Kernel) {
    let is_charged = is_charged(tracked, kernel, &mut usage.block_reason);
    let removed = tracked.removed.as_deref();
    if kernel.net.is_some() && tracked.has_sockets {
        let counted = removed.map(|removed| removed.net).unwrap_or_default();
        usage.net.get_or_insert_default().set(counted);
    } else {
        usage.net = None;
    }
    if kernel.block.is_ok() && is_charged {
        reset(usage.block.get_or_insert_default(), removed.map(|removed| &removed.block));
    } else {
        usage.block = None;
    }
    reset(&mut usage.latency, removed.map(|removed| &removed.latency));
}

/// Cgroups of which something is counted.
pub(super) fn counted_cgroups(kernel: &Kernel) -> HashSet<(Counters, u64)> {
    let mut cgroups = HashSet::new();
    if let Some(net) = &kernel.net {
        net.for_each_slot(|_, key| {
            cgroups.insert((Counters::Net, key.cgroup_id));
        });
    }
    if let Ok(tasks) = &kernel.tasks {
        tasks.gone.for_each_slot(|_, key| {
            cgroups.insert((Counters::Net, key.cgroup_id));
        });
    }
    if let Ok(block) = &kernel.block {
        block.table.for_each_slot(|_, key| {
            cgroups.insert((Counters::Block, key.cgroup_id));
        });
    }
    cgroups
}

/// Stops counting for cgroups that are gone.
pub(super) fn retire(
    registry: &Registry,
    kernel: &mut Kernel,
    is_gone: impl Fn(&Registry, Counters, u64) -> bool,
) {
    if let Some(net) = &mut kernel.net {
        net.retire(|key| is_gone(registry, Counters::Net, key.cgroup_id));
    }
    if let Ok(tasks) = &mut kernel.tasks {
        tasks.gone.retire(|key| is_gone(registry, Counters::Net, key.cgroup_id));
    }
    if let Ok(block) = &mut kernel.block {
        block.table.retire(|key| is_gone(registry, Counters::Block, key.cgroup_id));
    }
}

/// Adds the counters of removed sub-cgroups to their owners, and frees the slots.
pub(super) fn release(registry: &mut Registry, kernel: &mut Kernel, reconcilers: &mut Reconcilers) {
    let Kernel { net, block, tasks, .. } = kernel;
    if let Ok(tasks) = tasks {
        tasks.gone.release(|_, key, times: &TaskTimes| {
            let owner = registry.owner(Counters::Net, key.cgroup_id);
            if let Some(tracked) = owner.and_then(|owner| registry.get_mut(owner)) {
                tracked.removed_mut().tasks.add(times);
            }
        });
    }
    if let Some(net) = net {
        net.release(|_, key, cell: &NetCell| {
            reconcilers.retransmits.released(cell);
            let owner = registry.owner(Counters::Net, key.cgroup_id);
            if let Some(tracked) = owner.and_then(|owner| registry.get_mut(owner)) {
                tracked.removed_mut().net.add(cell);
            }
        });
    }
    if let Ok(BlockPrograms { table, latency, .. }) = block {
        table.release(|slot, key, cell: &BlockCell| {
            reconcilers.block.released(key.device, cell);
            let times = latency.finish(slot);
            let owner = registry.owner(Counters::Block, key.cgroup_id);
            if let Some(tracked) = owner.and_then(|owner| registry.get_mut(owner)) {
                let removed = tracked.removed_mut();
                removed.block.get_or_default(key.device).add(cell);
                removed.latency.get_or_default(key.device).add(&times);
            }
        });
    }
}

impl Sample {
    /// Names the devices of all usages and receipts.
    pub(super) fn name_devices(&mut self, devices: &mut Devices, receipts: &Receipts) {
        let Self { usages, block, .. } = self;
        let all = || {
            let ended = receipts.iter().map(|receipt| &receipt.usage);
            usages.iter().chain(ended)
        };
        block.devices.retain(|number, _| all().any(|usage| usage.has_device(*number)));
        for usage in all() {
            let cells = usage.block.iter().flat_map(ByDevice::iter).map(|(device, _)| device);
            let files = usage.block_files().into_iter().flat_map(|io| &io.devices);
            for number in cells.chain(files.map(|(device, _)| device_number(*device))) {
                let known = devices.get(device_of(number));
                if block.devices.get(&number) != Some(known) {
                    block.devices.insert(number, known.clone());
                }
            }
        }
    }
}

impl Usage {
    /// Block I/O from files, where no program counts it.
    fn block_files(&self) -> Option<&IoUsage> {
        if self.block.is_some() { None } else { self.readings.block.as_ref() }
    }

    fn has_device(&self, device: u32) -> bool {
        let counted = self.block.as_ref().is_some_and(|cells| cells.get(device).is_some());
        let mut files = self.block_files().into_iter().flat_map(|io| &io.devices);
        counted || files.any(|(read, _)| device_number(*read) == device)
    }
}

/// Whether the kernel charges an instance with its own block I/O, and why that is unknown or
/// incomplete.
fn is_charged(tracked: &TrackedCgroup, kernel: &Kernel, reason: &mut Option<Reason>) -> bool {
    let Some(above) = tracked.readers.as_ref().and_then(Readers::block_charged_to) else {
        *reason = kernel.block.as_ref().err().cloned();
        return true;
    };
    let is_known = match reason {
        Some(Reason::IoChargedTo { ancestor }) => **ancestor == *above,
        _ => false,
    };
    // The path is copied once.
    if !is_known {
        *reason = Some(Reason::IoChargedTo { ancestor: above.into() });
    }
    false
}

/// Sets counts to those of removed sub-cgroups. Entries stay, because counts do not fall.
fn reset<C: Copy + Default>(counts: &mut ByDevice<C>, removed: Option<&ByDevice<C>>) {
    for (device, count) in counts.iter_mut() {
        *count = removed.and_then(|removed| removed.get(device)).copied().unwrap_or_default();
    }
    for (device, count) in removed.iter().flat_map(|removed| removed.iter()) {
        *counts.get_or_default(device) = *count;
    }
}
