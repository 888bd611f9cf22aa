//! Every parser of text that the kernel or a container writes, by the name of its corpus.

use tare::cgroup::cpu::{CpuUsage, parse_cpu_stat, parse_cpuacct_stat};
use tare::cgroup::io::{IoUsage, Unit, parse_io_stat, parse_throttle};
use tare::cgroup::memory;
use tare::cgroup::mounts::parse_id;
use tare::cgroup::pressure::parse_pressure;
use tare::cgroup::processes::parse_first_pid;
use tare::cgroup::settings::parse_cpu_max;
use tare::cgroup::state::{self, parse_freezer};
use tare::cgroup::{StatTable, parse_mountinfo};
use tare::host::HostUsage;
use tare::host::load::{parse_loadavg, parse_uptime};
use tare::host::memory::parse_meminfo;
use tare::host::stat::parse_stat;
use tare::identity::classify;
use tare::kernel_totals::diskstats::parse_diskstats;
use tare::kernel_totals::retransmits::parse_retransmits;
use tare::network::netdev::parse_net_dev;

/// A parser that takes any bytes.
pub type Parser = fn(&[u8]);

/// What a parser returns does not matter here, only that it returns.
fn ignore<T>(parsed: T) {
    std::hint::black_box(parsed);
}

/// The parsers; a name is a directory of `tests/corpus` and a target of `tests/fuzz`.
pub const PARSERS: &[(&str, Parser)] = &[
    ("cgroup_events", |data| ignore(state::parse_events(data))),
    ("cgroup_path", |data| ignore(classify(&String::from_utf8_lossy(data)))),
    ("cgroup_procs", |data| ignore(parse_first_pid(data))),
    ("cpu_max", |data| ignore(parse_cpu_max(data))),
    ("cpu_stat", |data| parse_cpu_stat(data, &mut CpuUsage::default())),
    ("cpuacct_stat", |data| parse_cpuacct_stat(data, 100, &mut CpuUsage::default())),
    ("freezer_state", |data| ignore(parse_freezer(data))),
    ("io_stat", |data| parse_io_stat(data, &mut IoUsage::default())),
    ("diskstats", |data| parse_diskstats(data, &mut Vec::new())),
    ("loadavg", |data| ignore((parse_loadavg(data), parse_uptime(data)))),
    ("meminfo", |data| parse_meminfo(data, &mut HostUsage::default())),
    ("net_snmp", |data| ignore(parse_retransmits(data, data))),
    ("pressure", |data| ignore(parse_pressure(data))),
    ("memory_events", |data| ignore(memory::parse_events(data))),
    ("mountinfo", |data| ignore(parse_mountinfo(data, None))),
    ("net_dev", |data| parse_net_dev(data, &mut Vec::new())),
    ("proc_cgroups", |data| ignore(parse_id(data, "memory"))),
    ("proc_stat", |data| parse_stat(data, 100, &mut HostUsage::default())),
    ("stat_table", |data| StatTable::default().parse_into(data)),
    ("throttle", |data| {
        let mut usage = IoUsage::default();
        parse_throttle(data, Unit::Bytes, &mut usage);
        parse_throttle(data, Unit::Operations, &mut usage);
    }),
];

/// The parser of a corpus.
pub fn parser(name: &str) -> Option<Parser> {
    PARSERS.iter().find(|(known, _)| *known == name).map(|(_, parser)| *parser)
}
