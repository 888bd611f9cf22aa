//! The tools that are compared: how each is started so that it samples once a second.

mod cgtop;
mod floor;
mod tare;

use std::path::PathBuf;

use anyhow::Result;

use super::groups::Groups;
use super::program::Program;
use super::pulse::Pulse;
use super::raw::Missing;
use crate::packages;

pub(crate) use self::cgtop::Cgtop;
pub(crate) use self::floor::{Files, Floor, files};
pub(crate) use self::tare::{Daemon, Stats};

/// Programs that are built for the comparison.
pub(crate) struct Built {
    pub(crate) tare: PathBuf,
    /// `tare-bench`.
    pub(crate) probe: PathBuf,
}

/// What tools are let loose on.
pub(crate) struct Scene<'a> {
    pub(crate) built: &'a Built,
    pub(crate) groups: &'a Groups,
    pub(crate) files: &'a Files,
}

/// Something that samples all containers once a second.
pub(crate) trait Tool {
    /// What the page calls it.
    fn name(&self) -> String;

    /// Starts it; an error is why it cannot be measured here.
    fn start(&self, scene: &Scene<'_>) -> Result<Running>;
}

/// A tool at work.
pub(crate) struct Running {
    pub(crate) program: Program,
    pub(crate) pulse: Pulse,
    /// Counts the cgroups that it has in its latest sample.
    pub(crate) seen: Box<dyn Fn() -> Result<usize>>,
}

/// Tools that should stand beside the others and do not, and why.
pub(crate) fn not_compared() -> Vec<Missing> {
    // Debian has no package of it since bookworm; whoever has it sees that it is left out.
    let cadvisor = match packages::unpacked("cadvisor", &["cadvisor"]) {
        Ok(directory) => format!("{} is there, but is not started here", directory.display()),
        Err(_) => "not available: apt has no package of it here".to_owned(),
    };
    let netdata = "not compared: Debian's package (1.37) brings a service that starts by itself";
    [("cAdvisor", cadvisor), ("netdata", netdata.to_owned())]
        .map(|(what, why)| Missing { what: what.to_owned(), why })
        .into()
}
