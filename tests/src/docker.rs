//! Docker through its client: one image, many containers, all removed at the end.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{
    process::output,
    scratch::{Scratch, unique_name},
    wait::{self, PATIENCE},
};

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// Where a gate's directory is mounted in a container, and the file in it.
const GATE_DIR: &str = "/gate";
const GATE_FILE: &str = "open";

/// A Docker daemon that answers.
#[derive(Clone, Debug)]
pub struct Docker {
    socket: PathBuf,
    program: PathBuf,
}

impl Docker {
    /// The daemon of `DOCKER_HOST`, by default the one at `/var/run/docker.sock`.
    pub fn connect() -> Result<Self> {
        let host =
            std::env::var("DOCKER_HOST").unwrap_or_else(|_| format!("unix://{DEFAULT_SOCKET}"));
        let Some(socket) = host.strip_prefix("unix://") else {
            bail!("DOCKER_HOST={host}: the live tests need a daemon on this host, unix://PATH");
        };
        let docker = Self::at(socket.into());
        docker
            .client(["version", "--format", "{{.Server.Version}}"])
            .context("the live tests need a running Docker daemon and its client")?;
        Ok(docker)
    }

    /// The daemon at a socket.
    #[must_use]
    pub fn at(socket: PathBuf) -> Self {
        Self { socket, program: "docker".into() }
    }

    /// The same daemon, asked by another client.
    #[must_use]
    pub fn with_client(&self, program: &Path) -> Self {
        Self { program: program.to_owned(), ..self.clone() }
    }

    /// The daemon's socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Runs `docker ARGS…`, which must succeed; its standard output.
    pub fn client<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<String> {
        output(self.command(args), PATIENCE)
    }

    /// `docker ARGS…`, not started.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.program);
        command.env_remove("DOCKER_CONTEXT").env_remove("DOCKER_HOST");
        command.arg("--host").arg(format!("unix://{}", self.socket.display())).args(args);
        command
    }

    /// A value of `docker inspect`, by a Go template.
    pub fn inspect(&self, container: &str, template: &str) -> Result<String> {
        self.client(["container", "inspect", "--format", template, container])
    }
}

/// An image that contains only the load binary; removed on drop.
#[derive(Debug)]
pub struct Image {
    docker: Docker,
    name: String,
}

impl Image {
    /// Imports it.
    pub fn import(docker: &Docker, load: &Path, scratch: &Scratch) -> Result<Self> {
        let root = scratch.subdirectory()?;
        fs::copy(load, root.join("tare-load"))
            .with_context(|| format!("copy {}", load.display()))?;
        let archive = root.with_extension("tar");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&root).arg("-cf").arg(&archive).arg("tare-load");
        output(tar, PATIENCE).context("pack the test image")?;
        let image = Self { docker: docker.clone(), name: unique_name() };
        let archive = archive.to_str().context("the scratch directory's name is not UTF-8")?;
        docker.client([
            "import",
            "--change",
            "ENTRYPOINT [\"/tare-load\"]",
            "--change",
            "CMD [\"serve\"]",
            archive,
            &image.name,
        ])?;
        Ok(image)
    }

    /// Its reference.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes it to a file for other runtimes.
    pub fn save(&self, scratch: &Scratch) -> Result<PathBuf> {
        let archive = scratch.path().join(unique_name());
        let output = format!("--output={}", archive.display());
        self.docker.client(["image", "save", &output, &self.name])?;
        Ok(archive)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if let Err(error) = self.docker.client(["image", "rm", "--force", &self.name]) {
            eprintln!("could not remove the image {}: {error:#}", self.name);
        }
    }
}

/// A signal to containers: their loads begin when it opens, after a test's first reading.
#[derive(Debug)]
pub struct Gate(PathBuf);

impl Gate {
    /// A closed gate.
    pub fn new(scratch: &Scratch) -> Result<Self> {
        scratch.subdirectory().map(Self)
    }

    /// Lets every waiting load begin.
    pub fn open(&self) -> Result<()> {
        let file = self.0.join(GATE_FILE);
        fs::write(&file, "").with_context(|| format!("make {}", file.display()))
    }
}

