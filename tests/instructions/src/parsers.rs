//! Each parser, on real files of one kernel.

use std::{fs, hint::black_box};

use anyhow::{Context as _, Result};
use tare::internals::{classify, parse_mountinfo};
use tare_parsers::{
    cpu::{CpuUsage, parse_cpu_stat, parse_cpuacct_stat},
    diskstats::parse_diskstats,
    io::{IoUsage, Unit, parse_io_stat, parse_throttle},
    loadavg::{parse_loadavg, parse_uptime},
    meminfo::parse_meminfo,
    memory::parse_memory_events,
    net_dev::parse_net_dev,
    net_snmp::parse_retransmits,
    pressure::parse_pressure,
    proc_stat::parse_stat,
    procs::parse_first_pid,
    stat_table::StatTable,
    state::parse_cgroup_events,
};

use crate::{Case, Work, tests};

/// The most frequent forms of cgroup paths of runtimes, kubelet and systemd.
const PATHS: [&str; 4] = [
    "/docker/60891bae9fd3dc0db73688ed83f48be924c2992a4e1b6d74ab4ad46188f5a3ba",
    "/system.slice/docker-60891bae9fd3dc0db73688ed83f48be924c2992a4e1b6d74ab4ad46188f5a3ba.scope",
    "/kubepods.slice/kubepods-burstable.slice/\
     kubepods-burstable-pod0c41d62e_75f3_4d6b_9d0c_3b1a5f0e2a77.slice/\
     cri-containerd-5f1d7e84a9c2b3606fd1e0c5a47b98213e6d0f5c4b8a79e2d1c3f60b5a4e9d87.scope",
    "/user.slice/user-1000.slice/user@1000.service/app.slice/dbus.socket",
];

/// Not from the corpus, whose file is of a cgroup without I/O limits and so empty.
const THROTTLE: &str = "fixtures/v1-cgroupfs/cgroup/blkio/docker/\
    60891bae9fd3dc0db73688ed83f48be924c2992a4e1b6d74ab4ad46188f5a3ba/\
    blkio.throttle.io_service_bytes";

pub(crate) const CASES: &[Case] = &[
    ("parse/cgroup.events", || {
        on("corpus/cgroup_events/linux-6.12.cgroup.events", |text| keep(parse_cgroup_events(text)))
    }),
    ("parse/cgroup.path", || {
        Ok(Box::new(|| PATHS.iter().for_each(|path| keep(classify(black_box(path))))))
    }),
    ("parse/cgroup.procs", || {
        on("corpus/cgroup_procs/linux-6.12.cgroup.procs", |text| keep(parse_first_pid(text)))
    }),
    ("parse/cpu.stat-v1", || cpu_stat("corpus/cpu_stat/linux-6.18-v1.cpu.stat")),
    ("parse/cpu.stat-v2", || cpu_stat("corpus/cpu_stat/linux-6.12.cpu.stat")),
    ("parse/cpuacct.stat", || {
        on("corpus/cpuacct_stat/linux-6.18-v1.cpuacct.stat", |text| {
            parse_cpuacct_stat(text, 100, black_box(&mut CpuUsage::default()));
        })
    }),
    ("parse/io.stat", || {
        let mut usage = IoUsage::default();
        on("corpus/io_stat/linux-6.12.io.stat", move |text| {
            usage.devices.clear();
            parse_io_stat(text, &mut usage);
        })
    }),
    ("parse/blkio.throttle", || {
        let mut usage = IoUsage::default();
        on(THROTTLE, move |text| {
            usage.devices.clear();
            parse_throttle(text, Unit::Bytes, &mut usage);
        })
    }),
    ("parse/memory.events", || {
        on("corpus/memory_events/linux-6.12.memory.events", |text| keep(parse_memory_events(text)))
    }),
    ("parse/memory.stat-v1", || memory_stat("corpus/stat_table/linux-6.18-v1.memory.stat")),
    ("parse/memory.stat-v2", || memory_stat("corpus/stat_table/linux-6.12.memory.stat")),
    ("parse/pressure", || {
        on("corpus/pressure/linux-6.12.cpu.pressure", |text| keep(parse_pressure(text)))
    }),
    ("parse/proc.diskstats", || {
        let mut lines = Vec::new();
        on("corpus/diskstats/linux-6.12.proc.diskstats", move |text| {
            parse_diskstats(text, &mut lines);
        })
    }),
    ("parse/proc.loadavg", || {
        on("corpus/loadavg/linux-6.12.proc.loadavg", |text| {
            keep((parse_loadavg(text), parse_uptime(text)));
        })
    }),
    ("parse/proc.meminfo", || {
        on("corpus/meminfo/linux-6.12.proc.meminfo", |text| keep(parse_meminfo(text)))
    }),
    ("parse/proc.mountinfo", || {
        on("corpus/mountinfo/linux-6.12.proc.self.mountinfo", |text| {
            keep(parse_mountinfo(text, None));
        })
    }),
    ("parse/proc.net.dev", || {
        let mut devices = Vec::new();
        on("corpus/net_dev/linux-6.12.proc.net.dev", move |text| parse_net_dev(text, &mut devices))
    }),
    ("parse/proc.net.snmp", || {
        on("corpus/net_snmp/linux-6.12.proc.net.snmp", |text| keep(parse_retransmits(text, text)))
    }),
    ("parse/proc.stat", || {
        on("corpus/proc_stat/linux-6.12.proc.stat", |text| keep(parse_stat(text, 100)))
    }),
];

/// Keeps the compiler from dropping unused results.
fn keep<T>(parsed: T) {
    black_box(parsed);
}

/// A parser and the text of a file.
fn on(file: &str, mut parse: impl FnMut(&[u8]) + 'static) -> Result<Work> {
    let path = tests().join(file);
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Box::new(move || parse(black_box(&text))))
}

fn cpu_stat(file: &str) -> Result<Work> {
    on(file, |text| parse_cpu_stat(text, black_box(&mut CpuUsage::default())))
}

/// Names are known from an earlier reading, as in every sample but the first.
fn memory_stat(file: &str) -> Result<Work> {
    let mut table = StatTable::default();
    on(file, move |text| table.parse_into(text))
}
