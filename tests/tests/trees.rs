//! Ring 2: the binary on artificial trees: garbage in a file, and more cgroups than descriptors.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tare_tests::{
    binaries,
    process::{Finished, run},
    report::Report,
    wait::PATIENCE,
};
use tempfile::TempDir;

/// A container of the fixture `v2-cgroupfs`, with 256 MiB of memory.
const CONTAINER: &str = "60891bae9fd3dc0db73688ed83f48be924c2992a4e1b6d74ab4ad46188f5a3ba";

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v2-cgroupfs")
}

/// A tree with copies of that container.
fn tree(ids: &[String]) -> Result<TempDir> {
    let tree = tempfile::tempdir()?;
    fs::write(tree.path().join("cgroup.controllers"), "cpu io memory pids\n")?;
    let original = fixture().join("cgroup/docker").join(CONTAINER);
    for id in ids {
        let copy = tree.path().join("docker").join(id);
        fs::create_dir_all(&copy)?;
        for entry in fs::read_dir(&original).with_context(|| original.display().to_string())? {
            let entry = entry?;
            fs::copy(entry.path(), copy.join(entry.file_name()))?;
        }
    }
    Ok(tree)
}

/// One report of a tree, with limits set by a shell.
fn report(tree: &TempDir, limit: &str) -> Result<(Report, Finished)> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("{limit} exec \"$0\" \"$@\"")]).arg(binaries::tare()?);
    command.arg("--cgroup-root").arg(tree.path()).arg("--proc-root").arg(fixture().join("proc"));
    command.arg("--sys-root").arg(fixture().join("sys"));
    command.args(["--bpf", "off", "--docker-socket", "off"]);
    command.args(["stats", "--no-stream", "--format", "json"]);
    let done = run(command, PATIENCE)?;
    ensure!(done.status.success(), "tare: {}: {}", done.status, done.stderr.trim());
    Ok((Report::parse(done.stdout.trim())?, done))
}

/// A report without its time.
fn timeless(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("stat_at");
    }
    value
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{number:064x}")).collect()
}

#[test]
fn a_file_with_garbage_is_reported_with_its_path() -> Result<()> {
    let ids = ids(2);
    let tree = tree(&ids)?;
    let file = tree.path().join("docker").join(&ids[0]).join("memory.stat");
    // Valid fields, more of them than any kernel has, and bytes that are no text.
    let mut garbage: Vec<u8> =
        (0..8192).flat_map(|n| format!("field{n} {n}\n").into_bytes()).collect();
    garbage.extend([0xff, 0, b'\n']);
    ensure!(garbage.len() > 64 << 10, "too little garbage");
    fs::write(&file, garbage)?;
    let (report, done) = report(&tree, "")?;
    let path = file.to_str().context("the path is not UTF-8")?;
    ensure!(done.stderr.contains(path), "stderr does not name {path}: {}", done.stderr);
    ensure!(done.stderr.contains("too long for a memory.stat"), "{}", done.stderr);
    ensure!(done.stderr.matches(path).count() == 1, "reported more than once: {}", done.stderr);
    let row = report.row(&ids[0])?;
    ensure!(row.get("/memory/stat")?.as_object().is_some_and(serde_json::Map::is_empty), "{row:?}");
    ensure!(row.get("/memory/rss_bytes")?.is_null(), "{row:?}");
    ensure!(row.u64("/memory/usage_bytes")? > 0 && row.u64("/pids/current")? > 0, "{row:?}");
    ensure!(row.u64("/memory/limit_bytes")? == 256 << 20, "{row:?}");
    ensure!(report.row(&ids[1])?.u64("/memory/rss_bytes")? > 0, "the other one");
    Ok(())
}

#[test]
fn with_few_descriptors_nothing_is_lost() -> Result<()> {
    let ids = ids(100);
    let tree = tree(&ids)?;
    let (plenty, _) = report(&tree, "")?;
    for family in ["cpu", "memory", "pids"] {
        ensure!(plenty.source(family)? == ("on", None), "{family} with plenty of descriptors");
    }
    let (few, done) = report(&tree, "ulimit -n 64;")?;
    ensure!(!done.stderr.contains("Too many open files"), "{}", done.stderr);
    for family in ["cpu", "memory", "pids"] {
        let (state, reason) = few.source(family)?;
        let reason = reason.unwrap_or_default();
        ensure!(state == "degraded" && reason.contains("only 64 files"), "{family}: {reason}");
    }
    for id in &ids {
        let (few, plenty) = (few.row(id)?, plenty.row(id)?);
        for part in ["/memory", "/pids", "/tree", "/cpu/usage_seconds", "/cpu/settings", "/block"] {
            let (few, plenty) = (timeless(few.get(part)?), timeless(plenty.get(part)?));
            ensure!(few == plenty, "{part} of {id}: {few} instead of {plenty}");
        }
        ensure!(few.u64("/memory/usage_bytes")? > 0, "{few:?}");
    }
    Ok(())
}
