//! A Prometheus, and what it has stored.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    process::{self, Process},
    stores::Stored,
    tcp::{encoded, free_address, json},
    wait::{self, PATIENCE},
};

/// A server; stopped on drop.
#[derive(Debug)]
pub struct Prometheus {
    address: String,
    _process: Process,
}

/// A program of Prometheus, from `TARE_PROMETHEUS_DIR` or `PATH`.
fn program(name: &str) -> PathBuf {
    env::var_os("TARE_PROMETHEUS_DIR").map(PathBuf::from).unwrap_or_default().join(name)
}

/// Runs `promtool`; its standard output.
pub fn promtool(args: &[&str], input: Option<&Path>) -> Result<String> {
    let mut promtool = Command::new("sh");
    let redirect = input.map_or(String::new(), |path| format!(" < '{}'", path.display()));
    promtool.args(["-c", &format!("\"$0\" \"$@\"{redirect}")]);
    promtool.arg(program("promtool")).args(args);
    process::output(promtool, PATIENCE)
}

impl Prometheus {
    /// Starts it with a configuration and its data in an empty directory.
    pub fn start(directory: &Path, config: &str, options: &[&str]) -> Result<Self> {
        let (file, address) = (directory.join("prometheus.yml"), free_address()?);
        fs::write(&file, config)?;
        let mut prometheus = Command::new(program("prometheus"));
        prometheus.arg(format!("--config.file={}", file.display()));
        prometheus.arg(format!("--storage.tsdb.path={}", directory.join("data").display()));
        prometheus.arg(format!("--web.listen-address={address}"));
        prometheus.args(options);
        let process = Process::spawn(prometheus).context("the test needs prometheus")?;
        Ok(Self { address, _process: process })
    }

    /// Starts one that scrapes a target each second.
    pub fn scraping(directory: &Path, target: &str, options: &[&str]) -> Result<Self> {
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             scrape_configs:\n- job_name: cadvisor\n  static_configs: [{{targets: ['{target}']}}]\n"
        );
        Self::start(directory, &config, options)
    }

    /// Starts one that takes remote write, and waits until it does.
    pub fn receiving(directory: &Path) -> Result<Self> {
        let prometheus = Self::start(directory, "", &["--web.enable-remote-write-receiver"])?;
        wait::until("Prometheus to be ready", PATIENCE, || {
            Ok(json(&prometheus.address, "GET /api/v1/query?query=1").ok().map(|_| ()))
        })?;
        Ok(prometheus)
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it has of a metric; times in milliseconds.
    pub fn stored(&self, metric: &str) -> Result<Stored> {
        let query = encoded(&format!("{metric}[1h]"));
        let answer = json(&self.address, &format!("GET /api/v1/query?query={query}"))?;
        let all = answer.pointer("/data/result").and_then(Value::as_array);
        let row = |row: &Value| {
            let millis = (row[0].as_f64()? * 1e3).round() as i64;
            Some((millis, row[1].as_str()?.parse().ok()?))
        };
        let series = |series: &Value| {
            let values = series["values"].as_array()?.iter().filter_map(row).collect();
            Some((series["metric"]["name"].as_str()?.to_owned(), values))
        };
        Ok(all.into_iter().flatten().filter_map(series).collect())
    }
}
