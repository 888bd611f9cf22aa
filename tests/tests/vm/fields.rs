//! Every field compared with its file: the file is read before and after Tare's report.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tare_tests::report::Row;

use crate::machine::{CGROUPS, Container, Driver, Machine};

/// A field, its file, the word before its number (none if the file begins with the number; the
/// period comes after the quota), and how many units of the file are one of the field.
const FIELDS: &[(&str, &str, &str, f64)] = &[
    ("/cpu/usage_seconds", "cpu.stat", "usage_usec", 1e6),
    ("/cpu/periods", "cpu.stat", "nr_periods", 1.0),
    ("/cpu/throttled_periods", "cpu.stat", "nr_throttled", 1.0),
    ("/cpu/throttled_seconds", "cpu.stat", "throttled_usec", 1e6),
    ("/cpu/bursts", "cpu.stat", "nr_bursts", 1.0),
    ("/cpu/burst_seconds", "cpu.stat", "burst_usec", 1e6),
    ("/cpu/settings/quota_seconds", "cpu.max", "", 1e6),
    ("/cpu/settings/period_seconds", "cpu.max", "30000", 1e6),
    ("/cpu/settings/burst_limit_seconds", "cpu.max.burst", "", 1e6),
    ("/cpu/settings/weight", "cpu.weight", "", 1.0),
    ("/cpu/pressure/some_seconds", "cpu.pressure", "some total", 1e6),
    ("/cpu/pressure/full_seconds", "cpu.pressure", "full total", 1e6),
    ("/memory/usage_bytes", "memory.current", "", 1.0),
    ("/memory/peak_bytes", "memory.peak", "", 1.0),
    ("/memory/swap_bytes", "memory.swap.current", "", 1.0),
    ("/memory/swap_peak_bytes", "memory.swap.peak", "", 1.0),
    ("/memory/limit_bytes", "memory.max", "", 1.0),
    ("/memory/limits/max_bytes", "memory.max", "", 1.0),
    ("/memory/limits/high_bytes", "memory.high", "", 1.0),
    ("/memory/limits/low_bytes", "memory.low", "", 1.0),
    ("/memory/limits/min_bytes", "memory.min", "", 1.0),
    ("/memory/limits/swap_max_bytes", "memory.swap.max", "", 1.0),
    ("/memory/limits/swap_high_bytes", "memory.swap.high", "", 1.0),
    ("/memory/events/low", "memory.events", "low", 1.0),
    ("/memory/events/high", "memory.events", "high", 1.0),
    ("/memory/events/max", "memory.events", "max", 1.0),
    ("/memory/events/oom", "memory.events", "oom", 1.0),
    ("/memory/events/oom_kill", "memory.events", "oom_kill", 1.0),
    ("/memory/events/oom_group_kill", "memory.events", "oom_group_kill", 1.0),
    ("/memory/events_local/low", "memory.events.local", "low", 1.0),
    ("/memory/events_local/high", "memory.events.local", "high", 1.0),
    ("/memory/events_local/max", "memory.events.local", "max", 1.0),
    ("/memory/events_local/oom", "memory.events.local", "oom", 1.0),
    ("/memory/events_local/oom_kill", "memory.events.local", "oom_kill", 1.0),
    ("/memory/events_local/oom_group_kill", "memory.events.local", "oom_group_kill", 1.0),
    ("/memory/oom_kills", "memory.events", "oom_kill", 1.0),
    ("/memory/rss_bytes", "memory.stat", "anon", 1.0),
    ("/memory/cache_bytes", "memory.stat", "file", 1.0),
    ("/memory/mapped_bytes", "memory.stat", "file_mapped", 1.0),
    ("/memory/numa_nodes/0/anon_bytes", "memory.numa_stat", "anon N0", 1.0),
    ("/memory/numa_nodes/0/file_bytes", "memory.numa_stat", "file N0", 1.0),
    ("/memory/numa_nodes/0/unevictable_bytes", "memory.numa_stat", "unevictable N0", 1.0),
    ("/memory/pressure/some_seconds", "memory.pressure", "some total", 1e6),
    ("/memory/pressure/full_seconds", "memory.pressure", "full total", 1e6),
    ("/memory/huge_pages/2MB/usage_bytes", "hugetlb.2MB.current", "", 1.0),
    ("/memory/huge_pages/2MB/limit_bytes", "hugetlb.2MB.max", "", 1.0),
    ("/memory/huge_pages/2MB/limit_hits", "hugetlb.2MB.events", "max", 1.0),
    ("/block/pressure/some_seconds", "io.pressure", "some total", 1e6),
    ("/block/pressure/full_seconds", "io.pressure", "full total", 1e6),
    ("/pids/current", "pids.current", "", 1.0),
    ("/pids/peak", "pids.peak", "", 1.0),
    ("/pids/limit", "pids.max", "", 1.0),
    ("/pids/limit_hits", "pids.events", "max", 1.0),
    ("/tree/descendants", "cgroup.stat", "nr_descendants", 1.0),
    ("/tree/dying_descendants", "cgroup.stat", "nr_dying_descendants", 1.0),
];

