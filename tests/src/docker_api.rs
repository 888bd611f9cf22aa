//! Docker's own numbers, from its API, and its own formulas.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    docker::{Container, Docker},
    http,
};

/// One response of Docker's stats API.
#[derive(Debug)]
pub struct DockerStats(Value);

/// Asks the daemon for one sample of a container.
pub fn docker_stats(docker: &Docker, container: &Container) -> Result<DockerStats> {
    let path = format!("/containers/{}/stats?stream=false&one-shot=true", container.id());
    let answer = http::get(docker.socket(), &path, &[])?;
    ensure!(answer.status == 200, "{path}: {}: {}", answer.status, answer.text()?.trim());
    answer.json().map(DockerStats)
}

impl DockerStats {
    /// The number at a JSON pointer.
    pub fn u64(&self, pointer: &str) -> Result<u64> {
        let found = self.0.pointer(pointer).and_then(Value::as_u64);
        found.with_context(|| format!("Docker's stats have no number at {pointer}: {}", self.0))
    }

    /// `CPU %` of `docker stats` between an earlier sample and this one.
    pub fn cpu_percent_since(&self, earlier: &Self) -> Result<f64> {
        let delta = |pointer: &str| -> Result<f64> {
            let (new, old) = (self.u64(pointer)?, earlier.u64(pointer)?);
            let delta = new.checked_sub(old).with_context(|| format!("{pointer} fell"))?;
            // Nanoseconds of seconds: far below 2^53.
            #[allow(clippy::cast_precision_loss)]
            Ok(delta as f64)
        };
        let used = delta("/cpu_stats/cpu_usage/total_usage")?;
        let system = delta("/cpu_stats/system_cpu_usage")?;
        let cpus = u32::try_from(self.u64("/cpu_stats/online_cpus")?).context("online_cpus")?;
        Ok(used / system * f64::from(cpus) * 100.0)
    }

    /// `MEM USAGE` of `docker stats`: without inactive file pages.
    pub fn memory_bytes(&self) -> Result<u64> {
        let usage = self.u64("/memory_stats/usage")?;
        let inactive = self
            .u64("/memory_stats/stats/total_inactive_file")
            .or_else(|_| self.u64("/memory_stats/stats/inactive_file"))?;
        Ok(if inactive < usage { usage - inactive } else { usage })
    }
}
