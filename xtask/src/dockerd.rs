//! A Docker daemon of our own, with complete cleanup.
//!
//! It has a private directory, socket and bridge, and changes neither firewall nor routing:
//! containers reach each other over the bridge, and the tests need no more.

use std::{
    fs::{self, File},
    net::Ipv4Addr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{self, Child, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, statfs};

use crate::{cgroups::CgroupCleanup, cmd, docker_client, mounts, project, wait};

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// Lines of the daemon's log that a failed start shows.
const LOG_LINES: usize = 20;

/// Paths that `dockerd` and its `containerd` create outside their directories; inner ones first.
const OUTSIDE_PATHS: [&str; 7] = [
    "/etc/docker/key.json",
    "/etc/docker",
    "/opt/containerd/bin",
    "/opt/containerd/lib",
    "/opt/containerd",
    "/run/docker/plugins",
    "/run/docker",
];

/// A running daemon; on drop it is stopped and everything it created is removed.
pub(crate) struct Daemon {
    /// Socket, pid file, log and runtime state. In `/tmp`, because socket paths must be short.
    run: PathBuf,
    /// Images and layers, on a disk, so that block I/O is real.
    data: PathBuf,
    bridge: Option<String>,
    child: Option<Child>,
    /// Those of `OUTSIDE_PATHS` that did not exist before.
    absent: Vec<PathBuf>,
    _cgroups: CgroupCleanup,
}

impl Daemon {
    pub(crate) fn start() -> Result<Self> {
        let id = process::id();
        let mut daemon = Self {
            run: PathBuf::from(format!("/tmp/tare-docker-{id}")),
            data: project::target().join("docker").join(id.to_string()),
            bridge: None,
            child: None,
            absent: OUTSIDE_PATHS
                .map(PathBuf::from)
                .into_iter()
                .filter(|path| !path.exists())
                .collect(),
            _cgroups: CgroupCleanup::begin()?,
        };
        fs::create_dir(&daemon.run).with_context(|| format!("cannot make {:?}", daemon.run))?;
        fs::create_dir_all(&daemon.data)
            .with_context(|| format!("cannot make {:?}", daemon.data))?;
        warn_unless_on_disk(&daemon.data)?;
        warn_if_bridges_are_closed();
        daemon.add_bridge(&format!("tare{id}"))?;
        daemon.spawn()?;
        daemon.wait_for_answer()?;
        Ok(daemon)
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.run.join("docker.sock").display())
    }

    fn add_bridge(&mut self, name: &str) -> Result<()> {
        let routes = fs::read_to_string("/proc/net/route").context("cannot read the routes")?;
        let network = free_network(&routes).context("no free network for a bridge")?;
        let address = format!("{}/24", Ipv4Addr::from(network | 1));
        cmd::check(cmd::as_root("ip", &[]).args(["link", "add", name, "type", "bridge"]))?;
        self.bridge = Some(name.to_owned());
        cmd::check(cmd::as_root("ip", &[]).args(["address", "add", &address, "dev", name]))?;
        cmd::check(cmd::as_root("ip", &[]).args(["link", "set", name, "up"]))
    }

    fn spawn(&mut self) -> Result<()> {
        let config = self.run.join("daemon.json");
        fs::write(&config, "{}\n").with_context(|| format!("cannot write {config:?}"))?;
        let log = File::create(self.log()).context("cannot make the daemon's log")?;
        let program = cmd::find("dockerd").context("dockerd is missing")?;
        let mut dockerd = cmd::as_root(program, &[]);
        dockerd.arg("--host").arg(self.host()).arg("--config-file").arg(config);
        dockerd.arg("--data-root").arg(&self.data).arg("--exec-root").arg(self.run.join("exec"));
        dockerd.arg("--pidfile").arg(self.pid_file());
        dockerd.args(["--iptables=false", "--ip6tables=false", "--ip-masq=false"]);
        dockerd.args(["--ip-forward=false", "--bridge"]).args(&self.bridge);
        dockerd.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Ctrl-C must not reach it: its containers are stopped first.
        dockerd.process_group(0);
        let child = dockerd.spawn().with_context(|| format!("failed to start {dockerd:?}"))?;
        self.child = Some(child);
        Ok(())
    }

    fn wait_for_answer(&mut self) -> Result<()> {
        let host = self.host();
        let answer = wait::until("the Docker daemon to answer", START_LIMIT, || {
            ensure!(!self.ended(), "the Docker daemon ended");
            Ok(docker_client::answers(&host).then_some(()))
        });
        answer.with_context(|| format!("the end of its log:\n{}", self.log_end()))
    }

    fn ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    fn log(&self) -> PathBuf {
        self.run.join("log")
    }

    fn pid_file(&self) -> PathBuf {
        self.run.join("docker.pid")
    }

    fn log_end(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// Stops the containers, then the daemon, and waits for both.
    fn stop(&mut self) -> Result<()> {
        if self.ended() {
            return Ok(());
        }
        let host = self.host();
        let ids = cmd::capture(&mut docker_client::client(&host, &["ps", "--all", "--quiet"]))?;
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if !ids.is_empty() {
            let mut remove = docker_client::client(&host, &["rm", "--force", "--volumes"]);
            warn(cmd::check(remove.args(ids)));
        }
        self.signal("TERM")?;
        let asked = Instant::now();
        while !self.ended() && asked.elapsed() < STOP_LIMIT {
            sleep(POLL);
        }
        if !self.ended() {
            self.signal("KILL")?;
            sleep(POLL);
            bail!("the Docker daemon did not stop and was killed");
        }
        Ok(())
    }

    fn signal(&self, name: &str) -> Result<()> {
        let file = self.pid_file();
        let pid = fs::read_to_string(&file).with_context(|| format!("cannot read {file:?}"))?;
        let kill = format!("kill -{name} {}", pid.trim());
        cmd::check(cmd::as_root("sh", &[]).args(["-c", &kill]))
    }

    /// Unmounts what the daemon left mounted, inner mounts first.
    fn unmount(&self) -> Result<()> {
        let points = mounts::read()?.into_iter().map(|mount| mount.point);
        let ours = |point: &PathBuf| point.starts_with(&self.run) || point.starts_with(&self.data);
        for point in points.rev().filter(ours) {
            warn(cmd::check(cmd::as_root("umount", &[]).arg("--lazy").arg(point)));
        }
        Ok(())
    }

    fn remove_directories(&self) -> Result<()> {
        let mut remove = cmd::as_root("rm", &[]);
        remove.args(["--recursive", "--force", "--one-file-system", "--"]);
        cmd::check(remove.arg(&self.run).arg(&self.data))?;
        if let Some(parent) = self.data.parent() {
            // Another run may have its data there.
            let _ = fs::remove_dir(parent);
        }
        Ok(())
    }

    fn remove_outside_paths(&self) {
        for path in self.absent.iter().filter(|path| path.exists()) {
            let tool = if path.is_dir() { "rmdir" } else { "rm" };
            // Others may use it by now; then it stays.
            let _ = cmd::check(cmd::as_root(tool, &[]).arg(path));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        warn(self.stop());
        warn(self.unmount());
        warn(self.remove_directories());
        if let Some(bridge) = &self.bridge {
            warn(cmd::check(cmd::as_root("ip", &[]).args(["link", "delete", bridge])));
        }
        self.remove_outside_paths();
    }
}

fn warn(result: Result<()>) {
    if let Err(error) = result {
        eprintln!("warning: while the Docker daemon was removed: {error:#}");
    }
}

/// A Docker daemon that has ended may leave a firewall that drops what containers send each other.
fn warn_if_bridges_are_closed() {
    let filtered = fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables");
    let rules = cmd::capture(cmd::as_root("iptables", &[]).args(["--list-rules", "FORWARD"]));
    let is_filtered = filtered.is_ok_and(|value| value.trim() == "1");
    if is_filtered && rules.is_ok_and(|rules| rules.starts_with("-P FORWARD DROP")) {
        eprintln!(
            "warning: the firewall drops packets on bridges, so containers cannot reach each other \
             and tests of the network will fail: `iptables -P FORWARD ACCEPT` if nothing needs that"
        );
    }
}

fn warn_unless_on_disk(directory: &Path) -> Result<()> {
    let kind = statfs(directory)
        .with_context(|| format!("cannot determine the filesystem of {directory:?}"))?
        .filesystem_type();
    if kind == TMPFS_MAGIC || kind == OVERLAYFS_SUPER_MAGIC {
        eprintln!("warning: {directory:?} is not on a disk: block I/O tests will see none");
    }
    Ok(())
}

/// The first of 256 private networks (`/24`) that overlaps with no route of the host.
fn free_network(routes: &str) -> Option<u32> {
    const SHORT_MASK: u32 = 0xffff_ff00;
    let hex = |field: Option<&str>| u32::from_str_radix(field?, 16).ok().map(u32::from_be);
    let taken: Vec<(u32, u32)> = routes
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let destination = hex(fields.nth(1))?;
            Some((destination, hex(fields.nth(5))?))
        })
        .filter(|(_, mask)| *mask != 0)
        .collect();
    let touches = |network: u32, (destination, mask): (u32, u32)| {
        let mask = mask & SHORT_MASK;
        network & mask == destination & mask
    };
    let own = |third| u32::from(Ipv4Addr::new(10, 213, third, 0));
    let free = |network: &u32| !taken.iter().any(|route| touches(*network, *route));
    (0..=255).map(own).find(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n";

    fn free(routes: &str) -> Option<Ipv4Addr> {
        free_network(&format!("{HEADER}{routes}")).map(Ipv4Addr::from)
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_network_that_is_routed_is_skipped() {
        let default = "eth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\n";
        assert_eq!(free(default), Some(Ipv4Addr::new(10, 213, 0, 0)));
        let first = "br0\t0000D50A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n";
        assert_eq!(free(&format!("{default}{first}")), Some(Ipv4Addr::new(10, 213, 1, 0)));
        let host = "tun0\t0701D50A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\n";
        assert_eq!(free(&format!("{first}{host}")), Some(Ipv4Addr::new(10, 213, 2, 0)));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_route_that_covers_all_networks_leaves_none() {
        assert_eq!(free("tun0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\n"), None);
    }
}
