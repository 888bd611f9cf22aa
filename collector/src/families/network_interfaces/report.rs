//! From counters of network devices to the contract.

use std::collections::BTreeMap;

use tare_model::Interface;

/// The devices of a network namespace, without `lo`.
pub fn report(devices: &[(String, Interface)]) -> BTreeMap<String, Interface> {
    devices.iter().cloned().collect()
}
