//! Tasks by state, their load, and who waits.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The tasks of a container: threads, not processes. All are from one pass over the tasks of the
/// host, some seconds old at most. `None` is unknown.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Tasks {
    /// When the pass was.
    pub read_at: Option<Timestamp>,
    /// On a CPU.
    pub running: Option<u64>,
    /// Ready to run and on no CPU, be it because others are or because of the CPU limit.
    pub runnable: Option<u64>,
    /// In sleep that a signal ends.
    pub sleeping: Option<u64>,
    /// In uninterruptible sleep: `D` in `ps`.
    pub uninterruptible: Option<u64>,
    /// Those of them that wait for I/O.
    pub io_wait: Option<u64>,
    /// Stopped by a signal or a debugger.
    pub stopped: Option<u64>,
    /// Ended, and not yet waited for by their parents.
    pub zombies: Option<u64>,
    /// Processes, zombies not counted.
    pub processes: Option<u64>,
    /// Threads, zombies not counted.
    pub threads: Option<u64>,
    /// When open files were counted, which is a pass of its own.
    pub open_files_read_at: Option<Timestamp>,
    /// Open descriptors of all processes.
    pub file_descriptors: Option<u64>,
    /// Those of them that are sockets.
    pub sockets: Option<u64>,
    /// Load averages.
    pub load: Option<LoadAverages>,
    /// CPU seconds of all tasks, ended ones included, since they were made.
    pub run_seconds: Option<f64>,
    /// Seconds that they were ready to run and waited for a CPU.
    pub run_queue_seconds: Option<f64>,
    /// How often one of them was given a CPU.
    pub run_periods: Option<u64>,
    /// How many of them waited for a CPU, on average since the pass before.
    pub waiting_for_cpu: Option<f64>,
    /// Those in uninterruptible sleep, the longest first, 16 at most.
    pub waiting: Vec<WaitingTask>,
}

/// Average numbers of tasks that run, are ready to run or sleep uninterruptibly, as the kernel's
/// load average of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct LoadAverages {
    /// Over 10 seconds.
    pub ten_seconds: f64,
    /// Over a minute.
    pub one_minute: f64,
    /// Over 5 minutes.
    pub five_minutes: f64,
    /// Over 15 minutes.
    pub fifteen_minutes: f64,
}

/// A task in uninterruptible sleep.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct WaitingTask {
    /// Its process, as the host numbers it.
    pub pid: u32,
    /// Its thread.
    pub tid: u32,
    /// Its name, 15 bytes at most.
    pub command: Option<String>,
    /// For how long it has not run.
    pub seconds: f64,
    /// Whether it waits for I/O.
    pub io: bool,
    /// The function of the kernel that it waits in, where that may be read.
    pub function: Option<String>,
}