/// The parts of the CPU time, and the word of the other part. The kernel divides the usage anew at
/// each look at the file; the walk over cgroups is no such look, so its parts may be more than
/// those that the file says afterwards, but not more than the usage leaves.
const PARTS: &[(&str, &str, &str)] = &[
    ("/cpu/user_seconds", "user_usec", "system_usec"),
    ("/cpu/system_seconds", "system_usec", "user_usec"),
];

/// Fields that are in no file of v2.
const V1_ONLY: &[&str] = &[
    "/cpu/per_cpu_seconds",
    "/cpu/settings/shares",
    "/memory/under_oom",
    "/memory/memory_and_swap_peak_bytes",
    "/memory/limits/soft_bytes",
    "/memory/limits/memory_and_swap_max_bytes",
    "/memory/events/memory_and_swap_max",
    "/memory/events_local/memory_and_swap_max",
];

/// The contents of a cgroup's files.
struct Look(BTreeMap<String, String>);

impl Look {
    fn at(place: &Container) -> Result<Self> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(place.file("."))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // A few are write-only.
            if let Ok(text) = place.read(&name) {
                files.insert(name, text);
            }
        }
        Ok(Self(files))
    }

    /// The number behind a word; `None` if it is not there or is `max`.
    fn number(&self, file: &str, word: &str) -> Option<u64> {
        let text = self.0.get(file)?;
        if let Some((line, field)) = word.split_once(' ') {
            let line = text.lines().find_map(|found| found.strip_prefix(line))?;
            let mut fields = line.split_whitespace();
            return fields
                .find_map(|found| found.strip_prefix(field)?.strip_prefix('='))?
                .parse()
                .ok();
        }
        let rest = match word {
            "" => Some(text.as_str()),
            _ => text.lines().find_map(|found| found.strip_prefix(word)?.strip_prefix(' ')),
        };
        rest?.split_whitespace().next()?.parse().ok()
    }
}

/// A number of the report in the units of its file; `None` if it is `null` or not there.
fn reported(row: &Row, pointer: &str, scale: f64) -> Result<Option<u64>> {
    let Ok(value) = row.get(pointer) else { return Ok(None) };
    if value.is_null() {
        return Ok(None);
    }
    let number = value.as_f64().with_context(|| format!("{pointer} is {value}"))?;
    // Far below 2^53, and not negative.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(Some((number * scale).round() as u64))
}

fn between(
    what: &str,
    before: Option<u64>,
    reported: Option<u64>,
    after: Option<u64>,
) -> Result<()> {
    let range = || Some(before?.min(after?)..=before?.max(after?));
    let right = match (range(), reported) {
        (Some(range), Some(reported)) => range.contains(&reported),
        (None, None) => true,
        _ => false,
    };
    ensure!(right, "{what}: {reported:?}, from {before:?} to {after:?}");
    Ok(())
}

/// Enables all further controllers, down to the containers.
fn enable(controllers: &[&str]) -> Result<()> {
    for directory in [CGROUPS, &format!("{CGROUPS}/docker")] {
        let there = fs::read_to_string(Path::new(directory).join("cgroup.controllers"))?;
        for controller in there.split_whitespace().filter(|c| controllers.contains(c)) {
            let control = Path::new(directory).join("cgroup.subtree_control");
            fs::write(&control, format!("+{controller}"))
                .with_context(|| format!("+{controller} to {}", control.display()))?;
        }
    }
    Ok(())
}

/// Sets all that can be set, to other values than the defaults.
fn set(place: &Container) -> Result<()> {
    for (file, value) in [
        ("cpu.max", "30000 100000"),
        ("cpu.max.burst", "10000"),
        ("cpu.weight", "55"),
        ("cpuset.cpus", "0"),
        ("memory.max", "100M"),
        ("memory.high", "90M"),
        ("memory.low", "8M"),
        ("memory.min", "4M"),
        ("memory.swap.max", "50M"),
        ("memory.swap.high", "40M"),
        ("hugetlb.2MB.max", "4M"),
        ("pids.max", "50"),
    ] {
        let file = place.file(file);
        if file.exists() {
            fs::write(&file, value).with_context(|| file.display().to_string())?;
        }
    }
    Ok(())
}