/// How a container is started.
#[derive(Clone, Debug, Default)]
pub struct Run {
    options: Vec<String>,
    load: Vec<String>,
}

impl Run {
    /// Runs `tare-load LOAD…`, words separated by spaces.
    #[must_use]
    pub fn load(load: &str) -> Self {
        let load = load.split_whitespace().map(str::to_owned).collect();
        Self { options: Vec::new(), load }
    }

    /// Keeps the container running after the load.
    #[must_use]
    pub fn linger(mut self) -> Self {
        self.load.push("--linger".into());
        self
    }

    /// Begins when the gate opens.
    #[must_use]
    pub fn behind(self, gate: &Gate) -> Self {
        let mut run = self.mount(&gate.0, GATE_DIR);
        run.load.extend(["--start-when".into(), format!("{GATE_DIR}/{GATE_FILE}")]);
        run
    }

    /// Binds a directory of the host into it.
    #[must_use]
    pub fn mount(self, from: &Path, to: &str) -> Self {
        self.option("--volume", &format!("{}:{to}", from.display()))
    }

    /// Sets an option of `docker run`.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.options.push(format!("{name}={value}"));
        self
    }

    /// Starts it.
    pub fn start(self, image: &Image) -> Result<Container> {
        let docker = image.docker.clone();
        // The guard comes first: a container that fails to start exists and must be removed.
        let mut container = Container { docker, name: unique_name(), id: String::new() };
        let mut args = vec!["run".to_owned(), "--detach".into(), "--name".into()];
        args.push(container.name.clone());
        args.extend(self.options);
        args.push(image.name.clone());
        args.extend(self.load);
        container.id = container.docker.client(&args)?;
        Ok(container)
    }
}

/// A container; removed on drop, running or not.
#[derive(Debug)]
pub struct Container {
    docker: Docker,
    name: String,
    id: String,
}

impl Container {
    /// Its full id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Process id of its first process, 0 if it does not run.
    pub fn pid(&self) -> Result<String> {
        self.docker.inspect(&self.id, "{{.State.Pid}}")
    }

    /// Its address on Docker's default network.
    pub fn address(&self) -> Result<String> {
        let address = self.docker.inspect(&self.id, "{{.NetworkSettings.IPAddress}}")?;
        if address.is_empty() {
            bail!("{} has no address on Docker's default network", self.name);
        }
        Ok(address)
    }

    /// Waits until the load says that it is ready.
    pub fn ready(&self) -> Result<()> {
        self.line("ready", |line| (line == "ready").then_some(()))
    }

    /// Waits until the load is done; its report.
    pub fn outcome(&self) -> Result<Value> {
        self.line("done", |line| {
            serde_json::from_str(line).ok().filter(|value: &Value| value.is_object())
        })
    }

    fn line<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        let what = format!("{} to be {what}", self.name);
        wait::until(&what, PATIENCE, || {
            // State first: if it has ended, the log is complete.
            let state = self.docker.inspect(&self.id, "{{.State.Running}} {{.State.ExitCode}}")?;
            let log = self.docker.client(["logs", &self.id])?;
            if let Some(found) = log.lines().find_map(&find) {
                return Ok(Some(found));
            }
            if state.starts_with("false") {
                bail!("{} ended with running={state}: {}", self.name, self.errors()?);
            }
            Ok(None)
        })
    }

    /// What it printed on standard error.
    fn errors(&self) -> Result<String> {
        Ok(crate::process::run(self.docker.command(["logs", &self.id]), PATIENCE)?.stderr)
    }

    /// Renames it.
    pub fn rename(&mut self) -> Result<()> {
        let name = unique_name();
        self.docker.client(["rename", &self.id, &name])?;
        self.name = name;
        Ok(())
    }

    /// Removes it now.
    pub fn remove(self) {}
}

impl Drop for Container {
    fn drop(&mut self) {
        let removed = self.docker.client(["rm", "--force", "--volumes", &self.name]);
        if let Err(error) = removed {
            eprintln!("could not remove the container {}: {error:#}", self.name);
        }
    }
}
