//! A command that runs while Tare looks on.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    process::ExitStatus,
};

use anyhow::{Context as _, Result};
use tokio::process::{Child as Process, Command};

/// The command, if there is one.
pub struct Child(Option<Process>);

impl Child {
    /// Starts a command, which `prepare` may change; an empty one is none.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(command: &[OsString], prepare: impl FnOnce(&mut Command)) -> Result<Self> {
        let Some((program, arguments)) = command.split_first() else { return Ok(Self(None)) };
        let mut command = Command::new(program);
        command.args(arguments);
        prepare(&mut command);
        let started = command.spawn().with_context(|| format!("cannot run {}", shown(program)))?;
        Ok(Self(Some(started)))
    }

    /// Waits for its end; without a command, for ever. May be cancelled and called again.
    ///
    /// # Errors
    ///
    /// If it cannot be waited for.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        match &mut self.0 {
            Some(child) => child.wait().await.context("cannot wait for the command"),
            None => std::future::pending().await,
        }
    }

    /// Whether there is a command.
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }
}

/// The name of a program for people.
pub fn shown(program: &OsStr) -> impl std::fmt::Display {
    Path::new(program).display()
}
