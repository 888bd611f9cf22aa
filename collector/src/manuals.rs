//! Completions and man pages, from the one definition of the command line.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;

/// Writes a script that makes a shell complete the command line.
///
/// # Errors
///
/// If `out` cannot be written.
pub fn completions(shell: Shell, out: &mut impl Write) -> io::Result<()> {
    let mut command = Cli::command();
    // The generator panics where writing fails.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "tare", &mut script);
    out.write_all(&script)
}

/// Writes `tare.1` and a page for each command, such as `tare-stats.1`, into a directory.
///
/// # Errors
///
/// If the directory is not there or cannot be written.
pub fn man_pages(directory: &Path) -> Result<()> {
    clap_mangen::generate_to(Cli::command(), directory)
        .with_context(|| format!("cannot write man pages to {}", directory.display()))
}
