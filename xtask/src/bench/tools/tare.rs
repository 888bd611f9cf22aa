//! Tare itself: the daemon, and the table.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Built, Running, Scene, Tool};
use crate::bench::http;
use crate::bench::program::{Program, command, scratch, until};
use crate::bench::pulse::Pulse;

/// How long it may take until it is ready, with ten thousand containers.
pub(crate) const START: Duration = Duration::from_secs(60);

/// Tare opens all files in its first sample, and looks more closely at everyone for five more.
pub(crate) const SETTLE: Duration = Duration::from_secs(7);

/// `tare run`.
pub(crate) struct Daemon {
    pub(crate) name: &'static str,
    pub(crate) options: &'static [&'static str],
}

impl Daemon {
    pub(crate) const PLAIN: Self = Self { name: "tare run", options: &[] };
    pub(crate) const FILES: Self = Self { name: "tare run --bpf off", options: &["--bpf", "off"] };

    /// The socket that it listens on.
    pub(crate) fn socket() -> Result<PathBuf> {
        scratch("tare.sock")
    }

    /// Nobody is asked for names: the cgroups have none.
    pub(crate) fn command(built: &Built, options: &[&str]) -> Result<Command> {
        let mut tare = command(&built.tare, ["run", "--listen", "off", "--socket"]);
        tare.arg(Self::socket()?).args(options);
        for daemon in ["--docker-socket", "--podman-socket", "--cri-socket"] {
            tare.args([daemon, "off"]);
        }
        Ok(tare)
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn launch(built: &Built, options: &[&str]) -> Result<Program> {
        Self::launch_command(&Self::command(built, options)?)
    }

    /// How many containers the one that runs has in its latest sample.
    pub(crate) fn containers() -> Result<usize> {
        let metrics = http::get(&Self::socket()?, "/metrics")?;
        let count = metrics.lines().find_map(|line| line.strip_prefix("tare_containers "));
        count.and_then(|count| count.parse().ok()).context("no metric tare_containers")
    }

    /// The same with a command of one's own.
    pub(crate) fn launch_command(command: &Command) -> Result<Program> {
        let socket = Self::socket()?;
        let mut program = Program::start("tare", command, None)?;
        until("tare to be ready", START, || {
            program.ensure_running()?;
            Ok(http::get(&socket, "/readyz").ok())
        })?;
        Ok(program)
    }
}

impl Tool for Daemon {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn settle(&self) -> Duration {
        SETTLE
    }

    fn start(&self, scene: &Scene<'_>) -> Result<Running> {
        let program = Self::launch(scene.built, self.options)?;
        let one = scene.groups.names().first().context("no cgroups")?;
        let pulse = Pulse::Daemon(Self::socket()?, one.clone());
        Ok(Running { program, pulse, seen: Box::new(Self::containers) })
    }
}

/// `tare stats`, into a file.
pub(crate) struct Stats;

impl Tool for Stats {
    fn name(&self) -> String {
        "tare stats".to_owned()
    }

    fn settle(&self) -> Duration {
        SETTLE
    }

    fn start(&self, scene: &Scene<'_>) -> Result<Running> {
        let mut tare = command(&scene.built.tare, ["stats"]);
        for daemon in ["--docker-socket", "--podman-socket", "--cri-socket"] {
            tare.args([daemon, "off"]);
        }
        let output = scratch("stats.out")?;
        let program = Program::start("stats", &tare, Some(&output))?;
        let pulse = Pulse::Output(output.clone(), HEADER);
        let seen = move || {
            let text = fs::read_to_string(&output)?;
            let rows = text.rsplit(HEADER).next().unwrap_or_default();
            Ok(rows.lines().skip(1).filter(|line| !line.trim().is_empty()).count())
        };
        Ok(Running { program, pulse, seen: Box::new(seen) })
    }
}

/// What the first line of a table begins with.
const HEADER: &str = "CONTAINER ID";
