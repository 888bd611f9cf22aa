//! What is counted of tasks: those that are gone, and those that a pass over all of them found.

use crate::Cell;
#[cfg(not(target_arch = "bpf"))]
use serde::{Deserialize, Serialize};

/// What the scheduler counted of tasks (`struct sched_info`, `include/linux/sched.h`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(Deserialize, Serialize), serde(default))]
pub struct TaskTimes {
    /// On a CPU, in nanoseconds (`se.sum_exec_runtime`).
    pub run_nanoseconds: u64,
    /// Ready to run and waiting for a CPU, in nanoseconds (`sched_info.run_delay`).
    pub wait_nanoseconds: u64,
    /// How often a task got a CPU (`sched_info.pcount`).
    pub periods: u64,
}

/// The tasks of one cgroup that a pass found. All but `pass` and `times` are numbers of tasks, each
/// in one of the states of `/proc/PID/stat`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(Deserialize, Serialize), serde(default))]
pub struct LiveTasks {
    /// The pass that found them. Of an older pass than the last: there are none.
    pub pass: u64,
    /// On a CPU.
    pub running: u64,
    /// Ready to run, and on no CPU. Also while the CPU limit keeps them from running.
    pub runnable: u64,
    /// In sleep that a signal interrupts, or in no hurry: idle and parked threads of the kernel.
    pub sleeping: u64,
    /// In uninterruptible sleep, as `D` in `/proc/PID/stat`.
    pub uninterruptible: u64,
    /// Those of them that wait for I/O (`task_struct.in_iowait`).
    pub io_wait: u64,
    /// Stopped by a signal or a debugger.
    pub stopped: u64,
    /// Ended, and not yet waited for by their parents.
    pub zombies: u64,
    /// Those that count in the load average (`kernel/sched/loadavg.c`): running, runnable and
    /// uninterruptible, without frozen ones and those that sleep without load.
    pub load: u64,
    /// Threads that have not ended.
    pub threads: u64,
    /// Processes that have not ended.
    pub processes: u64,
    /// What the scheduler counted of all these tasks, ended ones included.
    pub times: TaskTimes,
}

/// A pass over all tasks.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskPass {
    /// Number of the last pass that began. The first is 1.
    pub begun: u64,
    /// Number of the last pass that came to its end.
    pub ended: u64,
    /// Tasks that it found.
    pub tasks: u64,
    /// How many of them were in uninterruptible sleep: the first [`BLOCKED_MAX`] are listed.
    pub blocked: u64,
    /// The latest time at which any of them got a CPU: hardly earlier than the pass, because the
    /// one that asks for it has just got one.
    pub latest: u64,
}

/// A task in uninterruptible sleep.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockedTask {
    /// Its cgroup, as in a [`Key`](crate::Key).
    pub cgroup_id: u64,
    /// `tgid << 32 | tid`, in the first namespace.
    pub ids: u64,
    /// When it last got a CPU (`sched_info.last_arrival`), in the scheduler's nanoseconds.
    pub last_run: u64,
    /// 1 if it waits for I/O.
    pub io_wait: u64,
}

/// The most tasks in uninterruptible sleep that are listed one by one.
pub const BLOCKED_MAX: u32 = 256;

/// The open files of the processes of one cgroup that a pass found.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFiles {
    /// The pass that found them. Of an older pass than the last: there are none.
    pub pass: u64,
    /// Descriptors.
    pub files: u64,
    /// Those of them that are sockets.
    pub sockets: u64,
}

/// A pass over the open files of all processes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilePass {
    /// Number of the last pass that began. The first is 1.
    pub begun: u64,
    /// Number of the last pass that came to its end.
    pub ended: u64,
    /// Descriptors that it found.
    pub files: u64,
    /// Address of the task that it found last.
    pub task: u64,
    /// Whether that is a process.
    pub is_process: u64,
    /// Slot of the cgroup of that task.
    pub slot: u64,
}

/// Descriptors that a pass finds until it may pause.
pub const FILES_PER_PART: u64 = 4096;

// SAFETY: `repr(C)` structs of `u64` fields.
unsafe impl Cell for OpenFiles {}
// SAFETY: as above.
unsafe impl Cell for FilePass {}
// SAFETY: as above.
unsafe impl Cell for TaskTimes {}
// SAFETY: as above.
unsafe impl Cell for LiveTasks {}
// SAFETY: as above.
unsafe impl Cell for TaskPass {}
// SAFETY: as above.
unsafe impl Cell for BlockedTask {}
