//! `cargo xtask bench`: what Tare costs, beside other tools and beside the least that its reads
//! can cost.

mod groups;
mod machine;
mod measure;
mod page;
mod raw;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use self::machine::Machine;
use self::raw::Run;
use crate::build::{self, Profile};
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
    /// How often each measurement is made
    #[arg(long, value_name = "N")]
    repeat: Option<usize>,
}

impl Bench {
    /// Measures, or writes the page of a run that is over.
    pub(crate) fn run(self) -> Result<()> {
        match self.command {
            Some(BenchCommand::Page { raw }) => {
                let run = Run::read(&raw)?;
                page::write(&run, &project::root().join(page::FILE))
            }
            None => self.comparison.run(),
        }
    }
}

impl Comparison {
    fn run(self) -> Result<()> {
        if !cmd::is_root() {
            bail!("the comparison makes cgroups and loads programs into the kernel: it needs root");
        }
        let tare = build::build(Profile::Release)?;
        let run = Run { machine: Machine::here(&tare)?, ..Run::default() };
        run.write(&raw::latest())
    }
}
