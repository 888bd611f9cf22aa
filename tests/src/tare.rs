//! Running `tare`: once, as another user, or as a stream of reports.

use std::{
    fs,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;

use crate::{
    docker::Docker,
    process::{self, Finished, Process},
    report::Report,
    scratch::Scratch,
    wait::PATIENCE,
};

/// User and group `nobody` of every Linux system.
const NOBODY: u32 = 65534;

/// The binary under test and how it is run.
#[derive(Clone, Debug)]
pub struct Tare {
    binary: PathBuf,
    docker_socket: Option<PathBuf>,
    options: Vec<String>,
    environment: Vec<(String, String)>,
    unprivileged: bool,
    /// Runs as `nobody` with these capabilities, if set.
    capable: Option<Capable>,
}

/// `nobody` with capabilities and a group.
#[derive(Clone, Debug)]
struct Capable {
    group: u32,
    /// As `setpriv` has them, such as `+bpf,+perfmon`.
    capabilities: String,
}

impl Tare {
    /// The binary at `path`.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self {
            binary: path,
            docker_socket: None,
            options: Vec::new(),
            environment: Vec::new(),
            unprivileged: false,
            capable: None,
        }
    }

    /// Takes names from this daemon.
    #[must_use]
    pub fn with_docker(mut self, docker: &Docker) -> Self {
        self.docker_socket = Some(docker.socket().to_owned());
        self
    }

    /// Sets a global option.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.options.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs as `nobody` with these capabilities (`bpf`, `perfmon`, …) and no others, in the group
    /// that Docker's socket belongs to.
    pub fn with_capabilities(self, capabilities: &[&str], scratch: &Scratch) -> Result<Self> {
        let mut tare = self.as_nobody(scratch)?;
        tare.unprivileged = false;
        let socket = tare.docker_socket.as_deref().map(fs::metadata).transpose()?;
        let group = socket.map_or(NOBODY, |socket| socket.gid());
        let capabilities = capabilities.iter().map(|name| format!(",+{name}")).collect();
        tare.capable = Some(Capable { group, capabilities });
        Ok(tare)
    }

    /// Runs as `nobody`, from a copy of the binary that `nobody` can reach.
    pub fn as_nobody(mut self, scratch: &Scratch) -> Result<Self> {
        let copy = scratch.subdirectory()?.join("tare");
        fs::copy(&self.binary, &copy).with_context(|| format!("copy {}", self.binary.display()))?;
        self.binary = copy;
        self.unprivileged = true;
        Ok(self)
    }

    /// `tare OPTIONS… ARGS…`, not started.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = match &self.capable {
            None => Command::new(&self.binary),
            Some(Capable { group, capabilities }) => {
                let mut setpriv = Command::new("setpriv");
                setpriv.arg(format!("--reuid={NOBODY}")).arg(format!("--regid={group}"));
                setpriv.arg("--clear-groups").arg(format!("--inh-caps=-all{capabilities}"));
                setpriv.arg(format!("--ambient-caps=-all{capabilities}"));
                setpriv.arg(format!("--bounding-set=-all{capabilities}")).arg(&self.binary);
                setpriv
            }
        };
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(Path::new("/"));
        if let Some(socket) = &self.docker_socket {
            command.arg("--docker-socket").arg(socket);
        }
        command.args(&self.options).args(args);
        if self.unprivileged {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Result<Finished> {
        process::run(self.command(args), PATIENCE)
    }

    /// One report, of a run that must succeed.
    pub fn report(&self) -> Result<Report> {
        let done = self.run(&["stats", "--no-stream", "--format", "json"])?;
        ensure!(done.status.success(), "tare: {}: {}", done.status, done.stderr.trim());
        let mut lines = done.stdout.lines();
        let line = lines.next().context("tare printed nothing")?;
        ensure!(lines.next().is_none(), "more than one line of JSON: {}", done.stdout);
        Report::parse(line)
    }

    /// Reports at an interval, until the stream is dropped or ended.
    pub fn stream(&self, interval: &str) -> Result<Stream> {
        let args = ["stats", "--format", "json", "--interval", interval];
        Process::spawn(self.command(&args)).map(Stream)
    }
}

/// A `tare stats` that keeps printing reports.
#[derive(Debug)]
pub struct Stream(Process);

impl Stream {
    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// The next report.
    pub fn report(&mut self) -> Result<Report> {
        Report::parse(&self.0.next_line(PATIENCE)?)
    }

    /// A report whose sample was taken after this call.
    pub fn fresh(&mut self) -> Result<Report> {
        self.0.skip_lines();
        // The first one may have been sampled before this call.
        self.report()?;
        self.report()
    }

    /// A fresh report with rows of all these containers, by full id.
    pub fn fresh_with(&mut self, ids: &[&str]) -> Result<Report> {
        for _ in 0..50 {
            let report = self.fresh()?;
            if ids.iter().all(|id| report.find(id).is_some()) {
                return Ok(report);
            }
        }
        let report = self.fresh()?;
        for id in ids {
            report.row(id)?;
        }
        Ok(report)
    }

    /// A fresh report that has a receipt for each of these containers.
    pub fn fresh_with_ended(&mut self, ids: &[&str]) -> Result<Report> {
        for _ in 0..50 {
            let report = self.report()?;
            if ids.iter().all(|id| report.ended(id).is_some()) {
                return Ok(report);
            }
        }
        let report = self.report()?;
        let missing = ids.iter().filter(|id| report.ended(id).is_none()).count();
        bail!("{missing} of {} ended containers have no receipt in {report:?}", ids.len())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.0.signal(signal)
    }

    /// Ends it with SIGINT, like Ctrl-C.
    pub fn interrupt(self) -> Result<Finished> {
        self.0.signal(Signal::SIGINT)?;
        self.0.finish(PATIENCE)
    }
}
