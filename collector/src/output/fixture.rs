//! Hand-made reports for tests.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tare_model::{Container, Host, Interface, Kind, Report};

pub(crate) const ID: &str = "3f4e1b2a9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f";

pub(crate) fn report(containers: Vec<Container>) -> Report {
    Report {
        time: Timestamp::UNIX_EPOCH,
        interval_seconds: Some(1.0),
        host: Host {
            hostname: Some("box".to_owned()),
            online_cpus: Some(2),
            cgroup_layout: "v2".into(),
            ..Host::default()
        },
        sources: BTreeMap::new(),
        ended: Vec::new(),
        parents: Vec::new(),
        containers,
    }
}

/// A row with nothing but its id.
pub(crate) fn unknown(kind: Kind, id: &str) -> Container {
    Container { cgroup: format!("/{id}"), ..Container::unknown(kind, id.to_owned()) }
}

/// A container with everything that a table shows.
pub(crate) fn web() -> Container {
    let device = Interface { rx_bytes: 10_500_000, tx_bytes: 656, ..Interface::default() };
    let mut row = unknown(Kind::Container, ID);
    row.name = Some("web".to_owned());
    row.cpu.percent = Some(12.345);
    row.memory.usage_bytes = Some(9_999_999);
    row.memory.working_set_bytes = Some(1_265_664);
    row.memory.limit_bytes = Some(25_200_000_000);
    row.memory.percent = Some(0.005);
    row.network.interfaces = Some(BTreeMap::from([
        ("eth0".to_owned(), device),
        ("eth1".to_owned(), Interface { tx_bytes: 376, ..Interface::default() }),
    ]));
    row.network.host_namespace = Some(false);
    row.block.total.read_bytes = Some(0);
    row.block.total.write_bytes = Some(4_096);
    row.pids.current = Some(3);
    row
}
