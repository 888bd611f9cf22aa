//! One boot: QEMU, its serial console, and what that says in the end.

use std::fs::{self, File};
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::kernel::Kernel;
use crate::results::Results;
use crate::{cmd, project};

/// For one kernel with all its tests; emulated, and maybe on a busy machine.
const LIMIT: Duration = Duration::from_secs(480);

const DISK_BYTES: u64 = 512 << 20;

/// The last line of `init.sh`.
const VERDICT: &str = "vm verdict: ";

/// What a kernel says when there is no use in waiting any longer.
const DEATHS: [&str; 4] = ["Kernel panic", "BUG: soft lockup", "BUG: kernel", "Oops: "];

/// Lines that tell how it came to that.
const LAST_WORDS: usize = 120;

/// Boots the kernel with this archive as its user space; the results of its tests.
pub(super) fn boot(kernel: &Kernel, initramfs: &Path) -> Result<Results> {
    let directory = project::target().join("vm");
    let disk = directory.join("disk.img");
    make_disk(&disk)?;
    let log = log_file(kernel)?;
    let mut output = File::create(&log).with_context(|| format!("cannot make {log:?}"))?;
    let mut heard = Heard::default();
    cmd::run_and_watch(&mut qemu(kernel, initramfs, &disk), LIMIT, |line| {
        let line = plain(line);
        // A log that cannot be written is no reason to fail.
        let _ = writeln!(output, "{line}");
        println!("{line}");
        heard.line(&line)
    })
    .with_context(|| format!("the console's log is {log:?}"))?;
    heard.results().with_context(|| format!("the console's log is {log:?}"))
}

fn log_file(kernel: &Kernel) -> Result<PathBuf> {
    let logs = project::target().join("vm/logs");
    fs::create_dir_all(&logs).with_context(|| format!("cannot make {logs:?}"))?;
    Ok(logs.join(format!("{}.log", kernel.series.name())))
}

/// A fresh disk with an empty filesystem, whose contents are all holes.
fn make_disk(disk: &Path) -> Result<()> {
    let file = File::create(disk).with_context(|| format!("cannot make {disk:?}"))?;
    file.set_len(DISK_BYTES).with_context(|| format!("cannot size {disk:?}"))?;
    let mke2fs = cmd::find("mke2fs").context("mke2fs is missing")?;
    let mut format = Command::new(mke2fs);
    // Nothing may be left for a kernel thread to write when the tests look.
    format.args(["-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0,lazy_journal_init=0"]);
    cmd::check(format.arg(disk))
}

fn qemu(kernel: &Kernel, initramfs: &Path, disk: &Path) -> Command {
    let mut qemu = Command::new("qemu-system-x86_64");
    // One CPU: with two, kernels hang now and then in emulation while they patch their own text.
    qemu.args(["-accel", "tcg", "-cpu", "max", "-m", "1024", "-smp", "1"]);
    qemu.args(["-nographic", "-no-reboot", "-net", "none"]);
    qemu.arg("-drive").arg(format!("file={},format=raw,if=virtio", disk.display()));
    qemu.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(initramfs);
    qemu.args(["-append", "console=ttyS0 quiet panic=-1 oops=panic softlockup_panic=1"]);
    qemu
}

/// A line without what would move the cursor or clear the screen of a terminal.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // `ESC [ … letter`, or `ESC` and one more.
            if chars.next() == Some('[') {
                chars.by_ref().find(char::is_ascii_alphabetic);
            }
        } else if !c.is_control() || c == '\t' {
            text.push(c);
        }
    }
    text
}

/// What the console has said so far.
#[derive(Default)]
struct Heard {
    results: Results,
    verdict: Option<String>,
    /// The first sign of it, and how many lines came after that.
    death: Option<(String, usize)>,
}

impl Heard {
    fn line(&mut self, line: &str) -> ControlFlow<()> {
        self.results.line(line);
        if let Some(at) = line.find(VERDICT) {
            self.verdict = Some(line[at + VERDICT.len()..].to_owned());
        }
        if let Some((_, more)) = &mut self.death {
            *more += 1;
            return if *more < LAST_WORDS {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            };
        }
        if self.verdict.is_none() && DEATHS.iter().any(|death| line.contains(death)) {
            self.death = Some((line.to_owned(), 0));
        }
        ControlFlow::Continue(())
    }

    /// Counts only where both the tests and the machine came to their end.
    fn results(self) -> Result<Results> {
        match (self.death, self.verdict) {
            (Some((death, _)), _) => bail!("the kernel died: {death}"),
            (None, None) => bail!("the machine ended without a verdict"),
            (None, Some(verdict)) if !self.results.is_any() => bail!("no test ended: {verdict}"),
            (None, Some(verdict)) => {
                if verdict != "exit code 0" && self.results.failed == 0 {
                    bail!("no test failed, and yet the end was: {verdict}");
                }
                Ok(self.results)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(lines: &[&str]) -> Result<(u64, u64)> {
        let mut heard = Heard::default();
        for line in lines {
            if heard.line(line).is_break() {
                break;
            }
        }
        heard.results().map(|results| (results.passed, results.failed))
    }

    #[test]
    fn the_console_does_not_clear_the_terminal() {
        assert_eq!(plain("\u{1b}c\u{1b}[?7l\u{1b}[2Ja\u{1b}[31mb\r"), "ab");
    }

    #[test]
    fn only_a_verdict_counts() {
        let good = "[ 1.2] noise test result: ok. 3 passed; 0 failed; 0 ignored";
        let bad = "test result: FAILED. 2 passed; 1 failed; 0 ignored";
        let (end, fail) = ("vm verdict: exit code 0", "vm verdict: exit code 101");
        assert_eq!(judge(&[good, end]).unwrap(), (3, 0));
        assert_eq!(judge(&[bad, fail]).unwrap(), (2, 1));
        for lines in
            [&[good][..], &[end], &[good, fail], &["Kernel panic - not syncing", good, end]]
        {
            assert!(judge(lines).is_err(), "{lines:?}");
        }
    }
}
