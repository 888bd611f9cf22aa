//! A private Docker daemon, which can be stopped while its containers run on.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    daemon::{Daemon, RunDir, unmount_below},
    docker::Docker,
    scratch::Scratch,
};

/// The daemon, without network and firewall rules.
#[derive(Debug)]
pub struct Dockerd {
    daemon: Option<Daemon>,
    run: RunDir,
    root: PathBuf,
}

impl Dockerd {
    /// Starts it.
    pub fn start(scratch: &Scratch) -> Result<Self> {
        let (run, root) = (RunDir::new()?, scratch.subdirectory()?);
        let config = run.join("daemon.json");
        fs::write(&config, "{}").with_context(|| format!("write {}", config.display()))?;
        let mut dockerd = Self { daemon: None, run, root };
        dockerd.start_daemon()?;
        Ok(dockerd)
    }

    /// The daemon's client.
    #[must_use]
    pub fn docker(&self) -> Docker {
        Docker::at(self.run.join("docker.sock"))
    }

    /// Its data directory.
    #[must_use]
    pub fn root(&self) -> &PathBuf {
        &self.root
    }

    /// Starts the daemon, again.
    pub fn start_daemon(&mut self) -> Result<()> {
        let socket = self.run.join("docker.sock");
        let mut command = Command::new("dockerd");
        command.arg("--host").arg(format!("unix://{}", socket.display()));
        command.arg("--config-file").arg(self.run.join("daemon.json"));
        command.arg("--data-root").arg(&self.root).arg("--exec-root").arg(self.run.join("exec"));
        command.arg("--pidfile").arg(self.run.join("pid"));
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--live-restore"]);
        self.daemon = Some(Daemon::start(command, &socket, &self.run.join("log"))?);
        Ok(())
    }

    /// Stops the daemon; containers run on.
    pub fn stop_daemon(&mut self) {
        self.daemon = None;
    }
}

impl Dockerd {
    /// Containers outlive their daemon, and must not outlive the test.
    fn clean(&mut self) -> Result<()> {
        if self.daemon.is_none() {
            self.start_daemon()?;
        }
        let docker = self.docker();
        let ids = docker.client(["ps", "--all", "--quiet"])?;
        for id in ids.split_whitespace() {
            docker.client(["rm", "--force", "--volumes", id])?;
        }
        Ok(())
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        if let Err(error) = self.clean() {
            eprintln!("Docker: {error:#}");
        }
        self.daemon = None;
        unmount_below(&self.root);
    }
}
