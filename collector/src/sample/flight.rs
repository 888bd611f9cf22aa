//! Requests that a device has, held against what it says itself.
//!
//! A request whose completion no program saw would be in flight for ever. But what the device was
//! given before it said that it has nothing is done, and no container can have more requests in
//! flight than its device has.

use std::collections::HashMap;

use tare_ebpf::BlockCell;

use crate::{registry::InstanceId, sample::Usage};

/// What is known of the requests of members on devices, by [`Key::device`](tare_ebpf::Key::device).
#[derive(Debug, Default)]
pub(super) struct Flights {
    in_progress: HashMap<u32, u64>,
    known: HashMap<(InstanceId, u32), Flight>,
}

/// One member's requests on one device.
#[derive(Debug, Default)]
struct Flight {
    /// Requests issued up to when the device last said that it had none: these are done.
    done: u64,
    /// Those whose completion no program saw.
    unseen: u64,
}

impl Flights {
    /// Takes out of the usages what is not in flight. `told` is what each device says that it has,
    /// read after what the usages say.
    pub(super) fn correct(&mut self, usages: &mut [Usage], told: impl Iterator<Item = (u32, u64)>) {
        self.in_progress.clear();
        self.in_progress.extend(told);
        for usage in usages {
            for (device, cell) in usage.block.iter_mut().flatten() {
                if let Some(in_progress) = self.in_progress.get(device) {
                    let flight = self.known.entry((usage.instance.id, *device)).or_default();
                    flight.correct(cell, *in_progress);
                }
            }
        }
    }

    /// Forgets who is gone.
    pub(super) fn retain(&mut self, mut alive: impl FnMut(InstanceId) -> bool) {
        self.known.retain(|(id, _), _| alive(*id));
    }
}

impl Flight {
    fn correct(&mut self, cell: &mut BlockCell, in_progress: u64) {
        // Judged one sample late: the kernel may take a request for completed some time before it
        // tells our programs. Completions of later requests only make this smaller.
        self.unseen = self.unseen.max(self.done.saturating_sub(cell.returned));
        if in_progress == 0 {
            self.done = cell.issued;
        }
        let in_flight = cell.issued.saturating_sub(cell.returned).saturating_sub(self.unseen);
        cell.returned = cell.issued.saturating_sub(in_flight.min(in_progress));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const DISK: u32 = 8 << 20;

    /// What stays in flight of a member's requests.
    fn in_flight(flights: &mut Flights, issued: u64, returned: u64, told: Option<u64>) -> u64 {
        let cell = BlockCell { issued, returned, ..BlockCell::default() };
        let mut usage = Usage::of_path(1, "/a");
        usage.block = Some(BTreeMap::from([(DISK, cell)]));
        flights.correct(std::slice::from_mut(&mut usage), told.map(|n| (DISK, n)).into_iter());
        let cell = usage.block.unwrap()[&DISK];
        cell.issued - cell.returned
    }

    #[test]
    fn nobody_has_more_in_flight_than_the_device() {
        let mut flights = Flights::default();
        assert_eq!(in_flight(&mut flights, 10, 7, Some(5)), 3);
        assert_eq!(in_flight(&mut flights, 10, 7, Some(2)), 2);
        assert_eq!(in_flight(&mut flights, 10, 7, Some(0)), 0);
        assert_eq!(in_flight(&mut Flights::default(), 10, 7, None), 3, "a device without a line");
        assert_eq!(in_flight(&mut flights, 7, 10, Some(9)), 0, "an issue that was not seen");
    }

    #[test]
    fn what_an_idle_device_proves_lost_is_not_in_flight_later() {
        let mut flights = Flights::default();
        assert_eq!(in_flight(&mut flights, 10, 8, Some(0)), 0);
        // Nothing came back since; the two of then are lost, the one of now is not.
        assert_eq!(in_flight(&mut flights, 11, 8, Some(4)), 1);
        assert_eq!(in_flight(&mut flights, 12, 9, Some(4)), 1);
    }

    #[test]
    fn a_completion_that_is_told_late_is_not_lost() {
        let mut flights = Flights::default();
        assert_eq!(in_flight(&mut flights, 10, 8, Some(0)), 0);
        assert_eq!(in_flight(&mut flights, 12, 10, Some(2)), 2);
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let mut flights = Flights::default();
        in_flight(&mut flights, 10, 8, Some(0));
        flights.retain(|_| false);
        assert_eq!(in_flight(&mut flights, 11, 8, Some(4)), 3);
    }
}
