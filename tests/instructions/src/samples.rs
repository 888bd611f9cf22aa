//! Samples of a hundred containers, and reports of two samples.

use std::{hint::black_box, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tare::internals::{
    Follow, HostFacts, InterfaceCounters, NamespaceId, Receipts, ReportOptions, Sample, Sampler,
    SocketLevel, build_report,
};
use tare_ebpf::{BlockCell, LatencyCell, NetCell};
use tare_instructions::Roots;
use tare_model::Sources;

use crate::{Case, Work, tree::Tree};

const CONTAINERS: usize = 100;

/// Device numbers as in the kernel: the major number from bit 20 on.
const DISKS: [u32; 2] = [8 << 20, 8 << 20 | 16];

pub(crate) const CASES: &[Case] = &[
    ("look/v1", || look("v1-cgroupfs")),
    ("look/v2", || look("v2-systemd")),
    ("sample/hybrid-idle", || sample("hybrid", |_| ())),
    ("sample/v1-idle", || sample("v1-cgroupfs", |_| ())),
    ("sample/v2-idle", || sample("v2-systemd", |_| ())),
    ("sample/v1-all-due", || sample("v1-cgroupfs", expire)),
    ("sample/v2-all-due", || sample("v2-systemd", expire)),
    ("model/report", report),
];

/// A look for new and removed cgroups that finds none.
fn look(fixture: &str) -> Result<Work> {
    let (tree, mut sampler) = sampler(fixture)?;
    Ok(Box::new(move || {
        sampler.look();
        black_box(&tree);
    }))
}

/// A sample of known containers.
fn sample(fixture: &str, before: fn(&mut Sampler)) -> Result<Work> {
    let (tree, mut sampler) = sampler(fixture)?;
    let found = sampler.take().usages.len();
    ensure!(found >= CONTAINERS, "{found} containers were found");
    Ok(Box::new(move || {
        before(&mut sampler);
        black_box((sampler.measure(), &tree));
    }))
}

/// Makes the next sample read the files that are not read every time.
fn expire(sampler: &mut Sampler) {
    for readers in sampler.registry.tracked_mut().filter_map(|tracked| tracked.readers.as_mut()) {
        readers.expire();
    }
}

/// A report of two samples that have everything the BPF programs count.
fn report() -> Result<Work> {
    let (tree, mut sampler) = sampler("v2-systemd")?;
    let (mut older, mut newer) = (sampler.take(), sampler.take());
    drop(sampler);
    for sample in [&mut older, &mut newer] {
        count(Arc::get_mut(sample).context("the sample is shared")?);
    }
    let facts = HostFacts::read(&tree.part("proc"), &tree.part("sys"));
    let receipts = Receipts::new(0, Duration::ZERO);
    Ok(Box::new(move || {
        black_box(
            build_report(
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

/// Gives every container sockets, a network device and two disks.
fn count(sample: &mut Sample) {
    sample.sockets = Some(SocketLevel::Payload);
    (sample.connections, sample.retransmits) = (true, true);
    let devices = vec![("eth0".to_owned(), InterfaceCounters::default())];
    let devices = Arc::new(devices);
    for usage in &mut sample.usages {
        let namespace = NamespaceId(usage.instance.id.0);
        usage.namespace = Some(namespace);
        sample.namespaces.insert(namespace, Arc::clone(&devices));
        let mut net = NetCell::default();
        net.tcp.rx_bytes = usage.instance.id.0 + 1;
        usage.net = Some(net.into());
        usage.block = Some(DISKS.map(|disk| (disk, BlockCell::default())).into_iter().collect());
        usage.latency = DISKS.map(|disk| (disk, LatencyCell::default())).into_iter().collect();
    }
}

fn sampler(fixture: &str) -> Result<(Tree, Sampler)> {
    let tree = Tree::new(fixture, CONTAINERS)?;
    let [cgroup, proc, sys] = ["cgroup", "proc", "sys"].map(|name| tree.part(name));
    let roots = Roots { cgroup: Some(&cgroup), proc: &proc, sys: &sys };
    let sampler = tare_instructions::sampler(roots, Follow::Containers)?;
    Ok((tree, sampler))
}
