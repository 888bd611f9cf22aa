//! Shell completions and man pages, generated from [`Cli`].

use std::{
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;

/// Writes the completion script of a shell.
///
/// # Errors
///
/// If `out` cannot be written.
pub fn completions(shell: Shell, out: &mut impl Write) -> io::Result<()> {
    let mut command = Cli::command();
    // The generator panics if it cannot write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "tare", &mut script);
    out.write_all(&script)
}

/// Writes `tare.1` and a page for each command, such as `tare-stats.1`, into a directory.
///
/// # Errors
///
/// If the directory does not exist or cannot be written.
pub fn man_pages(directory: &Path) -> Result<()> {
    clap_mangen::generate_to(Cli::command(), directory)
        .with_context(|| format!("cannot write man pages to {}", directory.display()))
}
