//! Ring 2: the binary on captured trees, compared with golden files.
//!
//! `TARE_UPDATE_GOLDEN=1` rewrites the golden files; a missing one fails the test.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tare_tests::{
    binaries,
    doctor::Diagnosis,
    report::Report,
    scratch::Scratch,
    tare::Tare,
    tare_daemon::TareDaemon,
    wait::{self, PATIENCE},
};

/// Every tree has two Docker containers with the same memory and limits.
/// Full id, usage, working set, limit, pids.
const CONTAINERS: [(&str, u64, u64, u64, u64); 2] = [
    (
        "60891bae9fd3dc0db73688ed83f48be924c2992a4e1b6d74ab4ad46188f5a3ba",
        17_297_408,
        17_297_408,
        268_435_456,
        1,
    ),
    (
        "c9d978f241c085df91ee5895548a8a09e4b27b7ec47503c27ecd20b4c3547d95",
        9_105_408,
        9_105_408 - 8_388_608,
        134_217_728,
        1,
    ),
];

/// The Kubernetes container of the tree `v2-systemd`.
const POD_CONTAINER: &str = "5f1d7e84a9c2b3606fd1e0c5a47b98213e6d0f5c4b8a79e2d1c3f60b5a4e9d87";
const POD_UID: &str = "0c41d62e-75f3-4d6b-9d0c-3b1a5f0e2a77";

fn tests_directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `tare` with the roots of a tree.
fn tare(tree: &Path) -> Result<Tare> {
    let mut tare = Tare::at(binaries::tare()?);
    for (option, part) in
        [("--cgroup-root", "cgroup"), ("--proc-root", "proc"), ("--sys-root", "sys")]
    {
        let part = tree.join(part);
        ensure!(part.is_dir(), "the fixture {} is missing", part.display());
        tare = tare.option(option, part.to_str().context("the fixture's path is not UTF-8")?);
    }
    let off = ["--bpf", "--docker-socket", "--podman-socket", "--cri-socket"];
    Ok(off.into_iter().fold(tare, |tare, option| tare.option(option, "off")))
}

/// Removes what differs between two runs or two checkouts.
fn normalised(mut value: Value, tree: &Path) -> Result<String> {
    value["time"] = json!("TIME");
    if !value["interval_seconds"].is_null() {
        value["interval_seconds"] = json!("INTERVAL");
    }
    let rows = value["containers"].as_array_mut().context("containers")?;
    for row in rows.iter_mut().filter(|row| !row["cgroup_id"].is_null()) {
        row["cgroup_id"] = json!("INODE");
    }
    for row in rows.iter_mut().filter(|row| !row["memory"]["stat_at"].is_null()) {
        row["memory"]["stat_at"] = json!("TIME");
    }
    // The order of rows is not specified.
    rows.sort_by_key(|row| row["id"].to_string());
    let text = serde_json::to_string_pretty(&value).context("print the report")? + "\n";
    Ok(text.replace(tree.to_str().context("the fixture's path is not UTF-8")?, "FIXTURE"))
}

/// Checks that do not depend on the golden file.
fn ensure_facts(report: &Report, layout: &str, cgroup_of: impl Fn(&str) -> String) -> Result<()> {
    let host = &report.value()["host"];
    ensure!(host["cgroup_layout"] == layout, "the layout is {}", host["cgroup_layout"]);
    ensure!(host["hostname"] == "weigh-house" && host["online_cpus"] == 2, "{host}");
    ensure!(host["memory_bytes"] == 24_684_084_u64 * 1024, "{host}");
    ensure!(report.source("network_sockets")?.0 == "off", "sockets without BPF");
    for (id, usage, working_set, limit, pids) in CONTAINERS {
        let row = report.row(id)?;
        ensure!(row.str("/kind")? == "container" && row.str("/runtime")? == "docker", "{row:?}");
        ensure!(row.str("/cgroup")? == cgroup_of(id), "{row:?}");
        ensure!(row.get("/name")?.is_null() && row.get("/network/sockets")?.is_null(), "{row:?}");
        ensure!(row.u64("/memory/usage_bytes")? == usage, "usage {usage}: {row:?}");
        ensure!(row.u64("/memory/working_set_bytes")? == working_set, "{working_set}: {row:?}");
        ensure!(row.u64("/memory/limit_bytes")? == limit, "limit {limit}: {row:?}");
        ensure!(row.u64("/pids/current")? == pids, "pids {pids}: {row:?}");
        // Of the one captured container or the other: both used about 30 ms.
        ensure!((0.02..0.05).contains(&row.f64("/cpu/usage_seconds")?), "CPU time: {row:?}");
    }
    Ok(())
}

