//! Formatting and clippy, for the host and for the kernel side.

use anyhow::{Result, bail};

use crate::{cmd, ebpf, project, tools};

/// Runs every check, also after one failed.
pub(crate) fn run() -> Result<()> {
    tools::subcommand("fmt", "rustfmt")?;
    tools::subcommand("clippy", "clippy")?;
    let tools = tools::ready()?;

    let mut format = project::cargo();
    format.args(["fmt", "--all", "--check"]);
    let mut host = project::cargo();
    host.args(["clippy", "--workspace", "--all-targets", "--all-features"]);
    let mut kernel = ebpf::cargo(&tools, "clippy");
    for clippy in [&mut host, &mut kernel] {
        clippy.args(["--", "-D", "warnings"]);
    }

    let mut failures = Vec::new();
    for check in [&mut format, &mut host, &mut kernel] {
        if let Err(error) = cmd::run(check) {
            failures.push(format!("{error:#}"));
        }
    }
    if !failures.is_empty() {
        bail!(failures.join("\n"));
    }
    Ok(())
}
