//! Podman with a private store and socket.

use std::{ffi::OsStr, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    daemon::{Daemon, RunDir, unmount_below},
    docker::Image,
    process::output,
    scratch::Scratch,
    wait::PATIENCE,
};

/// A store and its API service; containers are removed on drop.
#[derive(Debug)]
pub struct Podman {
    service: Option<Daemon>,
    run: RunDir,
    root: PathBuf,
    image: String,
}

impl Podman {
    /// Makes the store with Docker's image, and starts the service.
    pub fn start(scratch: &Scratch, image: &Image) -> Result<Self> {
        let (run, root) = (RunDir::new()?, scratch.subdirectory()?);
        let archive = image.save(scratch)?;
        let image = format!("localhost/{}:latest", image.name());
        let mut podman = Self { service: None, run, root, image };
        podman.client([OsStr::new("load"), OsStr::new("--input"), archive.as_os_str()])?;
        podman.start_service()?;
        Ok(podman)
    }

    /// Where the service listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run.join("podman.sock")
    }

    /// Starts the service, again.
    pub fn start_service(&mut self) -> Result<()> {
        let socket = self.socket();
        let mut command = self.command();
        command.args(["system", "service", "--time", "0"]);
        command.arg(format!("unix://{}", socket.display()));
        self.service = Some(Daemon::start(command, &socket, &self.run.join("log"))?);
        Ok(())
    }

    /// Stops the service; containers run on.
    pub fn stop_service(&mut self) {
        self.service = None;
    }

    /// Runs `podman ARGS…`, which must succeed; its standard output.
    pub fn client<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<String> {
        let mut command = self.command();
        command.args(args);
        output(command, PATIENCE)
    }

    /// The image that all its containers run.
    #[must_use]
    pub fn image(&self) -> &str {
        &self.image
    }

    /// Starts a container without a network that runs `tare-load LOAD…`; its id.
    pub fn run(&self, name: &str, options: &[&str], load: &[&str]) -> Result<String> {
        let args = ["run", "--detach", "--network=none", "--name", name];
        // Podman's default limits exceed what some hosts allow.
        let limits = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096"];
        let image = [self.image.as_str()];
        let args = args.iter().chain(&limits).chain(options).chain(&image).chain(load);
        self.client(args)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        command.env_remove("CONTAINER_HOST");
        command.arg("--root").arg(&self.root).arg("--runroot").arg(self.run.join("run"));
        command.arg("--tmpdir").arg(self.run.join("tmp"));
        // crun refuses hybrid hosts, and not all hosts have systemd or nested overlays.
        command.args(["--runtime=runc", "--cgroup-manager=cgroupfs", "--storage-driver=vfs"]);
        command.arg("--events-backend=file");
        command
    }

    fn clean(&self) -> Result<()> {
        self.client(["rm", "--all", "--force", "--time=0"]).context("remove the containers")?;
        self.client(["pod", "rm", "--all", "--force", "--time=0"]).context("remove the pods")?;
        Ok(())
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        if let Err(error) = self.clean() {
            eprintln!("Podman: {error:#}");
        }
        self.service = None;
        unmount_below(&self.root);
    }
}
