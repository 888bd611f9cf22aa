//! Writes `docs/benchmarks.md` from the measurements of a run.

mod aims;
mod numbers;
mod summary;
mod tables;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::measurements::Run;

/// The page, relative to the project's root.
pub(crate) const FILE: &str = "docs/benchmarks.md";

/// From this heading to the end, the page is written by hand and kept.
const REMARKS: &str = "## Remarks\n";

const METHOD: &str = "\
Written by `cargo xtask bench`, as root on a quiet machine, in under 25 minutes (`--quick`: 5
minutes, fewer rounds). All measurements are in `target/bench/latest.json`. [cost.md](cost.md)
explains what each BPF program costs.

- Each tool runs alone, in its own cgroup. Its cost is the CPU time of that cgroup, children
  included. Each round runs all tools in random order; ratios compare measurements of one round.
- Numbers are medians, with minimum and maximum in brackets; with 10,000 cgroups there is one
  round. All measurements are of one machine: compare ratios.
- The load: cgroups named as Docker names them, in each hierarchy, with a process in each. A busy
  process burns 20 µs of CPU each second and takes 256 KiB of memory or gives them back.
- **The floor** is a program that keeps the same files open as Tare, and once a second reads each
  into one buffer, without parsing. *CPU and memory* are `cpuacct.usage`, `cpuacct.stat`,
  `cpu.stat`, the memory usage and `memory.stat`; *all files* adds pressure, tasks, state, events,
  limit counters and block I/O. By default a walk in the kernel spares Tare these files. From files
  (`--sources files`, `--bpf off`), Tare reads only CPU time and memory usage of idle containers
  each second, tasks, state and pressure every 10 s, and the rest every 60 s.
- A measurement begins and ends half a second after a sample, and begins 7 s after Tare's start,
  because the first samples open all files. A tool that does not list all cgroups is not compared.
";

/// Writes the page and keeps its remarks.
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
        // A part without measurements has no table.
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
    use crate::bench::{measurements::Run, sampling::Found, scrape::Scrape, times::Times};

    fn scraped_in(nanoseconds: u64) -> Run {
        let times =
            Times { count: 1, p50_ns: nanoseconds, p99_ns: nanoseconds, max_ns: nanoseconds };
        let scrape = Scrape {
            tool: "tare run".to_owned(),
            size: 10_000,
            gzip: false,
            times,
            body_bytes: 1,
            cpu_ns: nanoseconds,
            rss_bytes: None,
        };
        let sampling = Found { scrapes: vec![scrape], ..Found::default() };
        Run { sampling, ..Run::default() }
    }

    #[test]
    fn an_aim_is_met_missed_or_not_measured() {
        let verdict = |run: &Run| {
            let page = text(run, "").unwrap();
            let line = page.lines().find(|line| line.starts_with("| `/metrics` of")).unwrap();
            line.rsplit(" | ").next().unwrap().to_owned()
        };
        assert_eq!(verdict(&scraped_in(89_000_000)), "met |");
        assert_eq!(verdict(&scraped_in(91_000_000)), "**missed** |");
        assert_eq!(verdict(&Run::default()), "not measured |");
    }

    #[test]
    fn remarks_are_kept_and_parts_without_measurements_have_no_table() {
        let before = "# Old\n\n## Remarks\n\nWhy.\n";
        let page = text(&scraped_in(1), before).unwrap();
        assert!(page.ends_with("## Remarks\n\nWhy.\n"), "{page}");
        assert!(
            page.contains("## Scrapes") && !page.contains("## Effect on other programs"),
            "{page}"
        );
        assert!(!page.contains("# Old"));
    }
}
