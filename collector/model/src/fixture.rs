//! Hand-made reports for tests.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{Container, Host, Interface, Kind, Report};

/// A report of some containers over one second.
pub(crate) fn report(containers: Vec<Container>) -> Report {
    Report {
        time: Timestamp::UNIX_EPOCH,
        interval_seconds: Some(1.0),
        host: Host { online_cpus: Some(2), cgroup_layout: "v2".into(), ..Host::default() },
        sources: BTreeMap::new(),
        ended: Vec::new(),
        parents: Vec::new(),
        containers,
    }
}

/// A row of which only the id is known.
pub(crate) fn unknown(kind: Kind, id: &str) -> Container {
    Container { cgroup: format!("/{id}"), ..Container::unknown(kind, id.to_owned()) }
}

/// A container with a device and block I/O.
pub(crate) fn web() -> Container {
    let device = Interface { rx_bytes: 10_500_000, tx_bytes: 656, ..Interface::default() };
    let mut row = unknown(Kind::Container, &"3f4e".repeat(16));
    row.cpu.percent = Some(12.345);
    row.memory.working_set_bytes = Some(1_265_664);
    row.network.interfaces = Some(BTreeMap::from([("eth0".to_owned(), device)]));
    row.network.host_namespace = Some(false);
    row.block.total.read_bytes = Some(0);
    row.block.total.write_bytes = Some(4_096);
    row.pids.current = Some(3);
    row
}
