//! Docker's client.

use std::process::Command;

use crate::cmd;

/// Whether a daemon answers.
pub(crate) fn answers(host: &str) -> bool {
    cmd::succeeds(&mut client(host, &["version"]))
}

/// A command of the Docker client, as root: root may always use the daemon's socket.
pub(crate) fn client(host: &str, args: &[&str]) -> Command {
    let mut docker = cmd::as_root("docker", &[]);
    docker.args(["--host", host]).args(args);
    docker
}
