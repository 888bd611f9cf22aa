//! The Docker daemon for tests and benchmarks.

use std::env;

use anyhow::Result;

use crate::{
    docker_client::answers,
    dockerd::Daemon,
    packages::{Needed, install},
};

const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// Programs that the live tests call.
const CLIENT: [Needed; 13] = [
    ("docker", &["docker-cli", "docker.io"]),
    ("ip", &["iproute2"]),
    ("strace", &["strace"]),
    ("bpftool", &["bpftool", "linux-tools-common"]),
    ("podman", &["podman"]),
    ("containerd", &["containerd"]),
    ("runc", &["runc"]),
    ("crun", &["crun"]),
    ("groff", &["groff-base"]),
    ("tmux", &["tmux"]),
    ("curl", &["curl"]),
    ("openssl", &["openssl"]),
    ("setpriv", &["util-linux"]),
];

/// Programs for a daemon of our own.
const DAEMON: [Needed; 2] = [("dockerd", &["docker.io"]), ("iptables", &["iptables"])];

/// A daemon that answers: the host's, or our own, which is stopped on drop.
pub(crate) struct Docker {
    /// For `DOCKER_HOST`.
    pub(crate) host: String,
    _own: Option<Daemon>,
}

/// Finds or starts one, for the live tests: with the programs that they call.
pub(crate) fn ready() -> Result<Docker> {
    install(&CLIENT)?;
    daemon()
}

/// Finds or starts one.
pub(crate) fn daemon() -> Result<Docker> {
    install(&CLIENT[..1])?;
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

/// A daemon that is already running on this host.
fn running() -> Option<String> {
    let configured = env::var("DOCKER_HOST").ok().filter(|host| {
        let local = host.starts_with("unix://");
        if !local {
            eprintln!("DOCKER_HOST={host} is ignored: the tests need a daemon on this host");
        }
        local
    });
    let host =
        configured.into_iter().chain([DEFAULT_HOST.to_owned()]).find(|host| answers(host))?;
    println!("Docker daemon of this host: {host}");
    Some(host)
}
