//! Builds, runs and tests Tare: `cargo xtask`.

mod apt;
mod bench;
mod bpf_calls;
mod build;
mod cgroups;
mod cmd;
mod dist;
mod docker;
mod docker_client;
mod dockerd;
mod ebpf;
mod fuzz;
mod lint;
mod mounts;
mod packages;
mod project;
mod results;
mod run;
mod test;
mod tools;
mod vm;
mod wait;
mod web;

use std::{ffi::OsString, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand, ValueEnum as _};

use crate::{
    build::Profile,
    dist::Arch,
    test::Step,
    vm::{Cgroups, Series},
};

/// Builds, runs and tests Tare. Tools that the build needs are installed once, under `target`.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build `tare` and start it as root
    Run {
        /// Build what is released; the default is optimised less, and compiles in half the time
        #[arg(long, conflicts_with = "debug")]
        release: bool,
        /// Build without optimisation
        #[arg(long)]
        debug: bool,
        /// Arguments for `tare` [default: stats]
        #[arg(trailing_var_arg = true)]
        args: Vec<OsString>,
    },
    /// Build `tare` with the BPF programs embedded, and print its path
    Build {
        /// Build with optimisation
        #[arg(long)]
        release: bool,
    },
    /// Build release archives and Debian packages in `target/dist`, with static binaries
    Dist {
        /// Architectures [default: both]
        #[arg(value_name = "ARCH", value_enum)]
        archs: Vec<Arch>,
    },
    /// Build the container image with Docker, without a registry
    Image {
        /// Architecture of the image [default: that of this machine]
        #[arg(long, value_name = "ARCH", value_enum)]
        arch: Option<Arch>,
        /// File to save the image in; needed unless `DOCKER_HOST` names a daemon that stays
        #[arg(long, value_name = "FILE")]
        output: Option<String>,
    },
    /// Format all crates
    Fmt,
    /// Check formatting, clippy and documentation
    Lint,
    /// Run all checks and tests; the last line is the total
    Test {
        /// Run only this step; can be repeated
        #[arg(long, value_name = "STEP", value_enum)]
        only: Vec<Step>,
    },
    /// Fuzz the parsers
    Fuzz {
        /// Names of parsers, as in tests/corpus [default: all]
        #[arg(value_name = "PARSER")]
        targets: Vec<String>,
        /// Seconds for each parser
        #[arg(long, default_value_t = 30)]
        seconds: u32,
    },
    /// Measure what Tare costs and compare it with other tools; needs root
    Bench(bench::Bench),
    /// Boot real kernels in a virtual machine and run tests there
    Vm {
        /// Kernel series [default: those of Debian's releases]
        #[arg(value_name = "SERIES", value_enum)]
        series: Vec<Series>,
        /// Architecture of the machine; another one than this machine's is built for first, and
        /// takes a few minutes for each kernel
        #[arg(long, value_enum, default_value = "x86_64")]
        arch: Arch,
        /// Version of cgroups that is mounted; with `v1` only the loading of programs is tested
        #[arg(long, value_enum, default_value = "v2")]
        cgroups: Cgroups,
        /// Only load every program: on every kernel, on both architectures, once with cgroup v1
        #[arg(long, conflicts_with_all = ["series", "arch", "cgroups", "args"])]
        load_everywhere: bool,
        /// Arguments for the test program, such as a part of a test's name
        #[arg(last = true)]
        args: Vec<String>,
    },
}

fn main() -> ExitCode {
    match work(Cli::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work(task: Task) -> Result<ExitCode> {
    cmd::catch_interrupts()?;
    match task {
        Task::Run { release, debug, args } => {
            let profile = match (release, debug) {
                (true, _) => Profile::Release,
                (false, true) => Profile::Debug,
                (false, false) => Profile::Quick,
            };
            run::run(profile, &args)?;
        }
        Task::Build { release } => {
            let tare = build::build(if release { Profile::Release } else { Profile::Debug })?;
            println!("{}", tare.display());
        }
        Task::Dist { archs } => {
            let archs = if archs.is_empty() { Arch::value_variants() } else { &archs };
            println!("{}", dist::run(archs)?.display());
        }
        Task::Image { arch, output } => {
            let arch = arch.or_else(Arch::host).context("images are for x86_64 and aarch64")?;
            println!("{}", dist::build_and_save_image(arch, output.as_deref())?);
        }
        Task::Fmt => lint::format()?,
        Task::Lint => lint::run()?,
        Task::Test { only } => {
            if !test::run(&only) {
                return Ok(ExitCode::FAILURE);
            }
        }
        Task::Fuzz { targets, seconds } => fuzz::run(&targets, seconds)?,
        Task::Bench(bench) => bench.run()?,
        Task::Vm { series, arch, cgroups, load_everywhere, args } => {
            let passed = if load_everywhere {
                vm::load_everywhere()?
            } else {
                vm::run_alone(&series, arch, cgroups, &args)?
            };
            if !passed {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