fn ensure_golden(report: &Report, name: &str, tree: &Path) -> Result<()> {
    ensure_text(&normalised(report.value().clone(), tree)?, &format!("{name}.json"))
}

fn ensure_text(found: &str, name: &str) -> Result<()> {
    let path: PathBuf = tests_directory().join("golden").join(name);
    if std::env::var_os("TARE_UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        let parent = path.parent().context("the golden files' directory")?;
        fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        return fs::write(&path, found).with_context(|| format!("write {}", path.display()));
    }
    let golden = fs::read_to_string(&path).with_context(|| {
        format!("read {}; TARE_UPDATE_GOLDEN=1 writes it, to be looked at", path.display())
    })?;
    let mut pairs = golden.lines().zip(found.lines()).enumerate();
    if let Some((n, (want, have))) = pairs.find(|(_, (want, have))| want != have) {
        bail!("{}:{}: the golden file says\n  {want}\nand tare\n  {have}", path.display(), n + 1);
    }
    ensure!(golden == *found, "{} and tare's report differ in length", path.display());
    Ok(())
}

fn check(name: &str, layout: &str, cgroup_of: impl Fn(&str) -> String) -> Result<Report> {
    let tree = tests_directory().join("fixtures").join(name);
    let report = tare(&tree)?.report()?;
    ensure_facts(&report, layout, cgroup_of)?;
    ensure_golden(&report, name, &tree)?;
    Ok(report)
}

/// The number of rows that are containers.
fn containers(report: &Report) -> usize {
    let rows = report.value()["containers"].as_array();
    rows.map_or(0, |rows| rows.iter().filter(|row| row["kind"] == "container").count())
}

fn by_cgroupfs(id: &str) -> String {
    format!("/docker/{id}")
}

fn by_systemd(id: &str) -> String {
    format!("/system.slice/docker-{id}.scope")
}

#[test]
fn docker_on_v1_with_cgroupfs() -> Result<()> {
    let report = check("v1-cgroupfs", "v1", by_cgroupfs)?;
    ensure!(containers(&report) == 2, "{}", report.value());
    ensure!(report.row(CONTAINERS[0].0)?.get("/cgroup_id")?.is_null(), "no cgroup2 is there");
    Ok(())
}

#[test]
fn docker_on_v1_with_systemd() -> Result<()> {
    let report = check("v1-systemd", "v1", by_systemd)?;
    ensure!(containers(&report) == 2, "{}", report.value());
    Ok(())
}

#[test]
fn docker_on_a_hybrid_host() -> Result<()> {
    let report = check("hybrid", "hybrid", by_cgroupfs)?;
    ensure!(containers(&report) == 2, "{}", report.value());
    ensure!(report.row(CONTAINERS[0].0)?.u64("/cgroup_id")? > 0, "its cgroup2 directory");
    Ok(())
}

#[test]
fn docker_on_v2_with_cgroupfs() -> Result<()> {
    let report = check("v2-cgroupfs", "v2", by_cgroupfs)?;
    ensure!(containers(&report) == 2, "{}", report.value());
    let row = report.row(CONTAINERS[1].0)?;
    ensure!(row.u64("/memory/oom_kills")? == 2, "{row:?}");
    ensure!(row.u64("/memory/swap_bytes")? == 12_288, "{row:?}");
    ensure!(row.u64("/memory/peak_bytes")? == 9_105_408 + 1_048_576, "{row:?}");
    Ok(())
}

