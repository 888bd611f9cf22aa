//! All checks and tests, in steps, with one total at the end.

use std::{
    env,
    ffi::OsString,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::{
    bench::micro,
    build::{self, Profile},
    cgroups::CgroupCleanup,
    cmd, dist, docker, ebpf, lint, packages, project,
    results::{self, Results, Tally},
    tools, vm, web,
};

/// A step can run alone: it builds what it needs.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Step {
    /// Formatting, clippy and documentation
    Lint,
    /// Build of the BPF object
    Ebpf,
    /// Unit, property and golden tests
    Unit,
    /// Rules, dashboards, manifests, chart and unit, by the programs that read them
    Deploy,
    /// Real containers on this kernel, as root
    Live,
    /// Instruction counts, compared with the committed ones
    Micro,
    /// Other kernels, in virtual machines
    Vm,
    /// The image under Docker; only if it is named, because it is built for release
    Image,
    /// The Debian package under systemd, in a virtual machine; only if it is named, because it is
    /// built for release
    Package,
    /// Types, lints and unit tests of the page; only if it is named, because it needs Node and npm
    Web,
    /// The page in Chromium with real containers; only if it is named, because Chromium is large
    Browser,
    /// Sinks with real receivers; only if it is named, because it takes minutes
    Receivers,
}

/// The steps that run if none is named.
const DEFAULT: [Step; 7] =
    [Step::Lint, Step::Ebpf, Step::Unit, Step::Deploy, Step::Live, Step::Micro, Step::Vm];

impl Step {
    const fn name(self) -> &'static str {
        match self {
            Self::Lint => "lint",
            Self::Ebpf => "ebpf",
            Self::Unit => "unit",
            Self::Deploy => "deploy",
            Self::Live => "live",
            Self::Micro => "micro",
            Self::Vm => "vm",
            Self::Image => "image",
            Self::Package => "package",
            Self::Web => "web",
            Self::Browser => "browser",
            Self::Receivers => "receivers",
        }
    }

    fn run(self) -> Result<Tally> {
        match self {
            Self::Lint => lint::run().map(|()| Tally::one_passed()),
            Self::Ebpf => ebpf::build(&tools::ready()?).map(|_| Tally::one_passed()),
            Self::Unit => unit(),
            Self::Deploy => deploy(),
            Self::Live => live(),
            Self::Micro => micro::run(),
            Self::Vm => vm::run(&[], dist::Arch::X86_64, vm::Cgroups::V2, &[]),
            Self::Image => image(),
            Self::Package => vm::package(),
            Self::Web => web::run(),
            Self::Browser => browser(),
            Self::Receivers => receivers(),
        }
    }
}

struct Outcome {
    step: Step,
    tally: Tally,
    took: Duration,
}

/// Runs these steps, or all; returns whether everything passed.
pub(crate) fn run(only: &[Step]) -> bool {
    let steps = if only.is_empty() { &DEFAULT } else { only };
    let mut outcomes = Vec::new();
    for &step in steps {
        if cmd::interrupted() {
            break;
        }
        println!("\n=== {} ===", step.name());
        let started = Instant::now();
        let tally = step.run().unwrap_or_else(|error| {
            eprintln!("{} failed: {error:#}", step.name());
            Tally::one_failed()
        });
        outcomes.push(Outcome { step, tally, took: started.elapsed() });
    }
    verdict(&outcomes) && outcomes.len() == steps.len()
}

