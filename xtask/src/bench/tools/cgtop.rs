//! `systemd-cgtop`, which reads CPU time, memory, tasks and block I/O of every cgroup.

use std::fs;

use anyhow::{Context as _, Result};

use super::{Running, Setup, Tool};
use crate::{
    bench::{
        program::{Program, command, scratch},
        sample_signal::SampleSignal,
    },
    cmd,
};

/// Each list starts with the root.
const MARK: &str = "/ ";

/// Set to print a list once a second.
pub(crate) struct Cgtop;

impl Tool for Cgtop {
    fn name(&self) -> String {
        "systemd-cgtop".to_owned()
    }

    fn start(&self, _: &Setup<'_>) -> Result<Running> {
        let cgtop = cmd::find("systemd-cgtop").context("no systemd-cgtop on this machine")?;
        let output = scratch("cgtop.out")?;
        let mut cgtop = command(cgtop, ["--batch", "--delay=1", "--iterations=0"]);
        let program = Program::start("cgtop", cgtop.arg("--depth=10"), Some(&output))?;
        let signal = SampleSignal::Output(output.clone(), MARK);
        let own = format!("tare-bench-{}/", std::process::id());
        let seen = move || {
            let text = fs::read_to_string(&output)?;
            let last = text.rsplit("\n/ ").next().unwrap_or_default();
            Ok(last.lines().filter(|line| line.contains(&own)).count())
        };
        Ok(Running { program, signal, seen: Box::new(seen) })
    }
}
