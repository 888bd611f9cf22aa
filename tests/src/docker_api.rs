//! Docker's own numbers, straight from its socket, and its own formulas.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::docker::{Container, Docker};

const TIMEOUT: Duration = Duration::from_secs(10);

/// One answer of Docker's stats API.
#[derive(Debug)]
pub struct DockerStats(Value);

/// Asks the daemon for one sample of a container.
pub fn docker_stats(docker: &Docker, container: &Container) -> Result<DockerStats> {
    let path = format!("/containers/{}/stats?stream=false&one-shot=true", container.id());
    get(docker, &path).map(DockerStats)
}

/// One HTTP/1.0 request, which the daemon answers unchunked and ends by closing.
fn get(docker: &Docker, path: &str) -> Result<Value> {
    let socket = docker.socket();
    let mut stream =
        UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))?;
    stream.set_read_timeout(Some(TIMEOUT)).context("SO_RCVTIMEO")?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n").context("ask the daemon")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("the daemon's answer to {path}"))?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("the daemon's answer to {path} has no end of its header: {answer}");
    };
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("GET {path}: {status}: {}", body.trim());
    }
    serde_json::from_str(body).with_context(|| format!("GET {path}: {body}"))
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
