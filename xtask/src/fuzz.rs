//! Fuzzes the parsers: `cargo xtask fuzz`.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{cmd, project, tools};

/// Fuzzes these parsers, or all, for so many seconds each.
pub(crate) fn run(wanted: &[String], seconds: u32) -> Result<()> {
    let fuzzer = tools::cargo_fuzz()?;
    let all = targets()?;
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
        bail!("no parser is called {unknown}; there are {}", all.join(", "));
    }
    let targets = if wanted.is_empty() { &all } else { wanted };
    for target in targets {
        println!("\n=== {target} ===");
        // New inputs stay out of the committed corpus.
        let found = project::target().join("fuzz/corpus").join(target);
        let crashes = project::target().join("fuzz/crashes").join(target);
        for directory in [&found, &crashes] {
            fs::create_dir_all(directory).with_context(|| format!("cannot make {directory:?}"))?;
        }
        let mut fuzz = Command::new(&fuzzer);
        fuzz.args(["fuzz", "run", "--sanitizer", "none", "--fuzz-dir", "tests/fuzz"])
            .arg("--target-dir")
            .arg(project::target().join("fuzz/build"))
            .arg(target)
            .arg(&found)
            .arg(project::root().join("tests/corpus").join(target))
            .arg("--")
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", crashes.display()))
            .current_dir(project::root())
            // The fuzzer's instrumentation needs unstable flags.
            .env("RUSTC_BOOTSTRAP", "1");
        cmd::run(&mut fuzz)?;
    }
    Ok(())
}

/// The names of the fuzz targets: each has a corpus of the same name.
fn targets() -> Result<Vec<String>> {
    let corpora = project::root().join("tests/corpus");
    let entries = fs::read_dir(&corpora).with_context(|| format!("cannot read {corpora:?}"))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {corpora:?}"))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