/// Prints the table and, as the last line, the total.
fn verdict(outcomes: &[Outcome]) -> bool {
    println!("\n{:<8} {:>7} {:>7} {:>8}", "step", "passed", "failed", "seconds");
    let mut total = Tally::default();
    for Outcome { step, tally, took } in outcomes {
        let Tally { passed, failed, .. } = tally;
        println!("{:<8} {passed:>7} {failed:>7} {:>8.1}", step.name(), took.as_secs_f64());
        total.add(tally.clone());
    }
    if !total.at_second_try.is_empty() {
        println!("\npassed at the second try only: {}", total.at_second_try.join(", "));
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    total.failed == 0
}

fn unit() -> Result<Tally> {
    // Golden tests run the binary, which embeds the object.
    ebpf::build(&tools::ready()?)?;
    results::with_second_try(|names| {
        let mut tests = project::cargo();
        tests.args(["test", "--workspace", "--no-fail-fast", "--"]);
        libtest(&mut tests, names)
    })
}

fn deploy() -> Result<Tally> {
    packages::install(&[("systemd-analyze", &["systemd"]), ("python3", &["python3"])])?;
    let prometheus = packages::unpacked("prometheus", &["prometheus", "promtool"])?;
    let (kubectl, python) = (packages::kubectl()?, packages::python()?);
    results::with_second_try(|names| {
        let mut tests = project::cargo();
        tests.args(["test", "--package", "tare-tests", "--features", "deploy", "--test", "deploy"]);
        tests.env("TARE_PROMETHEUS_DIR", &prometheus);
        tests.env("TARE_KUBECTL", &kubectl).env("TARE_PYTHON", &python);
        libtest(tests.arg("--"), names)
    })
}

fn live() -> Result<Tally> {
    let tare = build::build(Profile::Release)?;
    let host = project::rustc_says("host")?;
    let load = build::static_load()?;
    cmd::run(live_tests().arg("--no-run"))?;

    // Podman and containerd leave cgroups as well.
    let _cleanup = CgroupCleanup::begin()?;
    let docker = docker::ready()?;
    let prometheus = packages::unpacked("prometheus", &["prometheus", "promtool"])?;
    let influxdb = packages::unpacked("influxdb", &["influxd"])?;
    let cadvisor = packages::cadvisor()?;
    let (containerd, cni) = (packages::containerd()?, packages::cni()?);
    let clients = env::join_paths(packages::docker_clients()?)?;
    let python = packages::python()?;
    results::with_second_try(|names| {
        let mut tests = live_tests();
        tests.env("TARE_BIN", &tare).env("TARE_LOAD_BIN", &load);
        tests.env("DOCKER_HOST", &docker.host).env("TARE_PROMETHEUS_DIR", &prometheus);
        tests.env("TARE_CADVISOR", &cadvisor).env("TARE_INFLUXDB_DIR", &influxdb);
        tests.env("TARE_CONTAINERD_DIR", &containerd).env("TARE_CNI_DIR", &cni);
        tests.env("TARE_DOCKER_CLIENTS", &clients).env("TARE_PYTHON", &python);
        if !cmd::is_root() {
            tests.env(runner_variable(&host), sudo_runner());
        }
        libtest(tests.args(["--", "--test-threads=1"]), names)
    })
}

fn image() -> Result<Tally> {
    let arch = dist::Arch::host().context("images are for x86_64 and aarch64")?;
    let docker = docker::ready()?;
    let image = dist::image(&docker, arch)?;
    let (tare, load) = (dist::binary(arch)?, build::static_load()?);
    let _cleanup = CgroupCleanup::begin()?;
    results::with_second_try(|names| {
        let mut tests = project::cargo();
        tests.args(["test", "--package", "tare-tests", "--features", "image", "--test", "image"]);
        tests.env("TARE_IMAGE", &image).env("TARE_BIN", &tare).env("TARE_LOAD_BIN", &load);
        tests.env("DOCKER_HOST", &docker.host);
        libtest(tests.args(["--", "--test-threads=1"]), names)
    })
}

fn browser() -> Result<Tally> {
    packages::install(&[("chromium-headless-shell", &["chromium-headless-shell"])])?;
    let (tare, load) = (build::build(Profile::Debug)?, build::static_load()?);
    let axe = web::axe()?;
    let _cleanup = CgroupCleanup::begin()?;
    let docker = docker::ready()?;
    results::with_second_try(|names| {
        let mut tests = project::cargo();
        tests.args([
            "test",
            "--package",
            "tare-tests",
            "--features",
            "browser",
            "--test",
            "browser",
        ]);
        tests.env("TARE_BIN", &tare).env("TARE_LOAD_BIN", &load).env("TARE_AXE", &axe);
        tests.env("DOCKER_HOST", &docker.host);
        libtest(tests.args(["--", "--test-threads=1"]), names)
    })
}

fn receivers() -> Result<Tally> {
    let (tare, load) = (build::build(Profile::Release)?, build::static_load()?);
    let host = project::rustc_says("host")?;
    let prometheus = packages::of_suite("prometheus", "sid")?.join("usr/bin");
    let victoria = packages::of_suite("victoria-metrics", "sid")?.join("usr/bin/victoria-metrics");
    let influxdb = packages::unpacked("influxdb", &["influxd"])?;
    let (collectd, statsd) =
        (packages::of_suite("collectd-core", "bookworm")?, packages::statsd()?);
    let python = packages::otlp_python()?;
    let _cleanup = CgroupCleanup::begin()?;
    let docker = docker::ready()?;
    results::with_second_try(|names| {
        let mut tests = project::cargo();
        tests.args(["test", "--package", "tare-tests", "--features", "receivers"]);
        tests.args(["--test", "receivers"]).env("DOCKER_HOST", &docker.host);
        tests.env("TARE_BIN", &tare).env("TARE_LOAD_BIN", &load);
        tests.env("TARE_PROMETHEUS_DIR", &prometheus).env("TARE_VICTORIA_METRICS", &victoria);
        tests.env("TARE_INFLUXDB_DIR", &influxdb).env("TARE_COLLECTD", &collectd);
        tests.env("TARE_STATSD", &statsd).env("TARE_OTLP_PYTHON", &python);
        if !cmd::is_root() {
            tests.env(runner_variable(&host), sudo_runner());
        }
        libtest(tests.args(["--", "--test-threads=1", "--nocapture"]), names)
    })
}

fn live_tests() -> Command {
    let mut tests = project::cargo();
    tests.args(["test", "--package", "tare-tests", "--features", "live", "--test", "live"]);
    tests
}

/// The variable with the program that cargo starts tests with.
fn runner_variable(host: &str) -> String {
    format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace(['-', '.'], "_"))
}

