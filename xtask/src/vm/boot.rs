//! One boot: QEMU, its serial console, and the test results printed there.

use std::{
    fs::{self, File},
    io::Write as _,
    ops::ControlFlow,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::{Cgroups, kernel::Kernel};
use crate::{cmd, dist::Arch, packages::Needed, project, results::Results};

/// The last line of `init.sh`.
const VERDICT: &str = "vm verdict: ";

/// Messages after which a kernel does not recover.
const FATAL_MESSAGES: [&str; 4] = ["Kernel panic", "BUG: soft lockup", "BUG: kernel", "Oops: "];

/// Console lines read after such a message: they contain the stack trace.
const LINES_AFTER_FATAL: usize = 120;

/// What a machine has.
pub(super) struct Machine<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) cgroups: Cgroups,
    pub(super) initramfs: PathBuf,
    pub(super) disk: PathBuf,
    pub(super) memory_mebibytes: u32,
    /// For one boot with all tests.
    pub(super) limit: Duration,
}

/// Boots a machine and returns the results of its tests. `name` is that of the console's log.
pub(super) fn boot(machine: &Machine<'_>, name: &str) -> Result<Results> {
    let log = log_file(name)?;
    let mut output = File::create(&log).with_context(|| format!("cannot make {log:?}"))?;
    let mut console = Console::default();
    cmd::run_until(&mut qemu(machine), machine.limit, |line| {
        let line = plain(line);
        // The log is a convenience: its errors are ignored.
        let _ = writeln!(output, "{line}");
        println!("{line}");
        console.line(&line)
    })
    .with_context(|| format!("the console's log is {log:?}"))?;
    console.results().with_context(|| format!("the console's log is {log:?}"))
}

fn log_file(name: &str) -> Result<PathBuf> {
    let logs = project::target().join("vm/logs");
    fs::create_dir_all(&logs).with_context(|| format!("cannot make {logs:?}"))?;
    Ok(logs.join(format!("{name}.log")))
}

/// QEMU for an architecture.
pub(super) const fn needed(arch: Arch) -> &'static [Needed] {
    match arch {
        Arch::X86_64 => &[("qemu-system-x86_64", &["qemu-system-x86"])],
        Arch::Aarch64 => &[("qemu-system-aarch64", &["qemu-system-arm"])],
    }
}

fn qemu(machine: &Machine<'_>) -> Command {
    let Machine { kernel, cgroups, initramfs, disk, memory_mebibytes, .. } = machine;
    let (board, console) = match kernel.arch {
        Arch::X86_64 => (["pc", "max"], "ttyS0"),
        // It has atomic instructions, and none of the extensions that emulate slowly.
        Arch::Aarch64 => (["virt", "neoverse-n1"], "ttyAMA0"),
    };
    let mut qemu = Command::new(format!("qemu-system-{}", kernel.arch.name()));
    // With two emulated CPUs, kernels sometimes hang while they patch their own text.
    qemu.args(["-accel", "tcg", "-machine", board[0], "-cpu", board[1]]);
    qemu.args([
        "-m",
        &memory_mebibytes.to_string(),
        "-smp",
        "1",
        "-nographic",
        "-no-reboot",
        "-net",
        "none",
    ]);
    qemu.arg("-drive").arg(format!("file={},format=raw,if=virtio", disk.display()));
    qemu.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(initramfs);
    let mut line = format!("console={console} quiet panic=-1 oops=panic softlockup_panic=1");
    if *cgroups == Cgroups::V1 {
        line += " tare.cgroups=v1";
    }
    qemu.args(["-append", &line]);
    qemu
}

/// A line without control sequences: they would move the cursor or clear the screen.
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

/// The state of a boot, read from its console.
#[derive(Default)]
struct Console {
    results: Results,
    verdict: Option<String>,
    /// The first fatal message, and the number of lines after it.
    fatal: Option<(String, usize)>,
}

impl Console {
    fn line(&mut self, line: &str) -> ControlFlow<()> {
        self.results.line(line);
        if let Some(at) = line.find(VERDICT) {
            self.verdict = Some(line[at + VERDICT.len()..].to_owned());
        }
        if let Some((_, more)) = &mut self.fatal {
            *more += 1;
            return if *more < LINES_AFTER_FATAL {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            };
        }
        if self.verdict.is_none() && FATAL_MESSAGES.iter().any(|fatal| line.contains(fatal)) {
            self.fatal = Some((line.to_owned(), 0));
        }
        ControlFlow::Continue(())
    }

    /// An error unless both the tests and the machine ended.
    fn results(self) -> Result<Results> {
        match (self.fatal, self.verdict) {
            (Some((fatal, _)), _) => bail!("the kernel died: {fatal}"),
            (None, None) => bail!("the machine ended without a verdict"),
            (None, Some(verdict)) if !self.results.is_any() => bail!("no test ended: {verdict}"),
            (None, Some(verdict)) => {
                if verdict != "exit code 0" && self.results.failed == 0 {
                    bail!("no test failed, but the verdict is: {verdict}");
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
        let mut console = Console::default();
        for line in lines {
            if console.line(line).is_break() {
                break;
            }
        }
        console.results().map(|results| (results.passed, results.failed))
    }

    #[test]
    fn control_sequences_are_removed() {
        assert_eq!(plain("\u{1b}c\u{1b}[?7l\u{1b}[2Ja\u{1b}[31mb\r"), "ab");
    }

    #[test]
    fn results_count_only_with_a_verdict() {
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
