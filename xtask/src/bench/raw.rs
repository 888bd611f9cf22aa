//! What a run of the comparison leaves: every single measurement, nothing summed up.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use crate::project;

/// All measurements of one run.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Run {
    pub(crate) machine: Machine,
}

impl Run {
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = fs::read(file).with_context(|| format!("cannot read {file:?}"))?;
        serde_json::from_slice(&text).with_context(|| format!("{file:?} is of no run"))
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
