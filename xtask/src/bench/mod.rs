//! `cargo xtask bench`: what Tare costs, compared with other tools and with the minimum cost of its
//! reads.

mod containers;
mod docker_api;
mod effects;
mod ended;
mod http;
mod latency;
mod machine;
mod measure;
mod measurements;
pub(crate) mod micro;
mod missing;
mod page;
mod plan;
mod program;
mod programs;
mod sample_signal;
mod sampling;
mod scrape;
mod sinks;
mod test_cgroups;
mod times;
mod tools;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use nix::sys::resource::{Resource, setrlimit};

use self::{machine::Machine, measurements::Run, plan::Plan, tools::Binaries};
use crate::{
    build::{self, Profile},
    cgroups::CgroupCleanup,
    cmd, packages, project,
};

/// The benchmarks.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    command: Option<BenchCommand>,
    #[command(flatten)]
    comparison: Comparison,
}

#[derive(Subcommand)]
enum BenchCommand {
    /// Count instructions of parsers, samples, reports and outputs, and compare them with the
    /// committed counts
    Micro(micro::Micro),
    DockerApi(docker_api::DockerApi),
    /// Write the page again from the measurements of a run
    Page {
        /// File with the measurements
        #[arg(default_value_os_t = measurements::latest())]
        raw: PathBuf,
    },
}

/// The comparison with other tools. It needs root, a quiet machine and up to 25 minutes.
#[derive(Args)]
struct Comparison {
    /// Measure less, in about 5 minutes; the page goes to target/bench
    #[arg(long)]
    quick: bool,
    /// Numbers of cgroups
    #[arg(long, value_name = "N", value_delimiter = ',')]
    sizes: Vec<usize>,
    /// Measure only this part; can be repeated
    #[arg(long, value_name = "PART", value_enum)]
    only: Vec<Part>,
    /// Rounds of each measurement
    #[arg(long, value_name = "N")]
    repeat: Option<usize>,
}

/// A part that can be measured alone.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Part {
    /// Detection of new containers, short-lived containers, single reports
    Latency,
    /// Other programs with and without Tare
    Effects,
    /// Cost of the BPF programs per event
    Programs,
    /// Tools on real containers
    Containers,
    /// Tools on many cgroups, scrapes and memory
    Sampling,
    /// Sinks, beside a scrape
    Sinks,
    /// Memory after containers came and went
    Ended,
}

type Measure = fn(&Binaries, &Plan, &mut Run) -> Result<()>;

const PARTS: [(Part, Measure); 7] = [
    (Part::Latency, |binaries, plan, run| {
        latency::run(binaries, plan, &mut run.latency, &mut run.missing)
    }),
    (Part::Effects, |binaries, plan, run| {
        effects::run(binaries, plan, &mut run.effects, &mut run.missing)
    }),
    (Part::Programs, |binaries, plan, run| {
        programs::run(binaries, plan, &mut run.programs, &mut run.missing)
    }),
    (Part::Containers, |binaries, plan, run| {
        containers::run(binaries, plan, &mut run.containers, &mut run.missing)
    }),
    (Part::Sampling, |binaries, plan, run| {
        sampling::run(binaries, plan, &mut run.sampling, &mut run.missing)
    }),
    (Part::Sinks, |binaries, plan, run| {
        sinks::run(binaries, plan, &mut run.sinks, &mut run.missing)
    }),
    (Part::Ended, |binaries, plan, run| {
        ended::run(binaries, plan, &mut run.ended, &mut run.missing)
    }),
];

impl Bench {
    /// Measures, or writes the page of an earlier run.
    pub(crate) fn run(self) -> Result<()> {
        match self.command {
            Some(BenchCommand::Page { raw }) => {
                let run = Run::read(&raw)?;
                page::write(&run, &project::root().join(page::FILE))
            }
            Some(BenchCommand::Micro(micro)) => micro.run(),
            Some(BenchCommand::DockerApi(docker_api)) => docker_api.run(),
            None => self.comparison.run(),
        }
    }
}

impl Comparison {
    fn run(self) -> Result<()> {
        if !cmd::is_root() {
            bail!("the comparison makes cgroups and loads programs into the kernel: it needs root");
        }
        packages::install(&http::NEEDED)?;
        let binaries = Binaries {
            tare: build::build(Profile::Release)?,
            bench: build::static_program("tare-bench")?,
        };
        raise_descriptor_limit()?;
        let _cleanup = CgroupCleanup::begin()?;
        let plan = self.plan();
        let mut run = Run { machine: Machine::here(&binaries.tare)?, ..Run::default() };
        run.missing.list.extend(tools::not_compared());
        let wanted = |part: &Part| self.only.is_empty() || self.only.contains(part);
        let mut parts = PARTS.iter().filter(|(part, _)| wanted(part));
        let done = parts.try_for_each(|(_, measure)| measure(&binaries, &plan, &mut run));
        // Measurements made before a failure are kept.
        for file in [measurements::latest(), measurements::dated(run.machine.began)] {
            run.write(&file)?;
        }
        done?;
        let page = if self.is_whole() {
            project::root().join(page::FILE)
        } else {
            project::target().join("bench/benchmarks.md")
        };
        page::write(&run, &page)
    }

    fn plan(&self) -> Plan {
        let plan = if self.quick { Plan::quick() } else { Plan::full() };
        Plan {
            sizes: if self.sizes.is_empty() { plan.sizes } else { self.sizes.clone() },
            repeat: self.repeat.unwrap_or(plan.repeat),
            ..plan
        }
    }

    /// Whether the run is complete enough for the project's documentation.
    fn is_whole(&self) -> bool {
        !self.quick && self.sizes.is_empty() && self.repeat.is_none() && self.only.is_empty()
    }
}

/// Raises the limit of open files as systemd does for services. Below it, Tare would have to reopen
/// files of 10,000 containers at every sample.
fn raise_descriptor_limit() -> Result<()> {
    let most = fs::read_to_string("/proc/sys/fs/nr_open").context("cannot read fs.nr_open")?;
    let most = most.trim().parse().context("fs.nr_open")?;
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, most, most) {
        eprintln!("warning: cannot raise the limit of open files to {most}: {error}");
    }
    Ok(())
}
