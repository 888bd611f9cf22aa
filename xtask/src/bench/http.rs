//! Requests to the tools that are measured, through curl: a client library would have to be
//! compiled before the first `cargo xtask` of any kind.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::program::command;
use crate::{cmd, packages::Needed};

/// The client.
pub(crate) const NEEDED: [Needed; 1] = [("curl", &["curl"])];

/// In seconds. `/metrics` of 10,000 containers is written while sampling goes on.
const LIMIT: &str = "180";

/// Where a tool listens.
#[derive(Clone)]
pub(crate) enum Server {
    /// A unix socket.
    Unix(PathBuf),
    /// Host and port.
    Tcp(&'static str),
}

/// The body of the response; any status but success is an error.
pub(crate) fn get(server: &Server, path: &str) -> Result<String> {
    cmd::capture(&mut curl(server, path)?)
}

/// The same, parsed as JSON.
pub(crate) fn json(server: &Server, path: &str) -> Result<Value> {
    serde_json::from_str(&get(server, path)?).with_context(|| format!("no JSON at {path}"))
}

/// The command that prints the body.
pub(crate) fn curl(server: &Server, path: &str) -> Result<Command> {
    let program = cmd::find("curl").context("no curl on this machine")?;
    let mut curl = command(program, ["--fail", "--silent", "--max-time", LIMIT]);
    match server {
        Server::Unix(socket) => {
            curl.arg("--unix-socket").arg(socket).arg(format!("http://localhost{path}"))
        }
        Server::Tcp(address) => curl.arg(format!("http://{address}{path}")),
    };
    Ok(curl)
}
