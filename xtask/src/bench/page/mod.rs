//! The page of a run: `docs/benchmarks.md`.

mod aims;
mod numbers;
mod spread;
mod tables;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::raw::Run;

/// The page, from the project's root.
pub(crate) const FILE: &str = "docs/benchmarks.md";

/// What people write about a run stands from here to the end, and stays.
const REMARKS: &str = "## Remarks\n";

const METHOD: &str = "\
Written by `cargo xtask bench`, which measures all of this again in less than 25 minutes, as root on a quiet machine (`--quick`: 5
minutes, fewer rounds). Every single measurement is in `target/bench/latest.json`. What the programs cost each alone, and why, is in
[cost.md](cost.md).

- Each tool runs alone in a cgroup of its own, whose CPU time is what it cost, with all its children. Tools follow each other in an order of
  chance; each round has all of them, and ratios are those of one round.
- Numbers are medians, with the least and the most in brackets; of 10,000 cgroups there is one round. Every measurement is of one machine: compare ratios.
- The load: cgroups named as Docker names them, in each hierarchy, with a process in each. A busy one burns 20 µs of CPU each second and takes
  256 KiB of memory or gives them back.
- **The floor** is a program that holds open the very files that a running Tare holds open, and once a second reads each into the same
  buffer: nothing is parsed, kept or written. *CPU and memory* are `cpuacct.usage`, `cpuacct.stat`, `cpu.stat`, memory's usage and
  `memory.stat`; *all files* adds pressure, tasks, state, events, limits' counters and block I/O. Of idle
  containers Tare reads only CPU time and the size of memory each second, tasks, state and pressure every 10 s, the rest every 60 s, and so can
  cost less than the floor.
- A measurement begins and ends half-way between two samples, 7 s after Tare's start: the first samples open all files. A tool that did not list all cgroups is not compared.
";

/// Writes it, and leaves the remarks that stand there.
pub(crate) fn write(run: &Run, file: &Path) -> Result<()> {
    let before = fs::read_to_string(file).unwrap_or_default();
    fs::write(file, text(run, &before)?).with_context(|| format!("cannot write {file:?}"))?;
    println!("The page: {}", file.display());
    Ok(())
}

fn text(run: &Run, before: &str) -> Result<String> {
    let remarks = before.find(REMARKS).map_or("", |start| &before[start..]);
    let mut page = format!("# Benchmarks\n\n{METHOD}\n{}\n", tables::machine(run)?);
    page += &format!("## Aims\n\n{}\n", aims::table(run)?);
    for (title, text) in tables::all(run)? {
        // A part that was not measured has no table.
        if !text.is_empty() {
            page += &format!("## {title}\n\n{text}\n");
        }
    }
    page += remarks;
    Ok(page.trim_end().to_owned() + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::raw::{Run, Times};
    use crate::bench::scrape::Scrape;

    fn scraped_in(nanoseconds: u64) -> Run {
        let times =
            Times { count: 1, p50_ns: nanoseconds, p99_ns: nanoseconds, max_ns: nanoseconds };
        let scrape = Scrape {
            tool: "tare run".to_owned(),
            size: 10_000,
            gzip: false,
            times,
            body_bytes: 1,
            cpu_ns: 1,
            rss_bytes: None,
        };
        Run { scrapes: vec![scrape], ..Run::default() }
    }

    #[test]
    fn an_aim_is_met_missed_or_not_measured() {
        let verdict = |run: &Run| {
            let page = text(run, "").unwrap();
            let line = page.lines().find(|line| line.starts_with("| `/metrics` of")).unwrap();
            line.rsplit(" | ").next().unwrap().to_owned()
        };
        assert_eq!(verdict(&scraped_in(59_000_000)), "met |");
        assert_eq!(verdict(&scraped_in(61_000_000)), "**missed** |");
        assert_eq!(verdict(&Run::default()), "not measured |");
    }

    #[test]
    fn remarks_stay_and_tables_are_of_what_was_measured() {
        let before = "# Old\n\n## Remarks\n\nWhy.\n";
        let page = text(&scraped_in(1), before).unwrap();
        assert!(page.ends_with("## Remarks\n\nWhy.\n"), "{page}");
        assert!(page.contains("## Scrapes") && !page.contains("## What others feel"), "{page}");
        assert!(!page.contains("# Old"));
    }
}
