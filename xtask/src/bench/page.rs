//! The page of a run: `docs/benchmarks.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::raw::Run;

/// The page, from the project's root.
pub(crate) const FILE: &str = "docs/benchmarks.md";

/// Writes it.
pub(crate) fn write(run: &Run, file: &Path) -> Result<()> {
    fs::write(file, text(run)?).with_context(|| format!("cannot write {file:?}"))?;
    println!("The page: {}", file.display());
    Ok(())
}

fn text(run: &Run) -> Result<String> {
    let mut page = String::from("# Benchmarks\n\n");
    let machine = &run.machine;
    writeln!(page, "| machine | |\n|---|---|")?;
    writeln!(page, "| kernel | {} |", machine.kernel)?;
    writeln!(page, "| CPUs | {} × {} |", machine.cpus, machine.cpu)?;
    writeln!(page, "| memory | {:.1} GiB |", gib(machine.memory_bytes))?;
    writeln!(page, "| cgroups | {} |", machine.cgroups)?;
    writeln!(page, "| Tare | {}, commit {} |", machine.tare, machine.commit)?;
    writeln!(page, "| command | `{}` |", machine.command)?;
    Ok(page)
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}
