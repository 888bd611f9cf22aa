//! Containers of Podman, in a private store.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{
    Engine,
    docker::{archive, warn},
};
use crate::{
    bench::program::{command, scratch},
    cmd,
    wait::until,
};

/// A store and the containers in it; removed on drop.
pub(super) struct Podman {
    program: PathBuf,
    root: PathBuf,
    run: PathBuf,
    containers: usize,
}

/// Limit for the removal of containers.
const REMOVAL: Duration = Duration::from_secs(10);

const IMAGE: &str = "localhost/tare-bench:latest";

impl Podman {
    /// Imports an image that contains `tare-bench` alone.
    pub(super) fn start(tare_bench: &Path) -> Result<Self> {
        let program = cmd::find("podman").context("no podman on this machine")?;
        // It contains sockets, whose paths must be short.
        let run = PathBuf::from(format!("/tmp/tare-bench-{}", process::id()));
        fs::create_dir(&run).with_context(|| format!("cannot make {run:?}"))?;
        let podman = Self { program, root: scratch("podman")?, run, containers: 0 };
        let mut import = podman.command(&["import", "--change"]);
        import.arg("ENTRYPOINT [\"/tare-bench\"]").arg(archive(tare_bench)?).arg(IMAGE);
        cmd::check(&mut import)?;
        Ok(podman)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut podman = command(&self.program, ["--root"]);
        podman.arg(&self.root).arg("--runroot").arg(self.run.join("run"));
        podman.arg("--tmpdir").arg(self.run.join("tmp"));
        // crun refuses hybrid hosts, and not all hosts have systemd or nested overlays.
        podman.args(["--runtime=runc", "--cgroup-manager=cgroupfs", "--storage-driver=vfs"]);
        podman.arg("--events-backend=file").args(args);
        podman
    }
}

impl Engine for Podman {
    fn name(&self) -> &'static str {
        "podman"
    }

    fn start(&mut self) -> Result<()> {
        self.containers += 1;
        let run = ["run", "--detach", "--network=none", "--ulimit=nofile=1024:1024"];
        let mut run = self.command(&run);
        run.args(["--ulimit=nproc=4096:4096", IMAGE, "work", "--file", "/work"]);
        cmd::check(&mut run)
    }

    fn stats(&self) -> Command {
        self.command(&["stats", "--interval=1"])
    }

    /// Podman's API service does not run: Tare reads names from its files.
    fn stats_urls(&self) -> Option<String> {
        None
    }

    fn socket(&self) -> (&'static str, String) {
        ("--podman-socket", "off".to_owned())
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        warn(cmd::check(&mut self.command(&["rm", "--all", "--force", "--time=0"])));
        for directory in [&self.root, &self.run] {
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
            let ours = mounts.lines().filter_map(|line| line.split(' ').nth(4));
            for mount in ours.filter(|mount| Path::new(mount).starts_with(directory)) {
                warn(cmd::check(&mut command("umount", ["--lazy", mount])));
            }
            warn(remove(directory));
        }
    }
}

/// Podman's cleanup process may still write after `podman rm` has ended.
fn remove(directory: &Path) -> Result<()> {
    let remove = || {
        let removed = fs::remove_dir_all(directory);
        Ok(removed.is_ok().then_some(()))
    };
    until(&format!("{} to be removed", directory.display()), REMOVAL, remove)
}
