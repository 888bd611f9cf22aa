//! The tools that are compared: how each is started so that it samples once a second.

mod cadvisor;
mod cgtop;
mod floor;
mod tare;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::groups::Groups;
use super::program::Program;
use super::pulse::Pulse;
use super::raw::Missing;

pub(crate) use self::cadvisor::{Cadvisor, MOST as CADVISOR_MOST};
pub(crate) use self::cgtop::Cgtop;
pub(crate) use self::floor::{Files, Floor, files};
pub(crate) use self::tare::{Daemon, SETTLE, Stats};

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

    /// From its start until it is measured: first samples cost more than later ones.
    fn settle(&self) -> Duration {
        Duration::from_secs(2)
    }

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
    let why = "not compared: Debian's package (1.37) brings a service that starts by itself";
    vec![Missing { what: "netdata".to_owned(), why: why.to_owned() }]
}
