//! `tare snapshot`: containers with problems are in the right sections, and nothing stays in the
//! kernel.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tare_tests::{
    docker::Run,
    lab::Lab,
    process::Process,
    programs::Programs,
    terminal::Terminal,
    wait::{self, PATIENCE},
};

/// The row of a container in a section of the page.
fn row<'a>(page: &'a str, section: &str, name: &str) -> Result<&'a str> {
    let lines = page.lines().skip_while(|line| *line != section).take_while(|l| !l.is_empty());
    let mut rows = lines.filter(|line| line.starts_with(&format!("{name} ")));
    rows.next().with_context(|| format!("no {name} below {section} in\n{page}"))
}

#[test]
fn a_container_with_a_problem_is_in_the_right_section() -> Result<()> {
    let lab = Lab::open()?;
    let slowed = lab.start(Run::load("spin --threads 2 --for 600s").option("--cpus", "0.2"))?;
    let limits = |run: Run| run.option("--memory", "64m").option("--memory-swap", "64m");
    let full = lab.start(limits(Run::load("allocate --bytes 60MiB --for 600s")))?;
    let killed = lab.start(limits(Run::load("serve")))?;
    let idle = lab.start(Run::load("serve"))?;
    // The container outlives the process that is killed.
    let died = lab.docker.client([
        "exec",
        killed.id(),
        "/tare-load",
        "allocate",
        "--bytes",
        "200MiB",
        "--for",
        "1s",
    ]);
    ensure!(died.is_err(), "200 MiB were no trouble with 64 MiB: {died:?}");

    let file = lab.scratch.path().join("now.json.zst");
    let file = file.to_str().context("the file's path is not UTF-8")?;
    let done = lab.tare.run(&["snapshot", "--window", "2s", "--output", file])?;
    ensure!(done.status.success(), "{done:?}");
    let page = &done.stdout;
    let slow = row(page, "THROTTLED BY ITS CPU QUOTA", slowed.name())?;
    ensure!(slow.contains("20.00%"), "no quota of 0.2 CPUs: {slow}");
    row(page, "CLOSE TO A LIMIT", full.name())?;
    row(page, "OUT OF MEMORY", killed.name())?;
    ensure!(!page.contains(idle.name()), "{} does nothing:\n{page}", idle.name());
    let wide = page.lines().find(|line| line.chars().count() > 100);
    ensure!(wide.is_none() && !page.contains('\u{1b}'), "{wide:?} in\n{page}");

    let again = lab.tare.run(&["snapshot", "--read", file])?;
    ensure!(again.stdout == *page, "the saved page is another one:\n{}\n{page}", again.stdout);
    let saved = lab.tare.run(&["snapshot", "--read", file, "--format", "json"])?;
    let saved: Value = serde_json::from_str(&saved.stdout)?;
    let find = |id: &str| {
        let rows = saved["containers"].as_array().into_iter().flatten();
        let found = rows.clone().find(|row| row["id"] == id)?;
        saved["changes"].get(found["cgroup"].as_str()?)
    };
    let change = find(slowed.id()).context("no change of the throttled container")?;
    ensure!(change["throttled_percent"].as_f64() > Some(50.0), "{change}");
    for key in ["rx_bytes_per_second", "retransmits", "oom_kills", "reads", "writes"] {
        ensure!(change.get(key).is_some(), "no {key} in {change}");
    }
    Ok(())
}

#[test]
fn at_once_there_are_totals_and_nothing_is_loaded() -> Result<()> {
    let lab = Lab::open()?;
    let container = lab.start(Run::load("serve"))?;
    let args = ["snapshot", "--window", "0", "--format", "json", container.name()];
    // Without a name in time, the rest is reported all the same.
    let value = wait::until("the container's name", PATIENCE, || {
        let done = lab.tare.run(&args)?;
        if !done.status.success() {
            ensure!(done.stderr.contains("names may be missing"), "{done:?}");
            return Ok(None);
        }
        Ok(Some(serde_json::from_str::<Value>(&done.stdout)?))
    })?;
    ensure!(value["version"] == 1 && value["interval_seconds"].is_null(), "{value}");
    ensure!(value["containers"][0]["id"] == container.id(), "{value}");
    ensure!(value["containers"][0]["memory"]["usage_bytes"].as_u64() > Some(0), "{value}");
    ensure!(value["changes"] == serde_json::json!({}), "{value}");
    ensure!(value["sources"]["network_sockets"]["state"] == "off", "{value}");
    let reason = value["sources"]["network_sockets"]["reason"].as_str();
    ensure!(reason.is_some_and(|reason| reason.contains("single sample")), "{reason:?}");
    let unknown = lab.tare.run(&["snapshot", "--window", "100ms", &container.name()[1..]])?;
    ensure!(unknown.status.code() == Some(1), "{unknown:?}");
    ensure!(unknown.stderr.contains(container.name()), "not offered: {unknown:?}");
    Ok(())
}

#[test]
fn nothing_stays_in_the_kernel() -> Result<()> {
    let lab = Lab::open()?;
    let tare = Process::spawn(lab.tare.command(&["snapshot", "--window", "5s"]))?;
    let programs =
        wait::until("programs of tare", PATIENCE, || Ok(Programs::held_by(tare.id()).ok()))?;
    let done = tare.finish(PATIENCE)?;
    ensure!(done.status.success(), "{done:?}");
    programs.gone()
}

#[test]
fn colours_are_for_terminals_or_by_option() -> Result<()> {
    let lab = Lab::open()?;
    let saved = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/snapshot.json");
    ensure!(fs::exists(saved)?, "{saved} is missing");
    for (refusal, wanted) in [("", true), ("1", false)] {
        let mut command = lab.tare.command(&["snapshot", "--read", saved]);
        command.env("NO_COLOR", refusal).env("TERM", "xterm");
        let mut terminal = Terminal::spawn(command, 100, 60)?;
        ensure!(terminal.finish(PATIENCE)?.success(), "{}", terminal.written());
        let written = terminal.written();
        ensure!(written.contains("OUT OF MEMORY"), "{written}");
        ensure!(written.contains("\u{1b}[1;31mOUT OF") == wanted, "{refusal:?}: {written}");
    }
    Ok(())
}
