//! Tare: `tare run` and `tare stats`.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result};

use super::{Binaries, Running, Setup, Tool};
use crate::{
    bench::{
        http::{self, Server},
        program::{Program, command, scratch},
        sample_signal::SampleSignal,
    },
    wait::until,
};

/// Limit for its start, with 10,000 containers.
pub(crate) const START: Duration = Duration::from_secs(60);

/// Tare opens all files in its first sample, and reads more files in the five after that.
pub(crate) const SETTLE: Duration = Duration::from_secs(7);

/// `tare run`.
pub(crate) struct TareRun {
    pub(crate) name: &'static str,
    pub(crate) options: &'static [&'static str],
}

impl TareRun {
    pub(crate) const PLAIN: Self = Self { name: "tare run", options: &[] };
    pub(crate) const FILES: Self =
        Self { name: "tare run --sources files", options: &["--sources", "files"] };
    pub(crate) const NO_BPF: Self = Self { name: "tare run --bpf off", options: &["--bpf", "off"] };

    /// Its socket.
    pub(crate) fn socket() -> Result<PathBuf> {
        scratch("tare.sock")
    }

    /// Its address for requests.
    pub(crate) fn server() -> Result<Server> {
        Self::socket().map(Server::Unix)
    }

    /// Without container daemons: the test cgroups have no names.
    pub(crate) fn command(binaries: &Binaries, options: &[&str]) -> Result<Command> {
        let mut tare = command(&binaries.tare, ["run", "--listen", "off", "--socket"]);
        tare.arg(Self::socket()?).args(options);
        for daemon in ["--docker-socket", "--podman-socket", "--cri-socket"] {
            tare.args([daemon, "off"]);
        }
        Ok(tare)
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn launch(binaries: &Binaries, options: &[&str]) -> Result<Program> {
        Self::launch_command(&Self::command(binaries, options)?)
    }

    /// The number of containers in the latest sample of the running daemon.
    pub(crate) fn containers() -> Result<usize> {
        Self::count("tare_containers")
    }

    /// A metric of the running daemon that is a count without labels.
    pub(crate) fn count(name: &str) -> Result<usize> {
        let metrics = http::get(&Self::server()?, "/metrics")?;
        let count = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        metrics.lines().find_map(count).with_context(|| format!("no metric {name}"))
    }

    /// The same with another command.
    pub(crate) fn launch_command(command: &Command) -> Result<Program> {
        let server = Self::server()?;
        let mut program = Program::start("tare", command, None)?;
        until("tare to be ready", START, || {
            program.ensure_running()?;
            Ok(http::get(&server, "/readyz").ok())
        })?;
        Ok(program)
    }
}

impl Tool for TareRun {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn settle(&self) -> Duration {
        SETTLE
    }

    fn start(&self, setup: &Setup<'_>) -> Result<Running> {
        let program = Self::launch(setup.binaries, self.options)?;
        let one = setup.groups.names().first().context("no cgroups")?;
        let signal = SampleSignal::Daemon(Self::server()?, one.clone());
        Ok(Running { program, signal, seen: Box::new(Self::containers) })
    }
}

/// `tare stats`, with its output in a file.
pub(crate) struct TareStats;

impl Tool for TareStats {
    fn name(&self) -> String {
        "tare stats".to_owned()
    }

    fn settle(&self) -> Duration {
        SETTLE
    }

    fn start(&self, setup: &Setup<'_>) -> Result<Running> {
        let mut tare = command(&setup.binaries.tare, ["stats"]);
        for daemon in ["--docker-socket", "--podman-socket", "--cri-socket"] {
            tare.args([daemon, "off"]);
        }
        let output = scratch("stats.out")?;
        let program = Program::start("stats", &tare, Some(&output))?;
        let signal = SampleSignal::Output(output.clone(), HEADER);
        let seen = move || {
            let text = fs::read_to_string(&output)?;
            let rows = text.rsplit(HEADER).next().unwrap_or_default();
            Ok(rows.lines().skip(1).filter(|line| !line.trim().is_empty()).count())
        };
        Ok(Running { program, signal, seen: Box::new(seen) })
    }
}

/// Start of a table's first line.
const HEADER: &str = "CONTAINER ID";
