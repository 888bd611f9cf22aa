//! `cargo xtask bench`: what Tare costs.

pub(crate) mod micro;

use anyhow::Result;
use clap::{Args, Subcommand};

/// Measures Tare.
#[derive(Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Subcommand)]
enum BenchCommand {
    /// Count the instructions of parsers, samples, reports and outputs, and compare them with those
    /// that are committed
    Micro(micro::Micro),
}

impl Bench {
    /// Measures.
    pub(crate) fn run(self) -> Result<()> {
        match self.command {
            BenchCommand::Micro(micro) => micro.run(),
        }
    }
}
