//! Everything that has to pass, step by step, and one verdict at the end.

use std::env;
use std::ffi::OsString;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::build::{self, Profile};
use crate::{cmd, docker, ebpf, lint, packages, project, tools, vm};

/// A part of the tests. Each can run alone: it builds what it needs.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Step {
    /// Formatting and clippy
    Lint,
    /// Build of the kernel side
    Ebpf,
    /// Unit, property and golden tests
    Unit,
    /// Real containers on this kernel, as root
    Live,
    /// Other kernels, in a virtual machine
    Vm,
}

impl Step {
    const fn name(self) -> &'static str {
        match self {
            Self::Lint => "lint",
            Self::Ebpf => "ebpf",
            Self::Unit => "unit",
            Self::Live => "live",
            Self::Vm => "vm",
        }
    }

    fn run(self) -> Result<Tally> {
        match self {
            Self::Lint => lint::run().map(|()| Tally::ONE),
            Self::Ebpf => ebpf::build(&tools::ready()?).map(|_| Tally::ONE),
            Self::Unit => unit(),
            Self::Live => live(),
            Self::Vm => vm::run(&[], &[]),
        }
    }
}

/// How many tests passed and failed; a step without tests of its own is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Tally {
    const ONE: Self = Self { passed: 1, failed: 0 };

    pub(crate) fn add(&mut self, other: Self) {
        let Self { passed, failed } = other;
        self.passed += passed;
        self.failed += failed;
    }
}

struct Outcome {
    step: Step,
    tally: Tally,
    took: Duration,
}

/// Runs these steps, or all; says whether everything passed.
pub(crate) fn run(only: &[Step]) -> bool {
    let steps = if only.is_empty() { Step::value_variants() } else { only };
    let mut outcomes = Vec::new();
    for &step in steps {
        if cmd::interrupted() {
            break;
        }
        println!("\n=== {} ===", step.name());
        let started = Instant::now();
        let tally = step.run().unwrap_or_else(|error| {
            eprintln!("{} failed: {error:#}", step.name());
            Tally { passed: 0, failed: 1 }
        });
        outcomes.push(Outcome { step, tally, took: started.elapsed() });
    }
    verdict(&outcomes) && outcomes.len() == steps.len()
}

/// Prints the table and, as the last line, the sums.
fn verdict(outcomes: &[Outcome]) -> bool {
    println!("\n{:<8} {:>7} {:>7} {:>8}", "step", "passed", "failed", "seconds");
    let mut total = Tally::default();
    for Outcome { step, tally, took } in outcomes {
        let Tally { passed, failed } = tally;
        println!("{:<8} {passed:>7} {failed:>7} {:>8.1}", step.name(), took.as_secs_f64());
        total.add(*tally);
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    total.failed == 0
}

fn unit() -> Result<Tally> {
    // The tests see the binary as it ships, with the kernel side inside.
    ebpf::build(&tools::ready()?)?;
    let mut tests = project::cargo();
    libtest(tests.args(["test", "--workspace", "--no-fail-fast"]))
}

fn live() -> Result<Tally> {
    let tare = build::build(Profile::Release)?;
    let host = project::rustc_says("host")?;
    let load = build::static_load()?;
    cmd::run(live_tests().arg("--no-run"))?;

    let docker = docker::ready()?;
    let prometheus = packages::unpacked("prometheus", &["prometheus", "promtool"])?;
    let mut tests = live_tests();
    tests.env("TARE_PROMETHEUS_DIR", prometheus);
    tests.env("TARE_BIN", tare).env("TARE_LOAD_BIN", load).env("DOCKER_HOST", &docker.host);
    if !cmd::is_root() {
        tests.env(runner_variable(&host), sudo_runner());
    }
    libtest(tests.args(["--", "--test-threads=1"]))
}

fn live_tests() -> Command {
    let mut tests = project::cargo();
    tests.args(["test", "--package", "tare-tests", "--features", "live", "--test", "live"]);
    tests
}

/// The variable that names a program for cargo to start tests with.
fn runner_variable(host: &str) -> String {
    format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace(['-', '.'], "_"))
}

/// Tests are built as the user and run as root, with the environment that cargo gives them.
fn sudo_runner() -> String {
    let kept = env::vars_os()
        .filter_map(|(name, _)| OsString::into_string(name).ok())
        .filter(|name| name.starts_with("CARGO_") || name.starts_with("RUST_"));
    let own =
        ["TARE_BIN", "TARE_LOAD_BIN", "DOCKER_HOST", "TARE_PROMETHEUS_DIR"].map(str::to_owned);
    format!("sudo --preserve-env={}", own.into_iter().chain(kept).collect::<Vec<_>>().join(","))
}

/// Runs libtest binaries and counts their results.
fn libtest(command: &mut Command) -> Result<Tally> {
    let mut tally = Tally::default();
    let status = cmd::run_and_look(command, |line| {
        if let Some(counted) = parse_result(line) {
            tally.add(counted);
        }
    })?;
    if !status.success() && tally.failed == 0 {
        // Something did not compile, or a test took its whole process with it.
        eprintln!("{status}: {command:?}");
        tally.failed = 1;
    }
    if tally == Tally::default() {
        bail!("no test ran: {command:?}");
    }
    Ok(tally)
}

/// The counts of libtest's last line: `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
pub(crate) fn parse_result(line: &str) -> Option<Tally> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |word: &str| {
        counts.split("; ").find_map(|part| part.strip_suffix(word)?.trim_end().parse().ok())
    };
    Some(Tally { passed: count("passed")?, failed: count("failed")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted_from_their_line_only() {
        let good = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; \
                    3 filtered out; finished in 0.01s";
        assert_eq!(parse_result(good), Some(Tally { passed: 12, failed: 0 }));
        let bad = "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured";
        assert_eq!(parse_result(bad), Some(Tally { passed: 4, failed: 2 }));
        assert_eq!(parse_result("test counts ... ok"), None);
        assert_eq!(parse_result("test result: unknown"), None);
    }

    #[test]
    fn the_runner_is_named_as_cargo_expects() {
        let variable = runner_variable("x86_64-unknown-linux-gnu");
        assert_eq!(variable, "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER");
    }
}
