//! Every parser of what the kernel, a container or an earlier process writes, by the name of its
//! corpus.

use tare::internals::classify;
use tare_parsers::{
    cpu::{CpuUsage, parse_cpu_max, parse_cpu_stat, parse_cpuacct_stat},
    diskstats::parse_diskstats,
    io::{IoUsage, Unit, parse_io_stat, parse_throttle},
    loadavg::{parse_loadavg, parse_uptime},
    meminfo::{parse_meminfo, parse_node_meminfo},
    memory::parse_memory_events,
    mountinfo::{cgroup_mounts, mounts, parse_hierarchy_id},
    net_dev::parse_net_dev,
    net_snmp::{parse_retransmits, parse_tcp_counters},
    net_sockets::{parse_sockstat, parse_tcp, parse_udp},
    numa_stat::parse_numa_stat,
    pressure::parse_pressure,
    proc_stat::parse_stat,
    process_limits::parse_open_files_limit,
    procs::{parse_first_pid, parse_process_count},
    rtnetlink::{messages, parse_link_counters, parse_nsid, parse_veth_peer},
    stat_table::StatTable,
    state::{parse_cgroup_events, parse_freezer_state},
};
use tare_record::internals::{read_bare_block, read_bare_log};

/// A parser that takes any bytes.
pub(crate) type Parser = fn(&[u8]);

/// What a parser returns does not matter here, only that it returns.
fn ignore<T>(parsed: T) {
    std::hint::black_box(parsed);
}

/// The parsers; a name is a directory of `tests/corpus` and a target of `tests/fuzz`.
pub(crate) const PARSERS: &[(&str, Parser)] = &[
    ("cgroup_events", |data| ignore(parse_cgroup_events(data))),
    ("cgroup_path", |data| ignore(classify(&String::from_utf8_lossy(data)))),
    ("cgroup_procs", |data| ignore((parse_first_pid(data), parse_process_count(data)))),
    ("cpu_max", |data| ignore(parse_cpu_max(data))),
    ("cpu_stat", |data| parse_cpu_stat(data, &mut CpuUsage::default())),
    ("cpuacct_stat", |data| parse_cpuacct_stat(data, 100, &mut CpuUsage::default())),
    ("freezer_state", |data| ignore(parse_freezer_state(data))),
    ("io_stat", |data| parse_io_stat(data, &mut IoUsage::default())),
    ("diskstats", |data| parse_diskstats(data, &mut Vec::new())),
    ("loadavg", |data| ignore((parse_loadavg(data), parse_uptime(data)))),
    ("meminfo", |data| ignore((parse_meminfo(data), parse_node_meminfo(data)))),
    ("net_snmp", |data| {
        ignore((parse_retransmits(data, data), parse_tcp_counters(data, data)));
    }),
    ("net_sockets", |data| {
        ignore((parse_tcp(data), parse_udp(data), parse_sockstat(data, "6")));
    }),
    ("process_limits", |data| ignore(parse_open_files_limit(data))),
    ("recording_block", read_bare_block),
    ("recording_log", read_bare_log),
    ("rtnetlink", |data| {
        for message in messages(data) {
            ignore((message.role(), message.is_interrupted(), message.sequence()));
            ignore((parse_link_counters(&message), parse_veth_peer(&message)));
            ignore(parse_nsid(&message));
        }
    }),
    ("pressure", |data| ignore(parse_pressure(data))),
    ("memory_events", |data| ignore(parse_memory_events(data))),
    ("mountinfo", |data| ignore((cgroup_mounts(data).count(), mounts(data).count()))),
    ("net_dev", |data| parse_net_dev(data, &mut Vec::new())),
    ("numa_stat", |data| parse_numa_stat(data, 4096, &mut Vec::new())),
    ("proc_cgroups", |data| ignore(parse_hierarchy_id(data, "memory"))),
    ("proc_stat", |data| ignore(parse_stat(data, 100))),
    ("stat_table", |data| StatTable::default().parse_into(data)),
    ("throttle", |data| {
        let mut usage = IoUsage::default();
        parse_throttle(data, Unit::Bytes, &mut usage);
        parse_throttle(data, Unit::Operations, &mut usage);
    }),
];

/// The parser of a corpus.
pub(crate) fn parser(name: &str) -> Option<Parser> {
    PARSERS.iter().find(|(known, _)| *known == name).map(|(_, parser)| *parser)
}
