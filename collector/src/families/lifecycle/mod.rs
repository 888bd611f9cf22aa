//! Start and end of cgroups, from the kernel's events.

mod metrics;
mod source;

use jiff::Timestamp;

pub(crate) use self::metrics::{METRICS, ORIGIN};
pub use self::source::source;

/// The steps of an instance's start; `None` if they were not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Startup {
    /// Its cgroup was made.
    pub made_at: Option<Timestamp>,
    /// Its first program was executed.
    pub executed_at: Option<Timestamp>,
    /// Its first TCP socket listened.
    pub listened_at: Option<Timestamp>,
}

/// A process that the kernel killed because memory ran out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OomKill {
    /// When.
    pub at: Timestamp,
    /// Its id in the host's namespace.
    pub pid: u32,
    /// Its command, 15 bytes at most.
    pub command: String,
}

impl From<&Startup> for tare_model::Startup {
    fn from(startup: &Startup) -> Self {
        Self {
            made_at: startup.made_at,
            exec_at: startup.executed_at,
            listen_at: startup.listened_at,
        }
    }
}
