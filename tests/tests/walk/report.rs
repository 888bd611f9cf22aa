//! Whole reports: one from the walk is what those from files say before and after it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tare_tests::{report::Report, scratch::Scratch, tare::Tare};

use super::groups::Groups;

/// Numbers may rise and fall between two reports: what is wrong is wrong each time.
const ATTEMPTS: usize = 3;

/// When something was read or began, and the disk, to which others write: different in each report.
const CHANGING: [&str; 6] =
    ["since", "details_since", "stat_at", "read_at", "open_files_read_at", "root_filesystem"];

/// What the kernel counts before it has a file for it (`memory.swap.peak`, Linux 6.5).
const WITHOUT_FILE: &str = "memory swap_peak_bytes";

/// All leaves of a report's rows, by cgroup and place.
type Leaves = BTreeMap<String, Value>;

/// Every number of so many cgroups that ran loads of all kinds.
pub(crate) fn a_report_from_the_walk_is_that_of_files(tare: &Tare, count: usize) -> Result<()> {
    let groups = Groups::new(count)?;
    let scratch = Scratch::new()?;
    groups.load(scratch.path(), false)?;
    let mut wrong: Option<BTreeSet<String>> = None;
    for _ in 0..ATTEMPTS {
        let before = leaves(&report(tare, "files")?, groups.name())?;
        let walked = report(tare, "walk")?;
        ensure!(comes_from_the_walk(&walked, "memory")?, "{}", walked.value()["sources"]);
        ensure!(comes_from_the_walk(&walked, "pids")?, "{}", walked.value()["sources"]);
        let walked = leaves(&walked, groups.name())?;
        let after = leaves(&report(tare, "files")?, groups.name())?;
        ensure!(before.len() > count * 100, "only {} numbers", before.len());
        for word in ["oom_kill", "pgfault", "total_seconds", "throttled"] {
            let moved = |(place, value): (&String, &Value)| {
                place.contains(word) && value.as_f64().is_some_and(|value| value > 0.0)
            };
            let is_known = before.keys().any(|place| place.contains(word));
            ensure!(!is_known || before.iter().any(moved), "{word} is 0 everywhere");
        }
        let found = differences(&before, &walked, &after);
        wrong = Some(match wrong {
            Some(earlier) => {
                earlier.into_iter().filter(|place| found.contains_key(place)).collect()
            }
            None => found.keys().cloned().collect(),
        });
        if wrong.as_ref().is_some_and(BTreeSet::is_empty) {
            return Ok(());
        }
        println!("{found:#?}");
    }
    ensure!(false, "not what the files say: {wrong:?}");
    Ok(())
}

fn report(tare: &Tare, sources: &str) -> Result<Report> {
    let done = tare.clone().option("--sources", sources).run(&[
        "stats",
        "--no-stream",
        "--interval",
        "1s",
        "--scope",
        "all",
        "--format",
        "json",
    ])?;
    ensure!(done.status.success(), "{}", done.stderr);
    Report::parse(done.stdout.trim())
}

fn comes_from_the_walk(report: &Report, family: &str) -> Result<bool> {
    let source = report.value()["sources"][family]["source"].as_str();
    let source = source.with_context(|| format!("no source of {family}"))?;
    Ok(["bpf_iter_css", "iter/cgroup"].contains(&source))
}

fn leaves(report: &Report, top: &str) -> Result<Leaves> {
    let mut all = Leaves::new();
    let rows = report.value()["containers"].as_array().context("no rows")?;
    for row in rows {
        let cgroup = row["cgroup"].as_str().context("a row without a cgroup")?;
        if cgroup.contains(top) {
            collect(row, cgroup.to_owned(), &mut all);
        }
    }
    Ok(all)
}

fn collect(value: &Value, place: String, all: &mut Leaves) {
    match value {
        Value::Object(fields) => {
            for (name, field) in
                fields.iter().filter(|(name, _)| !CHANGING.contains(&name.as_str()))
            {
                collect(field, format!("{place} {name}"), all);
            }
        }
        other => drop(all.insert(place, other.clone())),
    }
}

/// What does not lie between the two looks at the files.
fn differences(before: &Leaves, walked: &Leaves, after: &Leaves) -> BTreeMap<String, String> {
    let places: BTreeSet<&String> = before.keys().chain(walked.keys()).collect();
    let wrong = places.into_iter().filter_map(|place| {
        let (old, found, new) = (before.get(place), walked.get(place), after.get(place));
        let number = |value: Option<&Value>| value.and_then(Value::as_f64);
        let is_right = match (number(old), number(found), number(new)) {
            (Some(old), Some(found), Some(new)) => (old.min(new)..=old.max(new)).contains(&found),
            (None, Some(_), None) if place.ends_with(WITHOUT_FILE) => true,
            _ => found == old || found == new,
        };
        (!is_right).then(|| (place.clone(), format!("{old:?}, walked {found:?}, {new:?}")))
    });
    wrong.collect()
}
