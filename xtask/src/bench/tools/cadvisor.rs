//! cAdvisor, which reads every cgroup there is.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Running, Scene, Tool};
use crate::bench::program::{Program, command, pause, scratch, until};
use crate::bench::pulse::Pulse;
use crate::bench::raw::Times;
use crate::bench::scrape::Scrape;
use crate::{cmd, packages};

/// How long it may take until it answers, with a thousand cgroups.
const START: Duration = Duration::from_secs(60);

/// More than it can be compared with: it would take gigabytes.
pub(crate) const MOST: usize = 1_000;

/// Where it listens.
const HOST: &str = "127.0.0.1";
const PORT: &str = "19754";

/// A sample of everyone once a second, which by itself it makes rarer of those that do nothing.
pub(crate) struct Cadvisor;

impl Cadvisor {
    /// Starts it with these options and waits until it answers.
    pub(crate) fn launch(options: &[&str]) -> Result<Program> {
        let mut cadvisor = command(packages::cadvisor()?, ["-listen_ip", HOST, "-port", PORT]);
        cadvisor.args(["-housekeeping_interval=1s", "-allow_dynamic_housekeeping=false"]);
        let mut program = Program::start("cadvisor", cadvisor.args(options), None)?;
        until("cAdvisor to answer", START, || {
            program.ensure_running()?;
            let ready = cmd::capture(Self::ask("/healthz")?.args(["--output", "/dev/null"]));
            Ok(ready.ok())
        })?;
        Ok(program)
    }

    fn ask(path: &str) -> Result<Command> {
        let curl = cmd::find("curl").context("no curl")?;
        Ok(command(curl, ["--fail", "--silent", &format!("http://{HOST}:{PORT}{path}")]))
    }

    /// How many of the cgroups below our own it knows.
    fn seen() -> Result<usize> {
        let own = format!("/tare-bench-{}/", std::process::id());
        let metrics = cmd::capture(&mut Self::ask("/metrics")?)?;
        let last_seen = metrics.lines().filter(|line| line.starts_with("container_last_seen{"));
        Ok(last_seen.filter(|line| line.contains(&own)).count())
    }

    /// Scrapes it while it watches the scene.
    pub(crate) fn scrape(size: usize, count: u32) -> Result<Scrape> {
        let program = Self::launch(&[])?;
        pause(Self.settle())?;
        let used = || program.account().cpu();
        let before = used()?;
        let window = Duration::from_secs(3);
        pause(window)?;
        let idle = used()?.since(before).total_ns as f64 / window.as_secs_f64();
        let (mut times, mut body_bytes, mut more) = (Vec::new(), 0, 0.0);
        for _ in 0..count {
            let before = used()?;
            let mut ask = Self::ask("/metrics")?;
            ask.args(["--output", &scratch("metrics")?.display().to_string()]);
            let said = cmd::capture(ask.args(["--write-out", "%{time_total} %{size_download}"]))?;
            let (seconds, bytes) = said.split_once(' ').context("curl tells no time")?;
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
            rss_bytes: program.account().memory().rss_bytes,
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

    fn start(&self, _: &Scene<'_>) -> Result<Running> {
        let program = Self::launch(&[])?;
        Ok(Running { program, pulse: Pulse::Clock, seen: Box::new(Self::seen) })
    }
}
