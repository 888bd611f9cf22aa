//! The measuring programs of the benchmarks: timed work, processes in cgroups, and the floor, the
//! minimum cost of reading files.
//!
//! Each prints one line of JSON, or prints `ready` and runs until it is killed.

mod detect;
mod empty;
mod floor;
mod live;
mod mkdir;
mod picture;
mod ping;
mod populate;
mod scrape;
mod work;

use std::io::Write as _;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use serde_json::{Value, json};

/// A measuring program.
#[derive(Debug, Parser)]
#[command(name = "tare-bench", version)]
pub struct Cli {
    #[command(subcommand)]
    probe: Probe,
}

#[derive(Debug, Subcommand)]
enum Probe {
    /// Run a process in each cgroup; prints `ready` once all run.
    Populate(populate::Populate),
    /// Keep files open and read them; prints `ready` once they are open.
    Floor(floor::Floor),
    /// Attach empty BPF programs; prints `ready` once they are attached.
    Empty(empty::Empty),
    /// Use a little of everything repeatedly.
    Work(work::Work),
    /// Time round trips over TCP.
    Ping(ping::Ping),
    /// Time making and removing cgroups.
    Mkdir(mkdir::Mkdir),
    /// Make cgroups and time the daemon's event for each.
    Detect(detect::Detect),
    /// Run short-lived cgroups, each with a known amount of work.
    Live(live::Live),
    /// Time requests to the daemon.
    Scrape(scrape::Scrape),
    /// Make a picture of what a command shows in a terminal.
    Picture(picture::Picture),
}

/// Runs the program of the command line.
pub fn run(cli: Cli) -> Result<()> {
    let found = match cli.probe {
        Probe::Populate(probe) => return probe.run(),
        Probe::Floor(probe) => return probe.run(),
        Probe::Empty(probe) => return probe.run(),
        Probe::Work(probe) => return probe.run(),
        Probe::Ping(probe) => probe.run(),
        Probe::Mkdir(probe) => probe.run(),
        Probe::Detect(probe) => probe.run(),
        Probe::Live(probe) => probe.run(),
        Probe::Scrape(probe) => probe.run(),
        Probe::Picture(probe) => probe.run(),
    }?;
    say(&found.to_string())
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("print what was found")
}

/// Count, median, 99th percentile and maximum of times in nanoseconds; `null` without times.
fn quantiles(mut times: Vec<u64>) -> Value {
    times.sort_unstable();
    let at = |per_thousand: usize| {
        let last = times.len().checked_sub(1)?;
        times.get(last * per_thousand / 1000).copied()
    };
    json!({
        "count": times.len(),
        "p50_ns": at(500),
        "p99_ns": at(990),
        "max_ns": at(1000),
    })
}

fn nanoseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_there() {
        let found = quantiles((1..=1000).rev().collect());
        assert_eq!(found, json!({"count": 1000, "p50_ns": 500, "p99_ns": 990, "max_ns": 1000}));
        assert_eq!(quantiles(Vec::new())["p50_ns"], Value::Null);
        assert_eq!(quantiles(vec![7])["p99_ns"], 7);
    }
}
