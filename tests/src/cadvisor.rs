//! A running cAdvisor of the lab's containers.

use std::{env, ffi::OsString, process::Command};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    lab::Lab,
    process::{self, Process},
    tcp::free_address,
    wait::{self, PATIENCE},
};

/// A running cAdvisor, which reads each container once a second; killed on drop.
#[derive(Debug)]
pub struct Cadvisor {
    address: String,
    _process: Process,
}

impl Cadvisor {
    /// Starts the one of `TARE_CADVISOR`, or of `PATH`.
    pub fn start(lab: &Lab) -> Result<Self> {
        let program = env::var_os("TARE_CADVISOR").unwrap_or_else(|| OsString::from("cadvisor"));
        let address = free_address()?;
        let (host, port) = address.split_once(':').context("an address without a port")?;
        let mut cadvisor = Command::new(program);
        cadvisor.args(["-listen_ip", host, "-port", port, "-docker_only=true"]);
        cadvisor.arg("-docker").arg(format!("unix://{}", lab.docker.socket().display()));
        cadvisor.args(["-housekeeping_interval=1s", "-allow_dynamic_housekeeping=false"]);
        cadvisor.args(["-disable_metrics=", "-enable_load_reader"]);
        let mut process = Process::spawn(cadvisor).context("the live tests need cAdvisor")?;
        wait::until("cAdvisor to answer", PATIENCE, || {
            process.ensure_running()?;
            Ok(get(&address, "/metrics").ok())
        })?;
        Ok(Self { address, _process: process })
    }

    /// Its metrics.
    pub fn metrics(&self) -> Result<String> {
        let (status, body) = self.get("/metrics")?;
        anyhow::ensure!(status == 200, "{status}: {body}");
        Ok(body)
    }

    /// The lines of an answer that does not end.
    pub fn stream(&self, path: &str) -> Result<Process> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--no-buffer"]).arg(format!("http://{}{path}", self.address));
        Process::spawn(curl)
    }

    /// The status and the body of any path.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        get(&self.address, path)
    }

    /// A JSON document; an error unless the status is 200.
    pub fn json(&self, path: &str) -> Result<Value> {
        let (status, body) = self.get(path)?;
        anyhow::ensure!(status == 200, "{path}: {status} {body}");
        serde_json::from_str(&body).with_context(|| format!("{path}: {body}"))
    }
}

fn get(address: &str, path: &str) -> Result<(u16, String)> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--write-out", "\n%{http_code}"]);
    curl.arg(format!("http://{address}{path}"));
    let output = process::output(curl, PATIENCE)?;
    let (body, status) = output.rsplit_once('\n').context("no status")?;
    Ok((status.parse()?, body.to_owned()))
}
