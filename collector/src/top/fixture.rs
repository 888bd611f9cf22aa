//! Hand-made reports of a host that has something of everything.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use tare_model::{
    Compose, Connections, Container, Count, Device, Ended, Family, Finality, Histogram, Interface,
    Kind, Latency, Level, OomKill, Pod, Pressure, Report, Sockets, Source, TcpEvents, Traffic,
    WaitingTask,
};

use crate::{
    config::Top,
    output::{Scope, Sort, fixture},
};

/// What the command line says without options.
pub(crate) fn top() -> Top {
    Top {
        record: "/nonexistent".into(),
        interval: Duration::from_secs(1),
        sort: Sort::Cpu,
        scope: Scope::Containers,
        filter: String::new(),
        replay: None,
    }
}

/// A time after the epoch.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A container with a name and some CPU and memory, whose id begins with the name's letters.
pub(crate) fn container(name: &str, cpu: f64, mebibytes: u64) -> Container {
    let id: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut row = fixture::unknown(Kind::Container, &format!("{id:0<64}")[..64]);
    row.name = Some(name.to_owned());
    row.runtime = Some("docker".into());
    row.cpu.percent = Some(cpu);
    row.memory.working_set_bytes = Some(mebibytes << 20);
    row.memory.limit_bytes = Some(1 << 30);
    row.memory.percent = Some(mebibytes as f64 / 10.24);
    row.pids.current = Some(3);
    row.cgroup = format!("/docker/{}", row.id);
    row
}

/// Gives a row what it has transferred so far.
pub(crate) fn transferred(row: &mut Container, kilobytes: u64) {
    let device = Interface {
        rx_bytes: kilobytes * 1_000,
        tx_bytes: kilobytes * 100,
        ..Interface::default()
    };
    row.network.interfaces = Some(BTreeMap::from([("eth0".to_owned(), device)]));
    row.network.host_namespace = Some(false);
    row.network.shared_with = Some(Vec::new());
    row.block.source = Some("bpf".into());
    row.block.total = Count {
        read_bytes: Some(0),
        write_bytes: Some(kilobytes * 10_000),
        read_ops: Some(0),
        write_ops: Some(kilobytes),
        errors: Some(0),
        in_flight: Some(1),
        ..Count::default()
    };
}

/// Two Compose services, a pod, a container of its own, and a service, after `second` seconds.
pub(crate) fn host(second: u64) -> Report {
    let mut rows = vec![
        container("shop-web-1", 12.34, 180),
        container("shop-db-1", 98.7, 700),
        container("lonely", 0.0, 3),
        container("pod-main", 30.0, 50),
        container("pod-side", 1.5, 20),
        fixture::unknown(Kind::Service, "ssh.service"),
    ];
    for row in &mut rows[..2] {
        row.compose = Some(Compose { project: "shop".to_owned(), service: None });
        row.image = Some("registry/shop:1".to_owned());
    }
    for row in &mut rows[3..5] {
        row.pod = Some(Pod {
            uid: Some("0c41d62e".to_owned()),
            qos: Some("burstable".into()),
            ..Pod::default()
        });
        row.runtime = Some("containerd".into());
    }
    for (index, row) in rows[..5].iter_mut().enumerate() {
        transferred(row, second * (index as u64 + 1));
    }
    let ids: Vec<String> = rows[3..5].iter().map(|row| row.id.clone()).collect();
    rows[3].network.shared_with = Some(vec![ids[1].clone()]);
    rows[4].network.shared_with = Some(vec![ids[0].clone()]);
    rows[5].cgroup = "/system.slice/ssh.service".to_owned();
    rows[5].memory.working_set_bytes = Some(9 << 20);
    busy(&mut rows[1], second);
    let mut report = fixture::report(rows);
    report.time = at(second as i64);
    report.host.memory_bytes = Some(24 << 30);
    report.host.memory_available_bytes = Some(20 << 30);
    report.host.cpu_percent = Some(142.0);
    report.host.load_average = Some([1.5, 0.75, 0.1]);
    report
        .sources
        .insert(Family::Block, Source::degraded("io.stat", "no latency: the kernel has no BTF"));
    report
}

