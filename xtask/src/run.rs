//! Builds `tare` and becomes it, as root.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result};

use crate::build::{self, Profile};
use crate::cmd;

/// What `tare` reads from the environment besides its own options.
const KEPT: [&str; 4] = ["DOCKER_HOST", "NO_COLOR", "RUST_BACKTRACE", "RUST_LOG"];

/// Replaces this process, so that signals and the exit code are those of `tare` itself.
pub(crate) fn run(profile: Profile, args: &[OsString]) -> Result<()> {
    let tare = build::build(profile)?;
    let own: Vec<String> = env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("TARE_") || KEPT.contains(&name.as_str()))
        .collect();
    let mut command = cmd::as_root(&tare, &own.iter().map(String::as_str).collect::<Vec<_>>());
    if args.is_empty() {
        command.arg("stats");
    } else {
        command.args(args);
    }
    let error = command.exec();
    Err(error).with_context(|| format!("failed to start {command:?}"))
}
