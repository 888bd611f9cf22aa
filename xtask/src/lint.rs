//! Formatting, clippy and documentation: `cargo xtask lint` checks, `cargo xtask fmt` formats.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{cmd, ebpf, project, tools};

/// Options of rustfmt that `rustfmt.toml` cannot hold, because the stable rustfmt accepts them on
/// its command line alone: one `use` per crate, comments at most as wide as code, and an error
/// for code that it cannot break into lines of `max_width`.
const FORMAT: &str = "imports_granularity=Crate,wrap_comments=true,comment_width=100,\
                      error_on_line_overflow=true";

/// Formats all crates.
pub(crate) fn format() -> Result<()> {
    tools::subcommand("fmt", "rustfmt")?;
    cmd::run(&mut rustfmt(&[]))
}

/// Runs every check, also after one has failed.
pub(crate) fn run() -> Result<()> {
    tools::subcommand("fmt", "rustfmt")?;
    tools::subcommand("clippy", "clippy")?;
    let tools = tools::ready()?;

    let mut host = project::cargo();
    host.args(["clippy", "--workspace", "--all-targets", "--all-features"]);
    let mut bpf = ebpf::cargo(&tools, "clippy")?;
    for clippy in [&mut host, &mut bpf] {
        clippy.args(["--", "-D", "warnings"]);
    }
    let mut documentation = project::cargo();
    documentation.args(["doc", "--workspace", "--no-deps", "--document-private-items"]);
    // Private items are documented, too, so links to them lead somewhere.
    documentation.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links");

    let mut failures = Vec::new();
    for check in [&mut rustfmt(&["--check"]), &mut host, &mut bpf, &mut documentation] {
        if let Err(error) = cmd::run(check) {
            failures.push(format!("{error:#}"));
        }
    }
    if !failures.is_empty() {
        bail!(failures.join("\n"));
    }
    Ok(())
}

fn rustfmt(args: &[&str]) -> Command {
    let mut cargo = project::cargo();
    cargo.args(["fmt", "--all"]).args(args).args(["--", "--config", FORMAT]);
    cargo
}
