//! The verifier of each kernel accepts every program that the kernel has a place for. This is the
//! only test that also runs on kernels of which nothing else is known, and with cgroup v1 alone.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tare_tests::doctor::Diagnosis;

use crate::machine::{CGROUPS, Machine};

/// The program for a tracepoint, if it has another name.
const NAMED_OTHERWISE: [(&str, &str); 1] = [("sched_process_free", "task_freed")];

/// Whether a program is one for a tracepoint: some have a variant for kernels of another number of
/// arguments, as in `block_rq_issue_2`.
fn is_for(program: &str, tracepoint: &str) -> bool {
    let other = NAMED_OTHERWISE.iter().find(|(name, _)| *name == tracepoint);
    let name = other.map_or(tracepoint, |(_, program)| program);
    let rest = program.strip_prefix(name).map(|rest| rest.trim_start_matches('_'));
    rest.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()))
}

#[test]
fn every_program_is_accepted() -> Result<()> {
    let machine = Machine::take()?;
    let mut ways = vec![vec![], vec!["--sources", "walk"]];
    if Path::new(CGROUPS).join("cgroup.controllers").exists() {
        ways.push(vec!["--net-level", "l3"]);
    }
    let (mut attached, mut wanted) = (BTreeSet::new(), BTreeSet::new());
    let mut families = Value::Null;
    for way in &ways {
        let args = [&["doctor", "--format", "json", "--log-level", "debug"][..], way].concat();
        let done = machine.tare.run(&args)?;
        ensure!(done.status.success(), "{way:?}: {done:?}");
        ensure!(!done.stderr.contains("BPF program"), "{way:?}: a program was refused: {done:?}");
        let found = Diagnosis::parse(&done.stdout)?;
        let tracepoints =
            found.at("/kernel_side/tracepoints")?.as_object().context("tracepoints")?;
        let has = tracepoints.iter().filter(|(_, arguments)| !arguments.is_null());
        wanted.extend(has.map(|(name, _)| name.clone()));
        attached.extend(found.attached()?.into_iter().map(str::to_owned));
        families = found.at("/families")?.clone();
    }
    ensure!(wanted.len() > 15, "{wanted:?}");
    for tracepoint in &wanted {
        let has = attached.iter().any(|program| is_for(program, tracepoint));
        ensure!(has, "no program is attached to {tracepoint}: {attached:?}, {families}");
    }
    if ways.len() == 3 {
        ensure!(attached.contains("egress") && attached.contains("ingress"), "{attached:?}");
    }
    println!("{} programs: {attached:?}", attached.len());
    Ok(())
}