/// A database that is throttled, has little memory left, and waits for its disk.
fn busy(row: &mut Container, second: u64) {
    let cpu = &mut row.cpu;
    (cpu.usage_seconds, cpu.user_seconds, cpu.system_seconds) =
        (Some(second as f64), Some(second as f64 * 0.75), Some(second as f64 * 0.25));
    (cpu.periods, cpu.throttled_periods) = (Some(second * 10), Some(second * 4));
    (cpu.throttled_seconds, cpu.limit_cores) = (Some(second as f64 * 0.2), Some(1.5));
    cpu.pressure = Some(Pressure {
        some_seconds: Some(second as f64 * 0.5),
        full_seconds: Some(0.0),
        some_avg10_percent: Some(48.5),
        full_avg10_percent: Some(0.0),
        ..Pressure::default()
    });
    let memory = &mut row.memory;
    memory.usage_bytes = Some(900 << 20);
    memory.peak_bytes = Some(1 << 30);
    memory.swap_bytes = Some(0);
    memory.oom_kills = Some(0);
    let stat = [("anon", 600), ("file", 250), ("kernel", 20), ("slab", 12), ("sock", 1)];
    memory.stat = stat.into_iter().map(|(name, mebibytes)| (name, mebibytes << 20)).collect();
    row.tasks.uninterruptible = Some(1);
    row.tasks.waiting = vec![WaitingTask {
        pid: 4242,
        tid: 4243,
        command: Some("backup".to_owned()),
        seconds: 95.5,
        io: true,
        function: Some("folio_wait_bit_common".to_owned()),
    }];
    let tcp = Traffic { rx_bytes: 5_000, rx_calls: 5, tx_bytes: 70_000, tx_calls: 7 };
    row.network.sockets = Some(Sockets {
        level: Level::Payload,
        since: Some(at(0)),
        rx_bytes: 5_000 * second,
        tx_bytes: 70_000,
        tcp: Some(tcp),
        udp: Some(Traffic::default()),
        rx_packets: None,
        tx_packets: None,
        loopback: None,
    });
    row.network.tcp_events = Some(TcpEvents {
        since: None,
        retransmits: Some(second * 2),
        connections: Some(Connections { opened: 4, accepted: 100, closed: 90, failed: 1 }),
    });
    let sda = Device { name: Some("sda".to_owned()), stacked: false, count: row.block.total };
    row.block.devices.insert("8:0".to_owned(), sda);
    row.block.latency = Some(Latency {
        le_seconds: (0..9).map(|bucket| 2_f64.powi(bucket - 16)).collect(),
        read: Histogram { buckets: vec![0; 10], count: 0, sum_seconds: 0.0 },
        write: Histogram {
            buckets: vec![0, 0, 5, 50, 30, 10, 0, 4, 0, 1],
            count: 100,
            sum_seconds: 0.042,
        },
    });
    (row.startup.made_at, row.startup.exec_at) = (Some(at(0)), Some(at(1)));
    row.labels.insert("owner".to_owned(), "weigh-house".to_owned());
}

/// A container that ended at a second, out of memory.
pub(crate) fn ended(name: &str, second: i64) -> Ended {
    let mut row = container(name, 0.0, 5);
    row.state = "ended".into();
    row.cpu.usage_seconds = Some(0.027);
    row.memory.peak_bytes = Some(4 << 20);
    row.memory.oom_kills = Some(1);
    row.memory.last_oom_kill =
        Some(OomKill { at: at(second), pid: 4_711, command: "hungry".to_owned() });
    let finality = Finality { state: "final".into(), age_seconds: None };
    Ended { container: row, ended_at: at(second), finality: [(Family::Cpu, finality)].into() }
}

/// So many containers, all of whose numbers differ from report to report.
pub(crate) fn crowd(count: u64, second: u64) -> Report {
    let rows = (0..count).map(|number| {
        let cpu = ((number * 7_919 + second * 104_729) % 10_000) as f64 / 100.0;
        let mut row = container(&format!("crowd-{number:05}"), cpu, number % 1_000);
        transferred(&mut row, second * (number % 100));
        row.compose = Some(Compose { project: format!("p{}", number % 500), service: None });
        row
    });
    let mut report = fixture::report(rows.collect());
    report.time = at(second as i64);
    report
}