/// Files that every tested kernel has.
const ALWAYS: &[&str] =
    &["cpu.max", "cpu.weight", "cpu.pressure", "memory.high", "memory.min", "pids.max"];

#[test]
fn every_field_is_what_its_file_says() -> Result<()> {
    let machine = Machine::take()?;
    let place = Container::new(Driver::Cgroupfs)?;
    enable(&["cpuset", "hugetlb"])?;
    set(&place)?;
    let mut idle = machine.start(&place, "allocate --bytes 16MiB --for 600s", None)?;
    idle.ready()?;
    let mut busy = machine.start(&place, "spin --for 600s --threads 3", None)?;
    busy.ready()?;

    let before = Look::at(&place)?;
    let report = machine.tare.report()?;
    let after = Look::at(&place)?;
    let row = report.row(place.id())?;
    for file in ALWAYS {
        ensure!(before.0.contains_key(*file), "no {file}");
    }
    for (pointer, file, word, scale) in FIELDS {
        let (before, after) = (before.number(file, word), after.number(file, word));
        between(pointer, before, reported(&row, pointer, *scale)?, after)?;
    }
    for (pointer, part, rest) in PARTS {
        let stat = |look: &Look, word| look.number("cpu.stat", word);
        let most = stat(&after, "usage_usec")
            .zip(stat(&before, rest))
            .map(|(usage, rest)| usage.saturating_sub(rest));
        between(pointer, stat(&before, part), reported(&row, pointer, 1e6)?, most)?;
    }
    for pointer in V1_ONLY {
        ensure!(row.get(pointer)?.is_null(), "{pointer}: {row:?}");
    }
    ensure!(row.f64("/cpu/limit_cores")?.to_string() == "0.3", "{row:?}");
    ensure!(row.u64("/cpu/throttled_periods")? > 0, "{row:?}");
    for (list, file) in [
        ("cpus", "cpuset.cpus"),
        ("effective_cpus", "cpuset.cpus.effective"),
        ("mems", "cpuset.mems"),
        ("effective_mems", "cpuset.mems.effective"),
    ] {
        let said = before.0.get(file).filter(|text| !text.is_empty());
        let said = said.map_or(Value::Null, |text| Value::from(text.as_str()));
        ensure!(*row.get(&format!("/cpu/settings/{list}"))? == said, "{file}: {said}, {row:?}");
    }
    ensure!(*row.get("/tree/populated")? == true && *row.get("/tree/frozen")? == false, "{row:?}");
    Ok(())
}

#[test]
fn the_whole_memory_stat_is_reported() -> Result<()> {
    let machine = Machine::take()?;
    let place = Container::new(Driver::Systemd)?;
    let mut load = machine.start(&place, "allocate --bytes 16MiB --for 600s", None)?;
    load.ready()?;
    let before = Look::at(&place)?;
    let report = machine.tare.report()?;
    let after = Look::at(&place)?;
    let row = report.row(place.id())?;
    let stat = row.get("/memory/stat")?.as_object().context("no memory.stat")?;
    let lines = before.0.get("memory.stat").context("no memory.stat")?.lines().count();
    ensure!(stat.len() == lines && lines > 20, "{} of {lines} fields: {row:?}", stat.len());
    for (name, reported) in stat {
        let (before, after) =
            (before.number("memory.stat", name), after.number("memory.stat", name));
        between(name, before, reported.as_u64(), after)?;
    }
    Ok(())
}

#[test]
fn a_frozen_cgroup_is_frozen() -> Result<()> {
    let machine = Machine::take()?;
    let place = Container::new(Driver::Cgroupfs)?;
    let mut load = machine.start(&place, "serve", None)?;
    load.ready()?;
    let state = || -> Result<String> {
        let report = machine.tare.report()?;
        Ok(report.row(place.id())?.str("/state")?.to_owned())
    };
    ensure!(state()? == "running", "before it is frozen");
    fs::write(place.file("cgroup.freeze"), "1")?;
    ensure!(state()? == "frozen", "while it is frozen");
    fs::write(place.file("cgroup.freeze"), "0")?;
    ensure!(state()? == "running", "after it was frozen");
    Ok(())
}
