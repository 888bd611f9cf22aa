//! What it takes to ask the daemon for everything.

use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::measure::run_time_of_thread;
use super::plan::Plan;
use super::program::{ask, command, pause};
use super::raw::{Missing, Run, Times};
use super::tools::{CADVISOR_MOST, Cadvisor, Daemon, SETTLE, Scene};

/// The daemon's thread that answers; the kernel counts the time of each thread by itself.
const SERVER: &str = "serve";

/// Answers of one daemon to one kind of question.
#[derive(Deserialize, Serialize)]
pub(crate) struct Scrape {
    pub(crate) tool: String,
    pub(crate) size: usize,
    pub(crate) gzip: bool,
    pub(crate) times: Times,
    pub(crate) body_bytes: u64,
    /// CPU time for each answer, less what is used when nobody asks: of the daemon's thread that
    /// serves, of others as a whole.
    pub(crate) cpu_ns: u64,
    /// Resident memory of the daemon after the answers.
    pub(crate) rss_bytes: Option<u64>,
}

/// Scrapes Tare, plain and compressed, and cAdvisor while they watch the scene.
pub(crate) fn run(scene: &Scene<'_>, plan: &Plan, size: usize, into: &mut Run) -> Result<()> {
    match tare(scene, plan, size) {
        Ok(found) => into.scrapes.extend(found),
        Err(error) => into.missing(Missing::part("scrapes", &error))?,
    }
    if size <= CADVISOR_MOST {
        match Cadvisor::scrape(size, plan.scrapes) {
            Ok(found) => into.scrapes.push(found),
            Err(error) => into.missing(Missing::part("scrapes of cAdvisor", &error))?,
        }
    }
    Ok(())
}

fn tare(scene: &Scene<'_>, plan: &Plan, size: usize) -> Result<Vec<Scrape>> {
    let daemon = Daemon::launch(scene.built, &[])?;
    pause(SETTLE)?;
    let cpu = || Ok::<_, anyhow::Error>((Instant::now(), run_time_of_thread(daemon.id(), SERVER)?));
    let (begin, before) = cpu()?;
    pause(plan.window)?;
    let (end, after) = cpu()?;
    let idle = after.saturating_sub(before) as f64 / (end - begin).as_secs_f64();
    let mut all = Vec::new();
    for gzip in [false, true] {
        let mut scrape = command(&scene.built.probe, ["scrape", "--socket"]);
        scrape.arg(Daemon::socket()?).args(["--count", &plan.scrapes.to_string()]);
        if gzip {
            scrape.arg("--gzip");
        }
        let (begin, before) = cpu()?;
        let found = ask(&mut scrape)?;
        let (end, after) = cpu()?;
        let unasked = idle * (end - begin).as_secs_f64();
        let more = (after.saturating_sub(before) as f64 - unasked).max(0.0);
        all.push(Scrape {
            tool: Daemon::PLAIN.name.to_owned(),
            size,
            gzip,
            times: Times::of(&found)?,
            body_bytes: found["body_bytes"].as_u64().context("no size of the body")?,
            cpu_ns: (more / f64::from(plan.scrapes)) as u64,
            rss_bytes: daemon.account().memory().rss_bytes,
        });
    }
    Ok(all)
}