#[test]
fn docker_and_kubernetes_on_v2_with_systemd() -> Result<()> {
    let report = check("v2-systemd", "v2", by_systemd)?;
    ensure!(containers(&report) == 3, "{}", report.value());
    let row = report.row(POD_CONTAINER)?;
    ensure!(row.str("/runtime")? == "containerd", "{row:?}");
    ensure!(row.str("/pod/uid")? == POD_UID && row.str("/pod/qos")? == "burstable", "{row:?}");
    ensure!(row.u64("/memory/working_set_bytes")? == 52_428_800 - 4_194_304, "{row:?}");
    Ok(())
}

/// The page of `tare snapshot` for a tree, or for a saved snapshot.
fn page(tare: &Tare, args: &[&str]) -> Result<String> {
    let done = tare.run(&[&["snapshot"], args].concat())?;
    ensure!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    let wide = done.stdout.lines().find(|line| line.chars().count() > 100);
    ensure!(wide.is_none(), "longer than 100 columns: {wide:?}");
    Ok(done.stdout)
}

#[test]
fn a_snapshot_of_each_tree() -> Result<()> {
    for name in ["v1-cgroupfs", "v1-systemd", "hybrid", "v2-cgroupfs", "v2-systemd"] {
        let tree = tests_directory().join("fixtures").join(name);
        let page = page(&tare(&tree)?, &["--window", "0"])?;
        let (host, rest) = page.split_once(": ").context("no heading")?;
        let (time, rest) = rest.split_once(" UTC").context("no time in the heading")?;
        ensure!(host == "weigh-house" && time.len() == "2026-11-21 13:49:51".len(), "{page}");
        let tree = tree.to_str().context("the fixture's path is not UTF-8")?;
        let text = format!("{host}: TIME{rest}").replace(tree, "FIXTURE");
        ensure_text(&text, &format!("snapshot-{name}.txt"))?;
    }
    Ok(())
}

#[test]
fn a_saved_snapshot_is_shown_again() -> Result<()> {
    let saved = tests_directory().join("fixtures/snapshot.json");
    let saved = saved.to_str().context("the fixture's path is not UTF-8")?;
    let tare = Tare::at(binaries::tare()?);
    let whole = page(&tare, &["--read", saved])?;
    ensure_text(&whole, "snapshot-saved.txt")?;
    ensure_text(&page(&tare, &["--read", saved, "cache", "api"])?, "snapshot-saved-chosen.txt")?;
    let json = page_json(&tare, saved)?;
    let text = fs::read_to_string(saved).context("read the fixture")?;
    ensure!(json == serde_json::from_str::<Value>(&text)?, "something was lost on the way");
    let mut piped = tare.command(&["snapshot", "--read", "-"]);
    piped.stdin(fs::File::open(saved).context("open the fixture")?);
    let done = piped.output().context("run tare")?;
    ensure!(done.stdout == whole.as_bytes(), "standard input is another file: {done:?}");
    Ok(())
}

fn page_json(tare: &Tare, saved: &str) -> Result<Value> {
    let done = tare.run(&["snapshot", "--read", saved, "--format", "json"])?;
    ensure!(done.status.success(), "{done:?}");
    serde_json::from_str(&done.stdout).context("no JSON")
}

#[test]
fn a_snapshot_of_a_tree_is_saved_and_read_back() -> Result<()> {
    let scratch = Scratch::new()?;
    for name in ["v1-cgroupfs", "v1-systemd", "hybrid", "v2-cgroupfs", "v2-systemd"] {
        let tare = tare(&tests_directory().join("fixtures").join(name))?;
        for (ending, window) in [("json", "0"), ("json.zst", "100ms")] {
            let file = scratch.path().join(format!("{name}.{ending}"));
            let file = file.to_str().context("the file's path is not UTF-8")?;
            let args = ["snapshot", "--window", window, "--format", "json", "--output", file];
            let done = tare.run(&args)?;
            ensure!(done.status.success(), "{done:?}");
            let shown: Value = serde_json::from_str(&done.stdout).context("no JSON")?;
            ensure!(page_json(&tare, file)? == shown, "{file} is another snapshot");
            ensure!(shown["version"] == 1 && shown["changes"].is_object(), "{shown}");
            ensure!(shown["interval_seconds"].is_null() == (window == "0"), "{shown}");
        }
    }
    Ok(())
}

