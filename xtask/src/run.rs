//! Builds `tare` and executes it as root.

use std::{env, ffi::OsString, os::unix::process::CommandExt as _};

use anyhow::{Context as _, Result};

use crate::{
    build::{self, Profile},
    cmd,
};

/// Environment variables that `tare` reads besides those of its options.
const KEPT: [&str; 3] = ["DOCKER_HOST", "NO_COLOR", "RUST_BACKTRACE"];

/// Replaces this process with `tare`, which so gets the signals and gives the exit code.
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