/// Tests are built as the user and run as root, with the environment that cargo sets.
fn sudo_runner() -> String {
    let kept = env::vars_os()
        .filter_map(|(name, _)| OsString::into_string(name).ok())
        .filter(|name| name.starts_with("CARGO_") || name.starts_with("RUST_"));
    let own = [
        "TARE_BIN",
        "TARE_LOAD_BIN",
        "DOCKER_HOST",
        "TARE_PROMETHEUS_DIR",
        "TARE_CADVISOR",
        "TARE_INFLUXDB_DIR",
        "TARE_CONTAINERD_DIR",
        "TARE_CNI_DIR",
        "TARE_DOCKER_CLIENTS",
        "TARE_PYTHON",
        "TARE_VICTORIA_METRICS",
        "TARE_COLLECTD",
        "TARE_STATSD",
        "TARE_OTLP_PYTHON",
    ];
    let own = own.map(str::to_owned);
    format!("sudo --preserve-env={}", own.into_iter().chain(kept).collect::<Vec<_>>().join(","))
}

/// Runs test programs, with these tests or all, and reads their results.
fn libtest(command: &mut Command, names: &[String]) -> Result<Results> {
    if !names.is_empty() {
        command.arg("--exact").args(names);
    }
    let mut results = Results::default();
    let status = cmd::run_with_lines(command, |line| results.line(line))?;
    if !results.is_any() {
        bail!("no test ran: {command:?}");
    }
    if !status.success() && results.failed == 0 {
        bail!("a build failed, or a test program crashed: {status}");
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_of_the_runner_is_the_one_that_cargo_reads() {
        let variable = runner_variable("x86_64-unknown-linux-gnu");
        assert_eq!(variable, "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER");
    }
}
