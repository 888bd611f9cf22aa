//! The Docker daemon that the root tests run their containers in.

use std::env;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cmd;
use crate::dockerd::Daemon;

const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// A program and the Debian packages that bring it: the first one that exists is installed.
type Needed = (&'static str, &'static [&'static str]);

/// What the root tests call, whoever runs the daemon.
const CLIENT: [Needed; 3] =
    [("docker", &["docker-cli", "docker.io"]), ("ip", &["iproute2"]), ("strace", &["strace"])];

/// What an own daemon needs beyond that.
const DAEMON: [Needed; 4] = [
    ("dockerd", &["docker.io"]),
    ("containerd", &["containerd"]),
    ("runc", &["runc"]),
    ("iptables", &["iptables"]),
];

/// A daemon that answers: the host's, or an own one that ends with this value.
pub(crate) struct Docker {
    /// For `DOCKER_HOST`.
    pub(crate) host: String,
    _own: Option<Daemon>,
}

/// Finds or starts a daemon.
pub(crate) fn ready() -> Result<Docker> {
    install(&CLIENT)?;
    if let Some(host) = running() {
        return Ok(Docker { host, _own: None });
    }
    install(&DAEMON)?;
    // A package may have started its daemon.
    if let Some(host) = running() {
        return Ok(Docker { host, _own: None });
    }
    let own = Daemon::start()?;
    println!("Docker daemon of these tests: {}", own.host());
    Ok(Docker { host: own.host(), _own: Some(own) })
}

/// A daemon of this host that answers already.
fn running() -> Option<String> {
    let asked = env::var("DOCKER_HOST").ok().filter(|host| {
        let local = host.starts_with("unix://");
        if !local {
            eprintln!("DOCKER_HOST={host} is not used: the tests need a daemon of this host");
        }
        local
    });
    let host = asked.into_iter().chain([DEFAULT_HOST.to_owned()]).find(|host| answers(host))?;
    println!("Docker daemon of this host: {host}");
    Some(host)
}

pub(crate) fn answers(host: &str) -> bool {
    cmd::succeeds(&mut client(host, &["version"]))
}

/// A call of the Docker client as root, who may always use the daemon's socket.
pub(crate) fn client(host: &str, args: &[&str]) -> Command {
    let mut docker = cmd::as_root("docker", &[]);
    docker.args(["--host", host]).args(args);
    docker
}

/// Installs the Debian packages of the programs that are missing.
fn install(needed: &[Needed]) -> Result<()> {
    let missing: Vec<&Needed> =
        needed.iter().filter(|(program, _)| cmd::find(program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs = missing.iter().map(|(program, _)| *program).collect::<Vec<_>>().join(", ");
    if cmd::find("apt-get").is_none() {
        bail!("{programs} missing, and there is no apt-get to install them: please do");
    }
    println!("Installing what is missing: {programs}");
    apt_get(&["update"])?;
    let mut packages: Vec<&str> = Vec::new();
    for (program, choices) in missing {
        let package = choices.iter().find(|package| {
            cmd::succeeds(Command::new("apt-cache").args(["show", "--quiet=2", package]))
        });
        packages.push(package.with_context(|| format!("no package for {program}: {choices:?}"))?);
    }
    packages.dedup();
    let mut args = vec!["install", "--yes", "--no-install-recommends"];
    args.extend(packages);
    apt_get(&args)
}

fn apt_get(args: &[&str]) -> Result<()> {
    let mut apt = cmd::as_root("env", &[]);
    apt.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet", "-o", "Dpkg::Use-Pty=0"]);
    cmd::run(apt.args(args))
}
