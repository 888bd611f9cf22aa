//! The cost of scraping `/metrics`.

use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::{
    measure::run_time_of_thread,
    missing::Missing,
    plan::Plan,
    program::{ask, command},
    times::Times,
    tools::{CADVISOR_MOST, Cadvisor, SETTLE, Setup, TareRun},
};
use crate::wait::pause;

/// The daemon's server thread; the kernel counts CPU time per thread.
const SERVER: &str = "serve";

/// Scrapes of one kind of one tool.
#[derive(Deserialize, Serialize)]
pub(crate) struct Scrape {
    pub(crate) tool: String,
    pub(crate) size: usize,
    pub(crate) gzip: bool,
    pub(crate) times: Times,
    pub(crate) body_bytes: u64,
    /// CPU time per scrape, minus the usage without scrapes. For Tare that of the server thread,
    /// for other tools that of the process.
    pub(crate) cpu_ns: u64,
    /// Resident memory after the scrapes.
    pub(crate) rss_bytes: Option<u64>,
}

/// Scrapes Tare (plain and compressed) and cAdvisor while they sample.
pub(crate) fn run(
    setup: &Setup<'_>,
    plan: &Plan,
    size: usize,
    into: &mut Vec<Scrape>,
    missing: &mut Missing,
) -> Result<()> {
    match tare(setup, plan, size) {
        Ok(found) => into.extend(found),
        Err(error) => missing.add("scrapes", &error)?,
    }
    if size <= CADVISOR_MOST {
        match Cadvisor::scrape(size, plan.scrapes) {
            Ok(found) => into.push(found),
            Err(error) => missing.add("scrapes of cAdvisor", &error)?,
        }
    }
    Ok(())
}

fn tare(setup: &Setup<'_>, plan: &Plan, size: usize) -> Result<Vec<Scrape>> {
    let daemon = TareRun::launch(setup.binaries, &[])?;
    pause(SETTLE)?;
    let cpu = || Ok::<_, anyhow::Error>((Instant::now(), run_time_of_thread(daemon.id(), SERVER)?));
    let (begin, before) = cpu()?;
    pause(plan.window)?;
    let (end, after) = cpu()?;
    let idle = after.saturating_sub(before) as f64 / (end - begin).as_secs_f64();
    let mut all = Vec::new();
    for gzip in [false, true] {
        let mut scrape = command(&setup.binaries.bench, ["scrape", "--socket"]);
        scrape.arg(TareRun::socket()?).args(["--count", &plan.scrapes.to_string()]);
        if gzip {
            scrape.arg("--gzip");
        }
        let (begin, before) = cpu()?;
        let found = ask(&mut scrape)?;
        let (end, after) = cpu()?;
        let without_scrapes = idle * (end - begin).as_secs_f64();
        let more = (after.saturating_sub(before) as f64 - without_scrapes).max(0.0);
        all.push(Scrape {
            tool: TareRun::PLAIN.name.to_owned(),
            size,
            gzip,
            times: Times::of(&found)?,
            body_bytes: found["body_bytes"].as_u64().context("no size of the body")?,
            cpu_ns: (more / f64::from(plan.scrapes)) as u64,
            rss_bytes: daemon.cgroup().memory().rss_bytes,
        });
    }
    Ok(all)
}
