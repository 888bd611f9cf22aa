//! cAdvisor, which reads every cgroup of the machine.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Running, Setup, Tool};
use crate::{
    bench::{
        http::{self, Server},
        program::{Program, command, scratch},
        sample_signal::SampleSignal,
        scrape::Scrape,
        times::Times,
    },
    cmd, packages,
    wait::{pause, until},
};

/// Limit for its start, with 1,000 cgroups.
const START: Duration = Duration::from_secs(60);

/// Maximum number of cgroups: with more it needs gigabytes.
pub(crate) const MOST: usize = 1_000;

/// Where it listens.
const HOST: &str = "127.0.0.1";
const PORT: &str = "19754";
const SERVER: Server = Server::Tcp("127.0.0.1:19754");

/// Set to sample all cgroups once a second; by default it samples idle ones less often.
pub(crate) struct Cadvisor;

impl Cadvisor {
    /// Starts it with these options and waits until it answers.
    pub(crate) fn launch(options: &[&str]) -> Result<Program> {
        let mut cadvisor = command(packages::cadvisor()?, ["-listen_ip", HOST, "-port", PORT]);
        cadvisor.args(["-housekeeping_interval=1s", "-allow_dynamic_housekeeping=false"]);
        let mut program = Program::start("cadvisor", cadvisor.args(options), None)?;
        until("cAdvisor to answer", START, || {
            program.ensure_running()?;
            Ok(http::get(&SERVER, "/healthz").ok())
        })?;
        Ok(program)
    }

    /// The number of test cgroups that it knows.
    fn seen() -> Result<usize> {
        let own = format!("/tare-bench-{}/", std::process::id());
        let metrics = http::get(&SERVER, "/metrics")?;
        let last_seen = metrics.lines().filter(|line| line.starts_with("container_last_seen{"));
        Ok(last_seen.filter(|line| line.contains(&own)).count())
    }

    /// Scrapes it while it samples.
    pub(crate) fn scrape(size: usize, count: u32) -> Result<Scrape> {
        let program = Self::launch(&[])?;
        pause(Self.settle())?;
        let used = || program.cgroup().cpu();
        let before = used()?;
        let window = Duration::from_secs(3);
        pause(window)?;
        let idle = used()?.since(before).total_ns as f64 / window.as_secs_f64();
        let (mut times, mut body_bytes, mut more) = (Vec::new(), 0, 0.0);
        for _ in 0..count {
            let before = used()?;
            let mut ask = http::curl(&SERVER, "/metrics")?;
            ask.args(["--output", &scratch("metrics")?.display().to_string()]);
            let said = cmd::capture(ask.args(["--write-out", "%{time_total} %{size_download}"]))?;
            let (seconds, bytes) = said.split_once(' ').context("curl prints no time")?;
            let seconds: f64 = seconds.parse()?;
            more += used()?.since(before).total_ns as f64 - idle * seconds;
            times.push((seconds * 1e9) as u64);
            body_bytes = bytes.parse()?;
            pause(Duration::from_secs(1))?;
        }
        ensure!(Self::seen()? == size, "it does not list all cgroups");
        times.sort_unstable();
        Ok(Scrape {
            tool: Self.name(),
            size,
            gzip: false,
            times: Times::of_sorted(&times).context("nothing was asked")?,
            body_bytes,
            cpu_ns: (more / f64::from(count)).max(0.0) as u64,
            rss_bytes: program.cgroup().memory().rss_bytes,
        })
    }
}

impl Tool for Cadvisor {
    fn name(&self) -> String {
        "cAdvisor".to_owned()
    }

    fn settle(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn start(&self, _: &Setup<'_>) -> Result<Running> {
        let program = Self::launch(&[])?;
        Ok(Running { program, signal: SampleSignal::Clock, seen: Box::new(Self::seen) })
    }
}
