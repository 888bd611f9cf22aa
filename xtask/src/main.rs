//! Builds, runs and tests Tare: `cargo xtask`.

mod apt;
mod bench;
mod build;
mod calls;
mod cgroups;
mod cmd;
mod dist;
mod docker;
mod dockerd;
mod ebpf;
mod fuzz;
mod lint;
mod packages;
mod project;
mod results;
mod run;
mod test;
mod tools;
mod vm;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::build::Profile;
use crate::test::Step;
use crate::vm::Series;

/// Builds, runs and tests Tare. What the build needs is installed on the way, once, under `target`.
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
        /// Build it with optimisation; this is the default
        #[arg(long, conflicts_with = "debug")]
        release: bool,
        /// Build it without optimisation
        #[arg(long)]
        debug: bool,
        /// What `tare` is to do [default: stats]
        #[arg(trailing_var_arg = true)]
        args: Vec<OsString>,
    },
    /// Build `tare` with its kernel side inside
    Build {
        /// Build it with optimisation
        #[arg(long)]
        release: bool,
    },
    /// Build what is handed out, into `target/dist`: binary, man pages, completions, an archive
    Dist,
    /// Check formatting and clippy, for the host and for the kernel side
    Lint,
    /// Run everything that has to pass; the last line is the sum
    Test {
        /// Run this step only; may be given several times
        #[arg(long, value_name = "STEP", value_enum)]
        only: Vec<Step>,
    },
    /// Feed the parsers with random text that looks like their own
    Fuzz {
        /// Which parsers, by the names of their corpora [default: all]
        #[arg(value_name = "PARSER")]
        targets: Vec<String>,
        /// For how long, each
        #[arg(long, default_value_t = 30)]
        seconds: u32,
    },
    /// Measure Tare beside other tools and beside the least that its reads can cost; needs root
    Bench(bench::Bench),
    /// Boot real kernels in a virtual machine and run the tests for them there
    Vm {
        /// Which kernels [default: all]
        #[arg(value_name = "SERIES", value_enum)]
        series: Vec<Series>,
        /// For the test program, such as a part of a test's name
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
        Task::Run { release: _, debug, args } => {
            run::run(if debug { Profile::Debug } else { Profile::Release }, &args)?;
        }
        Task::Build { release } => {
            let tare = build::build(if release { Profile::Release } else { Profile::Debug })?;
            println!("{}", tare.display());
        }
        Task::Dist => println!("{}", dist::run()?.display()),
        Task::Lint => lint::run()?,
        Task::Test { only } => {
            if !test::run(&only) {
                return Ok(ExitCode::FAILURE);
            }
        }
        Task::Fuzz { targets, seconds } => fuzz::run(&targets, seconds)?,
        Task::Bench(bench) => bench.run()?,
        Task::Vm { series, args } => {
            if !vm::run_alone(&series, &args)? {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
