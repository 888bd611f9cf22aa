//! What a run of the comparison leaves: every single measurement, nothing summed up.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Error, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::containers::Watching;
use super::effects::Effect;
use super::latency::{Detection, Lives, Snapshot};
use super::machine::Machine;
use super::programs::PerEvent;
use super::sampling::Sampling;
use super::scrape::Scrape;
use super::tools::Tool;
use crate::{cmd, project};

/// All measurements of one run.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Run {
    pub(crate) machine: Machine,
    pub(crate) sampling: Vec<Sampling>,
    pub(crate) scrapes: Vec<Scrape>,
    pub(crate) detections: Vec<Detection>,
    pub(crate) lives: Vec<Lives>,
    pub(crate) snapshots: Vec<Snapshot>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) programs: Vec<PerEvent>,
    pub(crate) watching: Vec<Watching>,
    pub(crate) missing: Vec<Missing>,
}

/// Quantiles of many times.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Times {
    pub(crate) count: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) max_ns: u64,
}

impl Times {
    /// From what `tare-bench` prints.
    pub(crate) fn of(found: &Value) -> Result<Self> {
        Self::deserialize(found).with_context(|| format!("no times: {found}"))
    }

    /// From times in ascending order; `None` of none.
    pub(crate) fn of_sorted(times: &[u64]) -> Option<Self> {
        let last = times.len().checked_sub(1)?;
        let count = times.len() as u64;
        let (p50_ns, p99_ns) = (times[last / 2], times[last * 99 / 100]);
        Some(Self { count, p50_ns, p99_ns, max_ns: times[last] })
    }
}

/// What could not be measured, and why.
#[derive(Deserialize, PartialEq, Serialize)]
pub(crate) struct Missing {
    pub(crate) what: String,
    pub(crate) why: String,
}

impl Missing {
    /// Something that is no tool.
    pub(crate) fn part(what: &str, error: &Error) -> Self {
        Self { what: what.to_owned(), why: format!("{error:#}") }
    }

    /// A tool at a number of cgroups.
    pub(crate) fn of(tool: Option<&dyn Tool>, size: usize, error: &Error) -> Self {
        let tool = tool.map_or_else(|| "nothing".to_owned(), Tool::name);
        Self { what: format!("{tool}, {size} cgroups"), why: format!("{error:#}") }
    }
}

impl Run {
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = fs::read(file).with_context(|| format!("cannot read {file:?}"))?;
        serde_json::from_slice(&text).with_context(|| format!("{file:?} is of no run"))
    }

    /// Notes, once, what could not be measured; an error if the reason is that all shall end.
    pub(crate) fn missing(&mut self, missing: Missing) -> Result<()> {
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

/// Where a run leaves its measurements, until the next one.
pub(crate) fn latest() -> PathBuf {
    project::target().join("bench/latest.json")
}

/// Where it leaves them for good.
pub(crate) fn dated(began: u64) -> PathBuf {
    project::target().join(format!("bench/{began}.json"))
}
