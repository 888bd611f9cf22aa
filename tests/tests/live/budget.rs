//! `tare budget` and `tare diff`: real containers over and under their limits, before and after.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tare_tests::{docker::Run, lab::Lab};

#[test]
fn a_container_over_its_budget_fails_the_command() -> Result<()> {
    let lab = Lab::open()?;
    let slowed = lab.start(Run::load("spin --threads 2 --for 600s").option("--cpus", "0.2"))?;
    let idle = lab.start(Run::load("serve"))?;
    let job = lab.start(Run::load("allocate --bytes 20MiB --for 600s"))?;
    for container in [&slowed, &idle, &job] {
        container.ready()?;
    }
    let budget = |limits: &str| -> Result<String> {
        let file = lab.scratch.path().join("limits.toml");
        fs::write(&file, limits)?;
        Ok(file.to_str().context("the file's path is not UTF-8")?.to_owned())
    };
    let kept = budget(&format!(
        "[[budget]]\ncontainers = '{}'\ncpu_percent = 100\npids = 9\nmemory_oom_kills = 0",
        idle.name()
    ))?;
    let done = lab.tare.run(&["budget", &kept, "--window", "500ms"])?;
    ensure!(done.status.success() && done.stdout.contains("0 of 3 checks"), "{done:?}");

    let broken = budget(&format!(
        "[[budget]]\ncontainers = '{}'\ncpu_throttled_percent = 5\ncpu_percent = 100
         [[budget]]\ncontainers = '{}'\nmemory_peak_bytes = '16MiB'\npids = 1
         [[budget]]\ncontainers = 'nobody-*'\npids = 1",
        slowed.name(),
        job.name()
    ))?;
    let socket = format!("unix://{}", lab.docker.socket().display());
    let end = ["--", "docker", "--host", &socket, "kill", job.name()];
    let done = lab.tare.run(&[&["budget", &broken, "--format", "json"], &end[..]].concat())?;
    ensure!(done.status.code() == Some(1), "{done:?}");
    let outcome: Value = serde_json::from_str(&done.stdout)?;
    let results = outcome["results"].as_array().context("no results")?;
    let state = |name: &str, measure: &str| -> Option<&str> {
        let found =
            results.iter().find(|it| it["container"] == name && it["measure"] == measure)?;
        found["state"].as_str()
    };
    for (name, measure, expected) in [
        (slowed.name(), "cpu_throttled_percent", Some("exceeded")),
        (slowed.name(), "cpu_percent", Some("kept")),
        (job.name(), "memory_peak_bytes", Some("exceeded")),
        // Nobody can tell how many tasks a container has that is gone.
        (job.name(), "pids", None),
        ("nobody-*", "pids", Some("no_container")),
    ] {
        ensure!(state(name, measure) == expected, "{name}, {measure}: {outcome}");
    }
    let peak = results.iter().find(|it| it["measure"] == "memory_peak_bytes");
    let peak = peak.and_then(|it| it["value"].as_f64()).context("no peak")?;
    ensure!((20e6..40e6).contains(&peak), "20 MiB were {peak} bytes at most");

    let done = lab.tare.run(&["budget", &kept, "--", "false"])?;
    ensure!(done.status.code() == Some(1) && done.stderr.contains("false failed"), "{done:?}");
    let done = lab.tare.run(&["budget", &kept, "--", "/nonexistent"])?;
    ensure!(done.stderr.contains("cannot run /nonexistent"), "{done:?}");
    Ok(())
}

#[test]
fn a_difference_has_the_numbers_of_both_snapshots() -> Result<()> {
    let lab = Lab::open()?;
    let gate = lab.gate()?;
    let busy = lab.start(Run::load("spin --for 600s").behind(&gate))?;
    let idle = lab.start(Run::load("serve"))?;
    idle.ready()?;
    let snapshot = |name: &str| -> Result<(String, Value)> {
        let file = lab.scratch.path().join(name);
        let file = file.to_str().context("the file's path is not UTF-8")?.to_owned();
        let args = ["snapshot", "--window", "1s", "--format", "json", "--output", &file];
        let done = lab.tare.run(&args)?;
        ensure!(done.status.success(), "{done:?}");
        Ok((file, serde_json::from_str(&done.stdout)?))
    };
    let percent = |snapshot: &Value| {
        let mut rows = snapshot["containers"].as_array().into_iter().flatten();
        rows.find(|row| row["id"] == busy.id())?["cpu"]["percent"].as_f64()
    };
    let (before, was) = snapshot("before.json")?;
    gate.open()?;
    busy.ready()?;
    let new = lab.start(Run::load("serve"))?;
    new.ready()?;
    let (after, is) = snapshot("after.json.zst")?;

    let done = lab.tare.run(&["diff", &before, &after, "--format", "json"])?;
    ensure!(done.status.success(), "{done:?}");
    let found: Value = serde_json::from_str(&done.stdout)?;
    let mut changes = found["changes"].as_array().into_iter().flatten();
    let change = changes
        .find(|it| it["container"] == busy.name() && it["measure"] == "cpu_percent")
        .with_context(|| format!("no change of CPU: {found}"))?;
    let numbers = (change["before"].as_f64(), change["after"].as_f64());
    ensure!(numbers == (percent(&was), percent(&is)), "{change}: {was}, {is}");
    ensure!(numbers.0 < Some(5.0) && numbers.1 > Some(20.0), "{change}");
    let only_after = found["only_after"].as_array().context("no list")?;
    ensure!(only_after.iter().any(|name| *name == new.name()), "{found}");

    let done = lab.tare.run(&["diff", &before, &after, idle.name()])?;
    ensure!(done.status.success() && !done.stdout.contains(busy.name()), "{done:?}");
    let done = lab.tare.run(&["diff", &before, "/nonexistent"])?;
    ensure!(!done.status.success() && done.stderr.contains("/nonexistent"), "{done:?}");
    Ok(())
}
