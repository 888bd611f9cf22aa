//! `cargo xtask bench`: what Tare costs, beside other tools and beside the least that its reads
//! can cost.

mod containers;
mod effects;
mod groups;
mod http;
mod latency;
mod machine;
mod measure;
pub(crate) mod micro;
mod page;
mod plan;
mod program;
mod programs;
mod pulse;
mod raw;
mod sampling;
mod scrape;
mod tools;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use nix::sys::resource::{Resource, setrlimit};

use self::machine::Machine;
use self::plan::Plan;
use self::raw::Run;
use self::tools::Built;
use crate::build::{self, Profile};
use crate::cgroups::Leftovers;
use crate::{cmd, project};

/// Measures Tare.
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
    /// Count the instructions of parsers, samples, reports and outputs, and compare them with those
    /// that are committed
    Micro(micro::Micro),
    /// Write the page anew from what a run left
    Page {
        /// What the run left
        #[arg(default_value_os_t = raw::latest())]
        raw: PathBuf,
    },
}

/// The comparison with other tools: a quiet machine, root, and up to 25 minutes.
#[derive(Args)]
struct Comparison {
    /// Only what takes few minutes; the page is written beside the raw results
    #[arg(long)]
    quick: bool,
    /// How many cgroups the tools have to watch
    #[arg(long, value_name = "N", value_delimiter = ',')]
    sizes: Vec<usize>,
    /// Measure this part only; may be given several times
    #[arg(long, value_name = "PART", value_enum)]
    only: Vec<Part>,
    /// How often each measurement is made
    #[arg(long, value_name = "N")]
    repeat: Option<usize>,
}

/// What can be measured by itself.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Part {
    /// How soon Tare knows of new containers and of short lives
    Latency,
    /// What other programs feel of Tare
    Effects,
    /// What the programs in the kernel cost for each event
    Programs,
    /// Tools on real containers
    Containers,
    /// Tools on many cgroups, scrapes and memory
    Sampling,
}

type Measure = fn(&Built, &Plan, &mut Run) -> Result<()>;

const PARTS: [(Part, Measure); 5] = [
    (Part::Latency, latency::run),
    (Part::Effects, effects::run),
    (Part::Programs, programs::run),
    (Part::Containers, containers::run),
    (Part::Sampling, sampling::run),
];

impl Bench {
    /// Measures, or writes the page of a run that is over.
    pub(crate) fn run(self) -> Result<()> {
        match self.command {
            Some(BenchCommand::Page { raw }) => {
                let run = Run::read(&raw)?;
                page::write(&run, &project::root().join(page::FILE))
            }
            Some(BenchCommand::Micro(micro)) => micro.run(),
            None => self.comparison.run(),
        }
    }
}

impl Comparison {
    fn run(self) -> Result<()> {
        if !cmd::is_root() {
            bail!("the comparison makes cgroups and loads programs into the kernel: it needs root");
        }
        let built = Built {
            tare: build::build(Profile::Release)?,
            probe: build::static_program("tare-bench")?,
        };
        raise_descriptor_limit()?;
        let _leftovers = Leftovers::from_now_on()?;
        let plan = self.plan();
        let mut run = Run { machine: Machine::here(&built.tare)?, ..Run::default() };
        run.missing.extend(tools::not_compared());
        let wanted = |part: &Part| self.only.is_empty() || self.only.contains(part);
        let mut parts = PARTS.iter().filter(|(part, _)| wanted(part));
        let done = parts.try_for_each(|(_, measure)| measure(&built, &plan, &mut run));
        // What was measured before something failed is worth keeping.
        for file in [raw::latest(), raw::dated(run.machine.began)] {
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

    /// Whether the page may stand in the project's documentation.
    fn is_whole(&self) -> bool {
        !self.quick && self.sizes.is_empty() && self.repeat.is_none() && self.only.is_empty()
    }
}

/// As systemd does for its services: ten thousand containers have more files than some shells allow
/// to be open, and Tare opens those anew for each sample that it cannot keep.
fn raise_descriptor_limit() -> Result<()> {
    let most = fs::read_to_string("/proc/sys/fs/nr_open").context("cannot read fs.nr_open")?;
    let most = most.trim().parse().context("fs.nr_open")?;
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, most, most) {
        eprintln!("warning: cannot raise the limit of open files to {most}: {error}");
    }
    Ok(())
}
