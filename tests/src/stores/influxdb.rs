//! An `InfluxDB` 1 that can be stopped and started again.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    process::Process,
    stores::Stored,
    tcp::{encoded, free_address, json},
    wait::{self, PATIENCE},
};

/// A server with a database; stopped on drop.
#[derive(Debug)]
pub struct InfluxDb {
    address: String,
    config: PathBuf,
    process: Option<Process>,
}

impl InfluxDb {
    /// Starts `influxd` of `TARE_INFLUXDB_DIR` or `PATH`, with its data in an empty directory.
    pub fn start_in(directory: &Path) -> Result<Self> {
        let (address, config) = (free_address()?, directory.join("influxdb.conf"));
        let path = directory.display();
        let text = format!(
            "reporting-disabled = true\nbind-address = \"{}\"\n[meta]\ndir = \"{path}/meta\"\n\
             [data]\ndir = \"{path}/data\"\nwal-dir = \"{path}/wal\"\n\
             [http]\nbind-address = \"{address}\"\nlog-enabled = false\n",
            free_address()?
        );
        fs::write(&config, text)?;
        let mut influxdb = Self { address, config, process: None };
        influxdb.start()?;
        Ok(influxdb)
    }

    /// Starts it with what it had stored before.
    pub fn start(&mut self) -> Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        let of = env::var_os("TARE_INFLUXDB_DIR").map(PathBuf::from).unwrap_or_default();
        let mut influxd = Command::new(of.join("influxd"));
        influxd.arg("-config").arg(&self.config);
        self.process = Some(Process::spawn(influxd).context("the test needs influxd")?);
        wait::until("InfluxDB to answer", PATIENCE, || {
            let create = format!("POST /query?q={}", encoded("CREATE DATABASE tare"));
            Ok(json(&self.address, &create).ok().map(|_| ()))
        })
    }

    /// Kills it.
    pub fn kill(&mut self) -> Result<()> {
        let Some(process) = self.process.take() else { return Ok(()) };
        process.signal(Signal::SIGKILL)?;
        process.finish(PATIENCE).map(drop)
    }

    /// The URL of the sink.
    #[must_use]
    pub fn url(&self) -> String {
        format!("influx+http://{}/?db=tare", self.address)
    }

    /// What it has of a field of a family's measurement; times in nanoseconds.
    pub fn stored(&self, field: &str, family: &str) -> Result<Stored> {
        let query = format!("SELECT \"{field}\" FROM \"tare_{family}\" GROUP BY \"name\"");
        let request = format!("GET /query?db=tare&epoch=ns&q={}", encoded(&query));
        let answer = json(&self.address, &request)?;
        let all = answer.pointer("/results/0/series").and_then(Value::as_array);
        let row = |row: &Value| Some((row[0].as_i64()?, row[1].as_f64()?));
        let series = |series: &Value| {
            let values = series["values"].as_array()?.iter().filter_map(row).collect();
            Some((series["tags"]["name"].as_str()?.to_owned(), values))
        };
        Ok(all.into_iter().flatten().filter_map(series).collect())
    }
}
