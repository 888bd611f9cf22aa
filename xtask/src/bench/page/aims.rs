//! The aims, and whether a run met them.

use std::fmt::Write as _;

use anyhow::Result;

use super::{
    numbers::{kernel_memory, more, over_empty, percent_of_core, ratio, resident},
    summary::{Summary, short},
};
use crate::bench::{
    effects::Background,
    ended::Ended,
    measurements::Run,
    plan::Load,
    tools::{Floor, TareRun},
};

/// Number of cgroups of the large aims.
const MANY: usize = 10_000;

/// The measurement of how long others wait for a new cgroup.
const MKDIR: &str = "cgroup mkdir, p50, ns";

/// An upper limit for a measurement.
struct Aim {
    what: String,
    most: f64,
    unit: &'static str,
    /// `None` if not measured in this run.
    found: Option<Summary>,
}

/// The table of all aims.
pub(crate) fn table(run: &Run) -> Result<String> {
    let mut table = String::from("| aim | at most | measured | |\n|---|---|---|---|\n");
    for Aim { what, most, unit, found } in aims(run) {
        let (found, verdict) = match found {
            Some(found) if found.median <= most => (found.to_string(), "met"),
            Some(found) => (found.to_string(), "**missed**"),
            None => ("–".to_owned(), "not measured"),
        };
        writeln!(table, "| {what} | {} {unit} | {found} | {verdict} |", short(most))?;
    }
    Ok(table)
}

fn aims(run: &Run) -> Vec<Aim> {
    let aim = |what: &str, most, unit, found| Aim { what: what.to_owned(), most, unit, found };
    let floor = |tool: TareRun, size, load: Load, most| {
        let (tool, load_name) = (tool.name, load.name());
        let what = format!("`{tool}`, {size} cgroups, {load_name}, to the floor of CPU and memory");
        let found = ratio(run, tool, Floor::CpuAndMemory, size, load);
        Aim { what, most, unit: "×", found }
    };
    let loss = |with: f64, without: f64| (1.0 - with / without) * 100.0;
    let growth = |with: f64, without: f64| (with / without - 1.0) * 100.0;
    let mib = |summary: Option<Summary>| Summary::of(summary.map(|bytes| bytes.median / 1048576.0));
    vec![
        floor(TareRun::PLAIN, 1000, Load::Idle, 0.1),
        floor(TareRun::PLAIN, 1000, Load::Tenth, 0.15),
        floor(TareRun::PLAIN, 1000, Load::All, 0.15),
        floor(TareRun::PLAIN, MANY, Load::Idle, 0.1),
        floor(TareRun::NO_BPF, 1000, Load::Idle, 1.15),
        floor(TareRun::NO_BPF, MANY, Load::Idle, 1.15),
        aim(
            "1,000 idle cgroups, a sample each second",
            0.4,
            "% of a CPU",
            percent_of_core(run, TareRun::PLAIN.name, 1000, Load::Idle),
        ),
        aim(
            "10,000 idle cgroups, a sample each second, a scrape each 15 s",
            3.0,
            "% of a CPU",
            with_scrapes(run),
        ),
        aim("a send over an empty program", 50.0, "ns", over_empty(run, "sock_send_length")),
        aim("a receive over an empty program", 50.0, "ns", over_empty(run, "sock_recv_length")),
        aim("a packet received over an empty program", 30.0, "ns", over_empty(run, "ingress")),
        aim("a packet sent over an empty program", 30.0, "ns", over_empty(run, "egress")),
        aim(
            "a block request over empty programs, issue and completion",
            200.0,
            "ns",
            requests(run),
        ),
        aim("loss of iperf3", 1.0, "%", more(run, "iperf3, Gbit/s", Background::Payload, loss)),
        aim("cgroup mkdir, p50", 30.0, "% more", more(run, MKDIR, Background::Payload, growth)),
        aim("`/metrics` of 10,000 containers", 90.0, "ms of CPU", scrape(run)),
        aim(
            "resident memory at 1,000 containers",
            22.0,
            "MiB",
            mib(resident(run, 1000, Load::Idle)),
        ),
        aim(
            "kernel memory at 1,000 containers",
            16.0,
            "MiB",
            mib(kernel_memory(run, 1000, Load::Idle)),
        ),
        aim(
            "resident memory at 10,000 containers",
            80.0,
            "MiB",
            mib(resident(run, MANY, Load::Idle)),
        ),
        aim("a receipt, resident", 3.0, "kB", receipt(run)),
        aim(
            "resident memory after 10,000 containers came and went, to before",
            1.25,
            "×",
            Summary::of(run.ended.iter().filter(|one| one.count == MANY).filter_map(Ended::growth)),
        ),
    ]
}

fn receipt(run: &Run) -> Option<Summary> {
    Summary::of(run.ended.iter().filter_map(Ended::receipt_bytes).map(|bytes| bytes / 1e3))
}

fn with_scrapes(run: &Run) -> Option<Summary> {
    const BETWEEN_SCRAPES: f64 = 15.0;
    let sampling = percent_of_core(run, TareRun::PLAIN.name, MANY, Load::Idle)?;
    let scrape = run.sampling.scrapes.iter().find(|one| one.size == MANY && !one.gzip)?;
    let scraping = scrape.cpu_ns as f64 / 1e7 / BETWEEN_SCRAPES;
    Summary::of([sampling.median + scraping])
}

fn requests(run: &Run) -> Option<Summary> {
    let (issue, complete) =
        (over_empty(run, "block_rq_issue")?, over_empty(run, "block_rq_complete")?);
    Summary::of([issue.median + complete.median])
}

fn scrape(run: &Run) -> Option<Summary> {
    let scrape = run.sampling.scrapes.iter().find(|one| one.size == MANY && !one.gzip)?;
    Summary::of([scrape.cpu_ns as f64 / 1e6])
}
