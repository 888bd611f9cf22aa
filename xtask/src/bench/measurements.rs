//! All measurements of a run, saved as JSON without aggregation.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Error, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    containers::ContainerMeasurement,
    effects::Effect,
    latency::{Detection, ShortLives, Snapshot},
    machine::Machine,
    programs::PerEvent,
    sampling::Sampling,
    scrape::Scrape,
    sinks::SinkCost,
    tools::Tool,
};
use crate::{cmd, project};

/// All measurements of one run.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Run {
    pub(crate) machine: Machine,
    pub(crate) sampling: Vec<Sampling>,
    pub(crate) scrapes: Vec<Scrape>,
    #[serde(default)]
    pub(crate) sinks: Vec<SinkCost>,
    pub(crate) detections: Vec<Detection>,
    pub(crate) lives: Vec<ShortLives>,
    pub(crate) snapshots: Vec<Snapshot>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) programs: Vec<PerEvent>,
    pub(crate) watching: Vec<ContainerMeasurement>,
    pub(crate) missing: Vec<NotMeasured>,
}

/// Quantiles of durations.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Times {
    pub(crate) count: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) max_ns: u64,
}

impl Times {
    /// From the output of `tare-bench`.
    pub(crate) fn of(found: &Value) -> Result<Self> {
        Self::deserialize(found).with_context(|| format!("no times: {found}"))
    }

    /// From durations in ascending order; `None` without any.
    pub(crate) fn of_sorted(times: &[u64]) -> Option<Self> {
        let last = times.len().checked_sub(1)?;
        let count = times.len() as u64;
        let (p50_ns, p99_ns) = (times[last / 2], times[last * 99 / 100]);
        Some(Self { count, p50_ns, p99_ns, max_ns: times[last] })
    }
}

/// What could not be measured, and why.
#[derive(Deserialize, PartialEq, Serialize)]
pub(crate) struct NotMeasured {
    pub(crate) what: String,
    pub(crate) why: String,
}

impl NotMeasured {
    /// A part of the benchmark.
    pub(crate) fn part(what: &str, error: &Error) -> Self {
        Self { what: what.to_owned(), why: format!("{error:#}") }
    }

    /// A tool at a number of cgroups.
    pub(crate) fn tool(tool: Option<&dyn Tool>, size: usize, error: &Error) -> Self {
        let tool = tool.map_or_else(|| "nothing".to_owned(), Tool::name);
        Self { what: format!("{tool}, {size} cgroups"), why: format!("{error:#}") }
    }
}

impl Run {
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = fs::read(file).with_context(|| format!("cannot read {file:?}"))?;
        serde_json::from_slice(&text).with_context(|| format!("{file:?} has no measurements"))
    }

    /// Records, once, what could not be measured; an error after an interrupt.
    pub(crate) fn missing(&mut self, missing: NotMeasured) -> Result<()> {
        if cmd::interrupted() {
            bail!("interrupted");
        }
        eprintln!("warning: not measured: {}: {}", missing.what, missing.why);
        if !self.missing.contains(&missing) {
            self.missing.push(missing);
        }
        Ok(())
    }

    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory).with_context(|| format!("cannot make {directory:?}"))?;
        }
        let text = serde_json::to_vec_pretty(self)?;
        fs::write(file, text).with_context(|| format!("cannot write {file:?}"))?;
        println!("Every measurement: {}", file.display());
        Ok(())
    }
}

/// The file of the latest run, which the next one overwrites.
pub(crate) fn latest() -> PathBuf {
    project::target().join("bench/latest.json")
}

/// The file of a run that is kept.
pub(crate) fn dated(began: u64) -> PathBuf {
    project::target().join(format!("bench/{began}.json"))
}
