//! How `tare stats` ends: by Ctrl-C on a terminal, and when its reader is gone.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use tare_tests::{
    docker::Run,
    lab::Lab,
    programs::Programs,
    terminal::{CTRL_C, Terminal},
    wait::{self, PATIENCE},
};

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const OTHER_SCREEN: &str = "\x1b[?1049h";
const OWN_SCREEN: &str = "\x1b[?1049l";

/// Whether what `on` switched on was not switched off again.
fn left(written: &str, on: &str, off: &str) -> bool {
    match (written.rfind(on), written.rfind(off)) {
        (Some(on), Some(off)) => on > off,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

#[test]
fn ctrl_c_leaves_neither_programs_nor_a_hidden_cursor() -> Result<()> {
    let lab = Lab::open()?;
    let container = lab.start(Run::load("serve"))?;
    let command = lab.tare.command(&["stats", "--interval", "200ms"]);
    let mut terminal = Terminal::spawn(command, 120, 30)?;
    wait::until("the container on the terminal, twice", PATIENCE, || {
        let written = terminal.written();
        Ok((written.matches(container.name()).count() >= 2).then_some(()))
    })?;
    let programs = Programs::held_by(terminal.id())?;
    terminal.press(CTRL_C)?;
    let status = terminal.finish(PATIENCE)?;
    let written = terminal.written();
    ensure!(status.success(), "{status} after Ctrl-C: {written:?}");
    ensure!(!left(&written, HIDE_CURSOR, SHOW_CURSOR), "a hidden cursor: {written:?}");
    ensure!(!left(&written, OTHER_SCREEN, OWN_SCREEN), "another screen: {written:?}");
    ensure!(!written.contains("tare:"), "it complained: {written:?}");
    programs.gone()
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() -> Result<()> {
    let lab = Lab::open()?;
    for format in ["table", "json", "{{.Name}}"] {
        let _container = lab.start(Run::load("serve"))?;
        let args = ["stats", "--interval", "200ms", "--format", format];
        let mut command = lab.tare.command(&args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut tare = command.spawn().context("start tare")?;
        let mut output = BufReader::new(tare.stdout.take().context("standard output")?);
        let mut line = String::new();
        output.read_line(&mut line).context("its first line")?;
        let programs = Programs::held_by(tare.id())?;
        // As `head -1` does.
        drop(output);
        let status = wait::until("tare to end", PATIENCE, || Ok(tare.try_wait()?));
        if status.is_err() {
            tare.kill().context("end tare")?;
        }
        let done = tare.wait_with_output().context("its standard error")?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(status?.success() && said.is_empty(), "{format}: {}: {said}", done.status);
        ensure!(!line.is_empty(), "{format}: nothing was printed");
        programs.gone()?;
    }
    Ok(())
}
