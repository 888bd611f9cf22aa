//! Containers of Docker.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
};

use anyhow::{Context as _, Result};

use super::Engine;
use crate::{
    bench::program::{command, scratch},
    cmd, docker,
    docker_client::client,
};

/// A daemon, with an image and containers that are removed on drop.
pub(in crate::bench) struct Docker {
    daemon: docker::Docker,
    image: String,
    containers: Vec<String>,
}

impl Docker {
    /// Imports an image that contains `tare-bench` alone.
    pub(in crate::bench) fn start(tare_bench: &Path) -> Result<Self> {
        let daemon = docker::ready()?;
        let image = format!("tare-bench-{}", process::id());
        let mut import = client(&daemon.host, &["import", "--change"]);
        import.arg("ENTRYPOINT [\"/tare-bench\"]").arg(archive(tare_bench)?).arg(&image);
        cmd::check(&mut import)?;
        Ok(Self { daemon, image, containers: Vec::new() })
    }

    /// One URL for each container, with this query.
    pub(in crate::bench) fn urls(&self, query: &str) -> Vec<String> {
        let url = |name| format!("http://d/containers/{name}/stats?{query}");
        self.containers.iter().map(url).collect()
    }
}

/// An archive that contains only the program.
pub(super) fn archive(tare_bench: &Path) -> Result<PathBuf> {
    let root = scratch("image")?;
    fs::create_dir_all(&root).with_context(|| format!("cannot make {root:?}"))?;
    let program = root.join("tare-bench");
    fs::copy(tare_bench, &program).with_context(|| format!("cannot copy to {program:?}"))?;
    let archive = scratch("image.tar")?;
    let mut tar = command("tar", ["--create", "--file"]);
    tar.arg(&archive).arg("--directory").arg(&root).arg("tare-bench");
    cmd::check(&mut tar)?;
    Ok(archive)
}

impl Engine for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn start(&mut self) -> Result<()> {
        let name = format!("tare-bench-{}-{}", process::id(), self.containers.len());
        self.containers.push(name.clone());
        let run = ["run", "--detach", "--name", &name, &self.image, "work", "--file", "/work"];
        cmd::check(&mut client(&self.daemon.host, &run))
    }

    fn stats(&self) -> Command {
        client(&self.daemon.host, &["stats"])
    }

    fn stats_urls(&self) -> Option<String> {
        // Without `one-shot` Docker samples twice, one to two seconds apart.
        let urls = self.urls("stream=false&one-shot=true");
        Some(urls.iter().map(|url| format!("'{url}'")).collect::<Vec<_>>().join(" "))
    }

    fn socket(&self) -> (&'static str, String) {
        let socket = self.daemon.host.trim_start_matches("unix://");
        ("--docker-socket", socket.to_owned())
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if !self.containers.is_empty() {
            let mut remove = client(&self.daemon.host, &["rm", "--force", "--volumes"]);
            warn(cmd::check(remove.args(&self.containers)));
        }
        warn(cmd::check(&mut client(&self.daemon.host, &["image", "rm", &self.image])));
    }
}

pub(super) fn warn(result: Result<()>) {
    if let Err(error) = result {
        eprintln!("warning: while containers were removed: {error:#}");
    }
}
