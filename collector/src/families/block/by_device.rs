//! Counters by block device.

use serde::{Deserialize, Serialize};

/// Counters of one cgroup, by [`Key::device`](tare_ebpf::Key::device).
///
/// Most cgroups use one device, and a histogram of latencies takes half a KiB: memory is taken for
/// those that are there, where a node of a tree would have room for eleven.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ByDevice<C>(Vec<(u32, C)>);

impl<C: Default> ByDevice<C> {
    /// The counters of a device, which is added if it is not there.
    pub fn get_or_default(&mut self, device: u32) -> &mut C {
        let at = self.at(device).unwrap_or_else(|at| {
            self.0.reserve_exact(1);
            self.0.insert(at, (device, C::default()));
            at
        });
        &mut self.0[at].1
    }
}

impl<C> ByDevice<C> {
    /// No device.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The counters of a device.
    pub fn get(&self, device: u32) -> Option<&C> {
        self.at(device).ok().map(|at| &self.0[at].1)
    }

    /// All devices with their counters.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &C)> {
        self.0.iter().map(|(device, counters)| (*device, counters))
    }

    /// The same, to change the counters.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut C)> {
        self.0.iter_mut().map(|(device, counters)| (*device, counters))
    }

    fn at(&self, device: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&device, |(device, _)| *device)
    }
}

impl<C> Default for ByDevice<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> FromIterator<(u32, C)> for ByDevice<C> {
    fn from_iter<T: IntoIterator<Item = (u32, C)>>(counters: T) -> Self {
        let mut counters: Vec<_> = counters.into_iter().collect();
        counters.sort_by_key(|(device, _)| *device);
        counters.dedup_by_key(|(device, _)| *device);
        Self(counters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_has_its_counters_and_no_more_memory_than_that() {
        let mut counters = ByDevice::<u64>::new();
        for device in [7, 3, 9, 3, 7] {
            *counters.get_or_default(device) += 1;
        }
        assert_eq!(counters.iter().collect::<Vec<_>>(), [(3, &2), (7, &2), (9, &1)]);
        assert_eq!((counters.get(9), counters.get(8)), (Some(&1), None));
        assert_eq!(counters.0.capacity(), 3);
        assert_eq!(counters, [(9, 1), (3, 2), (7, 2)].into_iter().collect());
    }
}
