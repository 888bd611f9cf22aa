//! All measurements of a run, saved as JSON without aggregation.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::{
    containers, effects::Effect, ended::Ended, latency, machine::Machine, missing::Missing,
    programs::PerEvent, sampling, sinks::SinkCost,
};
use crate::project;

/// All measurements of one run.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Run {
    pub(crate) machine: Machine,
    #[serde(flatten)]
    pub(crate) sampling: sampling::Found,
    #[serde(default)]
    pub(crate) sinks: Vec<SinkCost>,
    #[serde(default)]
    pub(crate) ended: Vec<Ended>,
    #[serde(flatten)]
    pub(crate) latency: latency::Found,
    pub(crate) effects: Vec<Effect>,
    pub(crate) programs: Vec<PerEvent>,
    #[serde(flatten)]
    pub(crate) containers: containers::Found,
    pub(crate) missing: Missing,
}

impl Run {
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = fs::read(file).with_context(|| format!("cannot read {file:?}"))?;
        serde_json::from_slice(&text).with_context(|| format!("{file:?} has no measurements"))
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
