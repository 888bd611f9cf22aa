//! Start and end of cgroups, from the kernel's events.

mod metrics;
mod source;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use self::metrics::{METRICS, ORIGIN};
pub use self::source::source;
use crate::seldom::HasDefault;

/// The steps of an instance's start; `None` if they were not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Startup {
    /// Its cgroup was made.
    #[serde(default, with = "jiff::fmt::serde::timestamp::nanosecond::optional")]
    pub made_at: Option<Timestamp>,
    /// Its first program was executed.
    #[serde(default, with = "jiff::fmt::serde::timestamp::nanosecond::optional")]
    pub executed_at: Option<Timestamp>,
    /// Its first TCP socket listened.
    #[serde(default, with = "jiff::fmt::serde::timestamp::nanosecond::optional")]
    pub listened_at: Option<Timestamp>,
}

/// A process that the kernel killed because memory ran out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct OomKill {
    /// When.
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::required")]
    pub at: Timestamp,
    /// Its id in the host's namespace.
    pub pid: u32,
    /// Its command, 15 bytes at most.
    pub command: String,
}

impl HasDefault for Startup {
    const DEFAULT: &'static Self = &Self { made_at: None, executed_at: None, listened_at: None };
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
