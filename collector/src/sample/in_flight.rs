//! Requests in flight, corrected by what the device itself says.
//!
//! A request whose completion no program saw would stay in flight for ever. But requests that were
//! issued before a device said that it has none are done, and no container can have more requests
//! in flight than its device has.

use tare_ebpf::BlockCell;

use crate::{families::block::ByDevice, hashing::HashMap, registry::InstanceId, sample::Usage};

/// The requests of instances on devices, by [`Key::device`](tare_ebpf::Key::device).
#[derive(Debug, Default)]
pub(super) struct InFlight {
    in_progress: HashMap<u32, u64>,
    known: HashMap<(InstanceId, u32), Requests>,
}

/// One instance's requests on one device.
#[derive(Debug, Default)]
struct Requests {
    /// Requests issued up to when the device last said that it had none: these are done.
    done: u64,
    /// Those whose completion no program saw.
    unseen: u64,
}

impl InFlight {
    /// Takes out of the usages what is not in flight. `in_progress` is the number of requests that
    /// each device says it has, read after the counters of the usages.
    pub(super) fn correct(
        &mut self,
        usages: &mut [Usage],
        in_progress: impl Iterator<Item = (u32, u64)>,
    ) {
        self.in_progress.clear();
        self.in_progress.extend(in_progress);
        for usage in usages {
            for (device, cell) in usage.block.iter_mut().flat_map(ByDevice::iter_mut) {
                if let Some(in_progress) = self.in_progress.get(&device) {
                    let requests = self.known.entry((usage.instance.id, device)).or_default();
                    requests.correct(cell, *in_progress);
                }
            }
        }
    }

    /// Forgets instances that are gone.
    pub(super) fn retain(&mut self, mut is_alive: impl FnMut(InstanceId) -> bool) {
        self.known.retain(|(id, _), _| is_alive(*id));
    }
}

impl Requests {
    fn correct(&mut self, cell: &mut BlockCell, in_progress: u64) {
        // One sample late: the device may count a request as completed some time before our program
        // runs. Completions of later requests only make this smaller.
        self.unseen = self.unseen.max(self.done.saturating_sub(cell.given_back()));
        if in_progress == 0 {
            self.done = cell.issued;
        }
        let in_flight = cell.in_flight().saturating_sub(self.unseen);
        cell.requeued = 0;
        cell.returned = cell.issued.saturating_sub(in_flight.min(in_progress));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: u32 = 8 << 20;

    /// Requests that stay in flight.
    fn in_flight(
        requests: &mut InFlight,
        issued: u64,
        returned: u64,
        in_progress: Option<u64>,
    ) -> u64 {
        let cell = BlockCell { issued, returned, ..BlockCell::default() };
        let mut usage = Usage::of_path(1, "/a");
        usage.block = Some(ByDevice::from_iter([(DISK, cell)]));
        requests
            .correct(std::slice::from_mut(&mut usage), in_progress.map(|n| (DISK, n)).into_iter());
        let cell = *usage.block.as_ref().unwrap().get(DISK).unwrap();
        cell.issued - cell.returned
    }

    #[test]
    fn no_container_has_more_in_flight_than_the_device() {
        let mut requests = InFlight::default();
        assert_eq!(in_flight(&mut requests, 10, 7, Some(5)), 3);
        assert_eq!(in_flight(&mut requests, 10, 7, Some(2)), 2);
        assert_eq!(in_flight(&mut requests, 10, 7, Some(0)), 0);
        assert_eq!(in_flight(&mut InFlight::default(), 10, 7, None), 3, "a device without a line");
        assert_eq!(in_flight(&mut requests, 7, 10, Some(9)), 0, "an issue that was not seen");
    }

    #[test]
    fn requests_that_an_idle_device_proves_lost_are_not_in_flight_later() {
        let mut requests = InFlight::default();
        assert_eq!(in_flight(&mut requests, 10, 8, Some(0)), 0);
        // Nothing came back since; the two of then are lost, the one of now is not.
        assert_eq!(in_flight(&mut requests, 11, 8, Some(4)), 1);
        assert_eq!(in_flight(&mut requests, 12, 9, Some(4)), 1);
    }

    #[test]
    fn a_completion_that_is_seen_late_is_not_lost() {
        let mut requests = InFlight::default();
        assert_eq!(in_flight(&mut requests, 10, 8, Some(0)), 0);
        assert_eq!(in_flight(&mut requests, 12, 10, Some(2)), 2);
    }

    #[test]
    fn instances_that_are_gone_are_forgotten() {
        let mut requests = InFlight::default();
        in_flight(&mut requests, 10, 8, Some(0));
        requests.retain(|_| false);
        assert_eq!(in_flight(&mut requests, 11, 8, Some(4)), 3);
    }
}
