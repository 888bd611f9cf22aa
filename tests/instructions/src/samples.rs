//! Samples of a hundred containers, and reports made of two of them.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tare::cgroup::find_hierarchies;
use tare::devices::Devices;
use tare::host::{HostFacts, HostFiles};
use tare::identity::{Allowed, Names, Socket, Sockets};
use tare::kernel::{self, Kernel, Options};
use tare::kernel_totals::Diskstats;
use tare::model::{self, ReportOptions};
use tare::network::{InterfaceCounters, NamespaceId, Namespaces};
use tare::registry::{Follow, Registry};
use tare::sample::{BlockReconciler, Receipts, Sample, Sampler, SegmentReconciler};
use tare::sources::Sources;
use tare_ebpf::{BlockCell, LatencyCell, NetCell};

use crate::tree::Tree;
use crate::{Case, Work};

const CONTAINERS: usize = 100;

/// As the kernel side numbers them.
const DISKS: [u32; 2] = [8 << 20, 8 << 20 | 16];

pub const CASES: &[Case] = &[
    ("look/v1", || look("v1-cgroupfs")),
    ("look/v2", || look("v2-systemd")),
    ("sample/hybrid-idle", || sample("hybrid", |_| ())),
    ("sample/v1-idle", || sample("v1-cgroupfs", |_| ())),
    ("sample/v2-idle", || sample("v2-systemd", |_| ())),
    ("sample/v1-all-due", || sample("v1-cgroupfs", expire)),
    ("sample/v2-all-due", || sample("v2-systemd", expire)),
    ("model/report", report),
];

/// Looking who is there, where nobody came or went.
fn look(fixture: &str) -> Result<Work> {
    let (tree, mut sampler) = sampler(fixture)?;
    Ok(Box::new(move || {
        sampler.look();
        black_box(&tree);
    }))
}

/// A sample of those who are known.
fn sample(fixture: &str, before: fn(&mut Sampler)) -> Result<Work> {
    let (tree, mut sampler) = sampler(fixture)?;
    let found = sampler.take().usages.len();
    ensure!(found >= CONTAINERS, "{found} containers were found");
    Ok(Box::new(move || {
        before(&mut sampler);
        black_box((sampler.measure(), &tree));
    }))
}

/// Has all files read that are not read each time.
fn expire(sampler: &mut Sampler) {
    for files in sampler.registry.tracked_mut().filter_map(|tracked| tracked.files.as_mut()) {
        files.expire();
    }
}

/// A report of two samples with all that the kernel side counts.
fn report() -> Result<Work> {
    let (tree, mut sampler) = sampler("v2-systemd")?;
    let (mut older, mut newer) = (sampler.take(), sampler.take());
    drop(sampler);
    for sample in [&mut older, &mut newer] {
        count(Arc::get_mut(sample).context("somebody else has the sample")?);
    }
    let facts = HostFacts::read(&tree.part("proc"), &tree.part("sys"));
    let receipts = Receipts::new(0, Duration::ZERO);
    Ok(Box::new(move || {
        black_box(
            model::draft(
                ReportOptions::WHOLE,
                Some(&older),
                &newer,
                &receipts,
                &facts,
                "v2",
                Sources::new(),
            )
            .report(),
        );
    }))
}

/// Gives everyone sockets, a network device and two disks.
fn count(sample: &mut Sample) {
    sample.sockets = Some(kernel::Sockets::Payload);
    (sample.connections, sample.retransmits) = (true, true);
    let devices = vec![("eth0".to_owned(), InterfaceCounters::default())];
    let devices = Arc::new(devices);
    for usage in &mut sample.usages {
        let namespace = NamespaceId(usage.instance.id.0);
        usage.namespace = Some(namespace);
        sample.namespaces.insert(namespace, Arc::clone(&devices));
        usage.net = Some(NetCell::default());
        usage.block = Some(DISKS.map(|disk| (disk, BlockCell::default())).into());
        usage.latency = DISKS.map(|disk| (disk, LatencyCell::default())).into();
    }
}

fn sampler(fixture: &str) -> Result<(Tree, Sampler)> {
    let tree = Tree::new(fixture, CONTAINERS)?;
    let (cgroup, proc, sys) = (tree.part("cgroup"), tree.part("proc"), tree.part("sys"));
    let hierarchies = find_hierarchies(&proc, Some(&cgroup))?;
    let sockets = Sockets { docker: Socket::Off, podman: Socket::Off, cri: Socket::Off };
    let names = Names::new(sockets, Allowed::default());
    let namespaces = Namespaces::new(&proc);
    let registry = Registry::new(hierarchies, None, Follow::Containers, namespaces, names);
    let kernel = Kernel::start(&Options {
        off: Some("not part of this"),
        sys_root: sys.clone(),
        unified: None,
        socket_ids: None,
        sockets: None,
        slots: 1,
        watched_net: None,
        watched_block: None,
    });
    let host = HostFiles::open(&proc).context("cannot read the host's usage")?;
    let books = (BlockReconciler::new(Diskstats::open(&proc)?), SegmentReconciler::new(&proc));
    let receipts = Receipts::new(0, Duration::ZERO);
    let devices = Devices::new(&sys);
    Ok((tree, Sampler::new(registry, kernel, host, devices, books, receipts)))
}