#[test]
fn a_file_that_is_no_snapshot_is_rejected() -> Result<()> {
    let scratch = Scratch::new()?;
    let tare = Tare::at(binaries::tare()?);
    let file = scratch.path().join("a file");
    let path = file.to_str().context("the file's path is not UTF-8")?;
    let directory = scratch.path().to_str().context("the directory's path is not UTF-8")?;
    for (text, said) in [
        ("{\"version\": 2}", "version 2, and this `tare` reads up to 1"),
        ("{\"version\": 1, \"host\": {", "cut off"),
        ("hello", "no JSON"),
    ] {
        fs::write(&file, text).context("write the file")?;
        let done = tare.run(&["snapshot", "--read", path])?;
        ensure!(done.status.code() == Some(1) && done.stdout.is_empty(), "{done:?}");
        ensure!(done.stderr.contains(said) && done.stderr.contains(path), "{done:?}");
    }
    for args in [["--read", directory], ["--output", directory], ["--read", "/none"]] {
        let done = tare.run(&[&["snapshot"][..], &args[..]].concat())?;
        ensure!(done.status.code() == Some(1) && done.stderr.contains(args[1]), "{done:?}");
    }
    let saved = tests_directory().join("fixtures/snapshot.json");
    let saved = saved.to_str().context("the fixture's path is not UTF-8")?;
    let done = tare.run(&["snapshot", "--read", saved, "chache"])?;
    ensure!(done.status.code() == Some(1), "{done:?}");
    ensure!(done.stderr.contains("did you mean cache?"), "{done:?}");
    Ok(())
}

#[test]
fn the_doctor_on_v2_with_systemd() -> Result<()> {
    let tree = tests_directory().join("fixtures/v2-systemd");
    let found = Diagnosis::of(&tare(&tree)?)?;
    ensure!(found.state("memory")? == "on" && found.state("block")? == "degraded", "{found:?}");
    ensure!(found.str("/clock/remedy")?.contains("dmesg"), "{found:?}");
    let mut value = found.value().clone();
    value["version"] = json!("VERSION");
    value["kernel_side"]["object"] = json!("OBJECT");
    // This host's.
    value["recording"] = json!("RECORDING");
    let text = serde_json::to_string_pretty(&value).context("print the findings")? + "\n";
    let tree = tree.to_str().context("the fixture's path is not UTF-8")?;
    ensure_text(&text.replace(tree, "FIXTURE"), "doctor-v2-systemd.json")
}

#[test]
fn a_cgroup2_without_controllers_says_so() -> Result<()> {
    let tree = tests_directory().join("fixtures/v2-systemd");
    let scratch = Scratch::new()?;
    let cgroup = scratch.subdirectory()?;
    fs::write(cgroup.join("cgroup.controllers"), "cpu io\n").context("write the controllers")?;
    let cgroup = cgroup.to_str().context("the directory's path is not UTF-8")?;
    let proc = tree.join("proc");
    let found = Diagnosis::of(
        &Tare::at(binaries::tare()?)
            .option("--cgroup-root", cgroup)
            .option("--proc-root", proc.to_str().context("the fixture's path is not UTF-8")?)
            .option("--bpf", "off")
            .option("--docker-socket", "off")
            .option("--podman-socket", "off")
            .option("--cri-socket", "off"),
    )?;
    ensure!(found.state("cpu")? == "on", "{found:?}");
    for family in ["memory", "pids"] {
        ensure!(found.state(family)? == "off", "{found:?}");
        let remedy = found.str(&format!("/families/{family}/remedy"))?;
        ensure!(remedy.contains(&format!("cgroup_disable={family}")), "{remedy}");
    }
    Ok(())
}

