//! `tare doctor`: what this host offers, what Tare uses of it, why the rest is off, what helps.
//!
//! It starts like every other command, takes a sample, and then looks at what it was given. Where
//! nothing can be started it tells why, and what it can see all the same.

mod diagnosis;
mod pressure;
mod probe;
mod remedy;
mod rights;
mod table;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Result;

use crate::{
    cgroup::Hierarchies,
    collector::Collector,
    config::{Bpf, Common, Doctor, PlainFormat},
    doctor::{
        diagnosis::{Diagnosis, Finding, KernelSide, Named},
        remedy::Circumstances,
        rights::Rights,
    },
    host::HostFacts,
    kernel::Facts,
    registry::Follow,
    sources::{Family, Source, Sources, State},
};

/// Examines the host and tells the findings. The exit code is a failure only if it is asked to be
/// one (`--strict`) when a family is off.
///
/// # Errors
///
/// If the findings cannot be written.
pub async fn run(common: &Common, doctor: &Doctor) -> Result<ExitCode> {
    let diagnosis = examine(common).await;
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

async fn examine(common: &Common) -> Diagnosis {
    // To fail for want of BPF is of no use to someone who asks why there is none.
    let bpf = if common.bpf == Bpf::Require { Bpf::Auto } else { common.bpf };
    let common = &Common { bpf, ..common.clone() };
    match Collector::start(common, Follow::ContainersOrFallback) {
        Ok(mut collector) => {
            collector.sample();
            collector.settle_names().await;
            // Devices without requests and namespaces of young containers are found the second time.
            collector.sample();
            started(common, &collector).await
        }
        Err(error) => stopped(common, &format!("{error:#}")).await,
    }
}

async fn started(common: &Common, collector: &Collector) -> Diagnosis {
    let registry = &collector.sampler.registry;
    let kernel = &collector.sampler.kernel;
    let facts = kernel.facts.clone().unwrap_or_else(|| Facts::read(&common.sys_root, None));
    let kernel_side = KernelSide::new(&facts, kernel.programs(), kernel.maps.clone());
    let all = collector.sources();
    let mut diagnosis = unite(common, all, kernel_side).await;
    diagnosis.cgroups = probe::cgroups(registry.hierarchies());
    diagnosis.block_devices = probe::block_devices(common, kernel);
    diagnosis
}

async fn stopped(common: &Common, fault: &str) -> Diagnosis {
    let off: Sources = Family::ALL.into_iter().map(|family| (family, Source::off(fault))).collect();
    let facts = Facts::read(&common.sys_root, None);
    let kernel_side = KernelSide::new(&facts, Vec::new(), Vec::new());
    let mut diagnosis = unite(common, off, kernel_side).await;
    // The fault itself says what helps; what would help its consequences does not.
    diagnosis.families.values_mut().for_each(|found| found.remedy = None);
    Diagnosis { fault: Some(fault.to_owned()), ..diagnosis }
}

/// What is told whether Tare could start or not.
async fn unite(common: &Common, all: Sources, kernel_side: KernelSide) -> Diagnosis {
    let rights = Rights::read(&common.proc_root, &common.sys_root);
    let circumstances = Circumstances { common, kernel_side: &kernel_side, rights: &rights };
    let families = all.into_iter().map(|(family, source)| {
        let remedy = circumstances.remedy(family, &source);
        (family, Finding { source, remedy })
    });
    Diagnosis {
        version: env!("CARGO_PKG_VERSION"),
        host: Named::from(HostFacts::read(&common.proc_root, &common.sys_root).identity),
        fault: None,
        families: families.collect(),
        pressure: pressure::check(common),
        clock: probe::clock(&common.sys_root),
        daemons: probe::daemons(common).await,
        cgroups: probe::cgroups(&Hierarchies::default()),
        block_devices: BTreeMap::new(),
        rights,
        kernel_side,
    }
}
