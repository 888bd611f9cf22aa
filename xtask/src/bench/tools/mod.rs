//! The tools that are compared, each set to one sample per second.

mod cadvisor;
mod cgtop;
mod floor;
mod tare;

use std::{path::PathBuf, time::Duration};

use anyhow::Result;

use super::{
    missing::NotMeasured, program::Program, sample_signal::SampleSignal, test_cgroups::TestCgroups,
};

pub(crate) use self::{
    cadvisor::{Cadvisor, MOST as CADVISOR_MOST},
    cgtop::Cgtop,
    floor::{Files, Floor, files},
    tare::{SETTLE, TareRun, TareStats},
};

/// Programs built for the benchmarks.
pub(crate) struct Binaries {
    pub(crate) tare: PathBuf,
    /// `tare-bench`.
    pub(crate) bench: PathBuf,
}

/// What all tools measure.
pub(crate) struct Setup<'a> {
    pub(crate) binaries: &'a Binaries,
    pub(crate) groups: &'a TestCgroups,
    pub(crate) files: &'a Files,
}

/// A tool that samples all containers once a second.
pub(crate) trait Tool {
    /// Its name on the page.
    fn name(&self) -> String;

    /// Time from its start to the measurement: first samples cost more than later ones.
    fn settle(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// Starts it; an error if it cannot run here.
    fn start(&self, setup: &Setup<'_>) -> Result<Running>;
}

/// A running tool.
pub(crate) struct Running {
    pub(crate) program: Program,
    pub(crate) signal: SampleSignal,
    /// Counts the cgroups in its latest sample.
    pub(crate) seen: Box<dyn Fn() -> Result<usize>>,
}

/// Tools that are not compared, and why.
pub(crate) fn not_compared() -> Vec<NotMeasured> {
    let why = "not compared: Debian's package (1.37) brings a service that starts by itself";
    vec![NotMeasured { what: "netdata".to_owned(), why: why.to_owned() }]
}
