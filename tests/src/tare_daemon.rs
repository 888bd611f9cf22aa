//! A running `tare run`, and requests over its unix socket.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    http::{self, Answer},
    process::{Finished, Process},
    tare::Tare,
    wait::{self, PATIENCE},
};

/// A daemon that is ready; killed on drop.
#[derive(Debug)]
pub struct TareDaemon {
    process: Process,
    socket: PathBuf,
    _directory: TempDir,
}

impl TareDaemon {
    /// Starts `tare run` with these further arguments and waits until it is ready. It listens on
    /// TCP only if `--listen` is among them.
    pub fn start(tare: &Tare, args: &[&str]) -> Result<Self> {
        let mut daemon = Self::spawn(tare, args)?;
        wait::until("the daemon to be ready", PATIENCE, || {
            daemon.process.ensure_running()?;
            let answer = http::get(&daemon.socket, "/readyz", &[]);
            Ok(answer.ok().filter(|answer| answer.status == 200).map(|_| ()))
        })?;
        Ok(daemon)
    }

    /// Starts it without waiting.
    pub fn spawn(tare: &Tare, args: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir().context("make a directory")?;
        // It may run as another user.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777))?;
        let socket = directory.path().join("tare.sock");
        let path = socket.to_str().context("the socket's path is not UTF-8")?;
        let mut all = vec!["run", "--socket", path];
        if !args.contains(&"--listen") {
            all.extend(["--listen", "off"]);
        }
        all.extend(args);
        let process = Process::spawn(tare.command(&all))?;
        Ok(Self { process, socket, _directory: directory })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its unix socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The next line of its standard output.
    pub fn next_line(&mut self) -> Result<String> {
        self.process.next_line(PATIENCE)
    }

    /// Gets a path.
    pub fn get(&self, path: &str) -> Result<Answer> {
        http::get(&self.socket, path, &[])
    }

    /// A JSON document; an error unless the status is 200.
    pub fn json(&self, path: &str) -> Result<Value> {
        let answer = self.get(path)?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
        answer.json()
    }

    /// The text of `/metrics`.
    pub fn metrics(&self) -> Result<String> {
        let answer = self.get("/metrics")?;
        ensure!(answer.status == 200, "/metrics: {answer:?}");
        Ok(answer.text()?.to_owned())
    }

    /// A metric without labels.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let metrics = self.metrics()?;
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.with_context(|| format!("no {name} in {metrics}"))?;
        value.parse().with_context(|| format!("{name} is {value}"))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Ends it with SIGTERM, like an init system.
    pub fn terminate(self) -> Result<Finished> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.finish(PATIENCE)
    }

    /// Waits until it ends by itself.
    pub fn finish(self) -> Result<Finished> {
        self.process.finish(PATIENCE)
    }
}
