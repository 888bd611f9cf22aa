//! What works without privileges, and how the rest is explained.

use anyhow::{Result, ensure};
use tare_tests::{docker::Run, lab::Lab};

#[test]
fn without_privileges_it_works_and_says_what_is_missing() -> Result<()> {
    let lab = Lab::open()?;
    let container = lab.start(Run::load("spin --for 600s"))?;
    let report = lab.tare.clone().as_nobody(&lab.scratch)?.report()?;
    let families = report.value()["sources"].as_object().map(|all| all.keys().cloned().collect());
    let families: Vec<String> = families.unwrap_or_default();
    ensure!(!families.is_empty(), "no sources in {}", report.value());
    for family in &families {
        let (state, reason) = report.source(family)?;
        let reason = reason.unwrap_or_default();
        ensure!(state == "on" || !reason.is_empty(), "{family} is {state} and says no reason");
        ensure!(!reason.contains('\n'), "the reason for {family} has more than one line: {reason}");
    }
    ensure!(report.source("network_sockets")?.0 == "off", "{}", report.value()["sources"]);
    ensure!(report.source("identity")?.0 != "on", "{}", report.value()["sources"]);

    let row = report.row(container.id())?;
    ensure!(row.get("/network/sockets")?.is_null() && row.get("/name")?.is_null(), "{row:?}");
    ensure!(row.f64("/cpu/percent")? > 0.0, "{row:?}");
    ensure!(row.u64("/memory/working_set_bytes")? > 0, "{row:?}");
    Ok(())
}

#[test]
fn a_missing_name_is_explained() -> Result<()> {
    let lab = Lab::open()?;
    let container = lab.start(Run::load("serve"))?;
    let tare = lab.tare.clone().as_nobody(&lab.scratch)?;
    let done = tare.run(&["stats", "--no-stream", container.name()])?;
    ensure!(done.status.code() == Some(1), "{done:?}");
    ensure!(done.stderr.contains("ids are not: "), "no cause in the message: {done:?}");
    ensure!(done.stderr.contains("Permission denied"), "no cause in the message: {done:?}");
    ensure!(!done.stderr.contains('\u{1b}'), "colours where no terminal is: {done:?}");
    Ok(())
}

#[test]
fn requiring_bpf_without_privileges_fails_with_a_clear_message() -> Result<()> {
    let lab = Lab::open()?;
    let tare = lab.tare.clone().as_nobody(&lab.scratch)?.option("--bpf", "require");
    let done = tare.run(&["stats", "--no-stream", "--format", "json"])?;
    ensure!(done.status.code() == Some(1), "{done:?}");
    ensure!(done.stdout.is_empty(), "it printed a report: {done:?}");
    let said = done.stderr.to_lowercase();
    ensure!(said.contains("bpf"), "the message does not name BPF: {done:?}");
    let cause = ["root", "privilege", "permission", "cap_bpf", "not permitted"];
    ensure!(cause.iter().any(|word| said.contains(word)), "no cause in the message: {done:?}");
    ensure!(!said.contains("panicked"), "{done:?}");
    Ok(())
}

#[test]
fn wrong_usage_ends_with_code_two() -> Result<()> {
    let lab = Lab::open()?;
    let done = lab.tare.run(&["stats", "--format", "no-such-format"])?;
    ensure!(done.status.code() == Some(2), "{done:?}");
    Ok(())
}
