//! Man pages render, and completions parse.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use tare_tests::{
    binaries,
    process::{output, run},
    tare::Tare,
    wait::PATIENCE,
};

#[test]
fn man_pages_render_without_warnings() -> Result<()> {
    let directory = tempfile::tempdir().context("a directory")?;
    let path = directory.path().to_str().context("its name is not UTF-8")?;
    let done = Tare::at(binaries::tare()?).run(&["manuals", path])?;
    ensure!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    let mut pages = Vec::new();
    for entry in fs::read_dir(directory.path())? {
        let page = entry?.path();
        let mut groff = Command::new("groff");
        groff.args(["-man", "-Tutf8", "-ww"]).arg(&page);
        let done = run(groff, PATIENCE).context("the live tests need groff")?;
        let name = page.file_name().unwrap_or_default().to_string_lossy().into_owned();
        ensure!(done.status.success() && done.stderr.is_empty(), "{name}: {}", done.stderr);
        ensure!(done.stdout.contains("Shows what every container") || name != "tare.1", "{done:?}");
        ensure!(done.stdout.contains("--columns") || name != "tare-stats.1", "{done:?}");
        pages.push(name);
    }
    pages.sort();
    let commands = [
        "-budget",
        "-collectd",
        "-completions",
        "-diff",
        "-doctor",
        "-health",
        "-record-export",
        "-record",
        "-run",
        "-snapshot",
        "-stats",
        "-top",
        "",
    ];
    ensure!(pages == commands.map(|command| format!("tare{command}.1")), "{pages:?}");
    Ok(())
}

#[test]
fn completions_parse_and_know_the_options() -> Result<()> {
    let directory = tempfile::tempdir().context("a directory")?;
    let tare = Tare::at(binaries::tare()?);
    for shell in ["bash", "zsh", "fish"] {
        let done = tare.run(&["completions", shell])?;
        ensure!(done.status.success() && done.stderr.is_empty(), "{done:?}");
        for word in ["stats", "columns", "no-stream"] {
            ensure!(done.stdout.contains(word), "{shell}: no {word}");
        }
        if shell == "bash" {
            let script = directory.path().join("tare.bash");
            fs::write(&script, done.stdout)?;
            let mut bash = Command::new("bash");
            bash.arg("-n").arg(&script);
            output(bash, PATIENCE)?;
        }
    }
    Ok(())
}
