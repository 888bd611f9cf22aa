//! Tasks by state, what they wait for, and the load that they make: from a pass over all tasks by a
//! program in the kernel, some seconds old at most.

mod load;
mod metrics;
mod report;
mod source;

use serde::{Deserialize, Serialize};
use tare_ebpf::{LiveTasks, TaskTimes};

use crate::clock::Moment;

pub(crate) use self::metrics::{DETAILS, METRICS, ORIGIN};
pub use self::{
    load::{Loads, Windows},
    report::{of_ended, report},
    source::source,
};

/// The tasks of one instance, its sub-cgroups included.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct TasksReading {
    /// When the pass was.
    pub read_at: Moment,
    /// Numbers of tasks by state.
    pub live: LiveTasks,
    /// What the scheduler counted of all tasks, those that are gone included. Never falls.
    pub times: TaskTimes,
    /// Load averages.
    pub load: Windows,
    /// Tasks that waited for a CPU at a time, on average since the pass before; `None` in the
    /// first.
    pub waiting_for_cpu: Option<f64>,
    /// Tasks in uninterruptible sleep, those that sleep longest first, [`WAITING_MAX`] at most.
    pub waiting: Vec<WaitingTask>,
}

/// The open files of one instance, its sub-cgroups included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct OpenFilesReading {
    /// When the pass came to its end.
    pub read_at: Moment,
    /// Descriptors of all processes.
    pub descriptors: u64,
    /// Those of them that are sockets.
    pub sockets: u64,
}

/// A task in uninterruptible sleep.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct WaitingTask {
    /// Its process, in the PID namespace of the host.
    pub pid: u32,
    /// Its thread.
    pub tid: u32,
    /// Its name, 15 bytes at most; `None` if it could not be read.
    pub command: Option<String>,
    /// When it last got a CPU, in the scheduler's nanoseconds: the same as long as it sleeps.
    pub last_run: u64,
    /// For how long it has not run, at the time of the pass.
    pub nanoseconds: u64,
    /// Whether it waits for I/O.
    pub io: bool,
    /// The function of the kernel that it waits in; `None` if it may not be read.
    pub function: Option<String>,
}

/// The most tasks in uninterruptible sleep of an instance that are listed.
pub const WAITING_MAX: usize = 16;