/// Removes from a scrape what differs between two runs or two checkouts.
fn normalised_metrics(text: &str, tree: &Path) -> Result<String> {
    const CHANGING: [&str; 7] = [
        "process_",
        "tare_sample_",
        "tare_samples_",
        "tare_http_",
        "tare_history_",
        "tare_system_calls_",
        "container_last_seen",
    ];
    let line = |line: &str| match line.rsplit_once(' ') {
        Some((name, _)) if CHANGING.iter().any(|changing| name.starts_with(changing)) => {
            format!("{name} VALUE\n")
        }
        _ => format!("{line}\n"),
    };
    // Descriptors and memory differ between users.
    let lines = text.lines().filter(|line| !line.contains("tare_capability_info"));
    let text: String = lines.map(line).collect();
    Ok(text.replace(tree.to_str().context("the fixture's path is not UTF-8")?, "FIXTURE"))
}

/// The report in a daemon's snapshot.
fn report_of(snapshot: &Value) -> Result<Value> {
    ensure!(snapshot["version"] == 1 && snapshot["watched_since"].is_string(), "{snapshot}");
    let changes = snapshot["changes"].as_object().context("no changes")?;
    let rows = snapshot["containers"].as_array().context("no containers")?;
    let has_changes =
        |row: &Value| row["cgroup"].as_str().is_some_and(|path| changes.contains_key(path));
    ensure!(rows.iter().all(has_changes) && rows.len() == changes.len(), "{snapshot}");
    let mut report = snapshot.clone();
    let keys = report.as_object_mut().context("no object")?;
    for key in ["version", "watched_since", "changes"] {
        keys.remove(key);
    }
    Ok(report)
}

/// The daemon on a tree: what it serves must be what `tare stats` reports, in every form.
fn check_daemon(name: &str, label_set: &str) -> Result<()> {
    let tree = tests_directory().join("fixtures").join(name);
    let daemon =
        TareDaemon::start(&tare(&tree)?, &["--label-set", label_set, "--interval", "100ms"])?;
    let snapshot = wait::until("a second sample", PATIENCE, || {
        Ok(Some(daemon.json("/api/v1/snapshot")?).filter(|it| !it["interval_seconds"].is_null()))
    })?;
    let metrics = normalised_metrics(&daemon.metrics()?, &tree)?;
    ensure_text(&metrics, &format!("{name}.{label_set}.metrics"))?;
    for part in ["containers", "ended", "host", "sources"] {
        let served = daemon.json(&format!("/api/v1/{part}"))?;
        // A captured tree does not change between two samples.
        ensure!(served == snapshot[part], "/api/v1/{part} is {served}");
    }
    let one = daemon.json(&format!("/api/v1/containers/{}", &CONTAINERS[0].0[..8]))?;
    ensure!(one["id"] == CONTAINERS[0].0, "{one}");
    ensure_text(&normalised(report_of(&snapshot)?, &tree)?, &format!("{name}.json"))?;
    ensure_described(&daemon)?;
    let done = daemon.terminate()?;
    ensure!(done.status.success(), "{done:?}");
    Ok(())
}

/// Every path in the API's index exists. Streams are left out: they have no end.
fn ensure_described(daemon: &TareDaemon) -> Result<()> {
    let api = daemon.json("/api/openapi.json")?;
    let paths = api["paths"].as_object().context("no paths")?;
    ensure!(paths.len() > 8, "{api}");
    let streams = ["/api/v1/events", "/api/v1/live"];
    for path in paths.keys().filter(|path| !streams.contains(&path.as_str())) {
        let path = match path.as_str() {
            "/api/v1/history" => format!("{path}?container={}", CONTAINERS[0].0),
            _ => path.replace("{name}", CONTAINERS[0].0),
        };
        let answer = daemon.get(&path)?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
    }
    Ok(())
}

#[test]
fn served_from_v1_with_the_labels_of_cadvisor() -> Result<()> {
    check_daemon("v1-cgroupfs", "standalone")
}

#[test]
fn served_from_v2_with_the_labels_of_cadvisor() -> Result<()> {
    check_daemon("v2-systemd", "standalone")
}

#[test]
fn served_from_v2_with_the_labels_of_the_kubelet() -> Result<()> {
    check_daemon("v2-systemd", "kubelet")
}
