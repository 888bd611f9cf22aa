//! `tare doctor`: what this host offers, what Tare uses of it, why the rest is off, what helps.
//!
//! It starts like every other command, takes a sample, and then looks at what it got. If nothing
//! can be started it says why, and shows what it can see all the same.

mod diagnosis;
mod pressure;
mod probe;
mod recording;
mod rights;
mod table;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::Result;
use tare_model::{Family, State};

use crate::{
    cgroup::Hierarchies,
    collector::Collector,
    config::{Bpf, CgroupSource, Common, Doctor, PlainFormat},
    doctor::{
        diagnosis::{Diagnosis, Finding, KernelSide, Named},
        rights::Rights,
    },
    families::source::SourceStatus,
    host::HostFacts,
    kernel::Facts,
    reason::Reason,
    registry::Follow,
};

/// Examines the host and prints the findings. The exit code is a failure only with `--strict`, if a
/// family is off.
///
/// # Errors
///
/// If the findings cannot be written.
pub async fn run(common: &Common, doctor: &Doctor) -> Result<ExitCode> {
    let diagnosis = examine(common, &doctor.record).await;
    let mut out = io::stdout().lock();
    match doctor.format {
        PlainFormat::Json => {
            serde_json::to_writer(&mut out, &diagnosis).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        PlainFormat::Table => out.write_all(table::render(&diagnosis).as_bytes())?,
    }
    out.flush()?;
    let is_off = diagnosis.families.values().any(|found| found.source.state == State::Off);
    Ok(if doctor.strict && is_off { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn examine(common: &Common, record: &Path) -> Diagnosis {
    // A failure for lack of BPF would not answer why there is none.
    let bpf = if common.bpf == Bpf::Require { Bpf::Auto } else { common.bpf };
    let sources = match common.sources {
        CgroupSource::Walk => CgroupSource::WalkOrFiles,
        other => other,
    };
    let common = &Common { bpf, sources, ..common.clone() };
    match Collector::start(common, Follow::ContainersOrFallback) {
        Ok(mut collector) => {
            collector.sample();
            collector.settle_names().await;
            // Devices without requests and namespaces of young containers are found the second
            // time.
            collector.sample();
            started(common, record, &collector).await
        }
        Err(error) => stopped(common, record, &format!("{error:#}")).await,
    }
}

async fn started(common: &Common, record: &Path, collector: &Collector) -> Diagnosis {
    let registry = &collector.sampler.registry;
    let kernel = &collector.sampler.kernel;
    let facts = kernel.facts.clone().unwrap_or_else(|| Facts::read(&common.sys_root, None));
    let kernel_side = KernelSide::new(&facts, kernel.programs(), kernel.maps.clone());
    let all = collector.source_statuses();
    let mut diagnosis = diagnose(common, record, all, kernel_side).await;
    diagnosis.cgroups = probe::cgroups(registry.hierarchies());
    diagnosis.block_devices = probe::block_devices(common, kernel);
    diagnosis.cgroup_walk = Some(probe::cgroup_walk(
        collector.sampler.walk.status(),
        &diagnosis.rights.circumstances(),
    ));
    diagnosis
}

async fn stopped(common: &Common, record: &Path, fault: &str) -> Diagnosis {
    let off = SourceStatus::off(Reason::NotStarted { fault: fault.into() });
    let always = Family::ALL.into_iter().filter(|family| *family != Family::PerfEvents);
    let off = always.map(|family| (family, off.clone())).collect();
    let facts = Facts::read(&common.sys_root, None);
    let kernel_side = KernelSide::new(&facts, Vec::new(), Vec::new());
    let diagnosis = diagnose(common, record, off, kernel_side).await;
    Diagnosis { fault: Some(fault.to_owned()), ..diagnosis }
}

/// What is found whether Tare could start or not.
async fn diagnose(
    common: &Common,
    record: &Path,
    families: BTreeMap<Family, SourceStatus>,
    kernel_side: KernelSide,
) -> Diagnosis {
    let rights = Rights::read(&common.proc_root, &common.sys_root);
    let circumstances = rights.circumstances();
    let finding = |status| Finding::new(&status, &circumstances);
    let families = families.into_iter().map(|(family, status)| (family, finding(status)));
    Diagnosis {
        version: env!("CARGO_PKG_VERSION"),
        host: Named::from(HostFacts::read(&common.proc_root, &common.sys_root).identity),
        fault: None,
        families: families.collect(),
        pressure: pressure::check(common, &circumstances),
        clock: probe::clock(&common.sys_root, &circumstances),
        recording: recording::check(record),
        daemons: probe::daemons(common).await,
        cgroups: probe::cgroups(&Hierarchies::default()),
        cgroup_walk: None,
        block_devices: BTreeMap::new(),
        rights,
        kernel_side,
    }
}
