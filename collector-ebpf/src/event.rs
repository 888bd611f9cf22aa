//! Events of cgroups: small records of fixed size, in the order in which the events happened.

/// One event.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// One of the `EVENT_` constants.
    pub kind: u32,
    /// `cgroup_root.hierarchy_id` (0 is cgroup2). With it `cgroup_id` is unique.
    pub hierarchy: u32,
    /// Inode of the cgroup's directory.
    pub cgroup_id: u64,
    /// Inode of its parent's directory ([`EVENT_MADE`]).
    pub parent_id: u64,
    /// `CLOCK_MONOTONIC` (`bpf_ktime_get_ns`).
    pub at_nanoseconds: u64,
    /// The process that it is about, 0 if there is none.
    pub pid: u32,
    /// Inode of that process's network namespace ([`EVENT_EXECUTED`]), 0 if unknown.
    pub namespace: u32,
    /// That process's command (`task_struct.comm`, [`EVENT_OOM_KILL`]), ended by a NUL, in memory
    /// order.
    pub command: [u64; 2],
}

impl Event {
    /// Writes the record word by word: the compiler would turn a plain copy into a call of
    /// `memset`, and a program may not call functions.
    ///
    /// # Safety
    ///
    /// `place` must be valid for writes, and aligned.
    #[inline(always)]
    pub unsafe fn write_to(&self, place: *mut Self) {
        // SAFETY: the caller's.
        unsafe {
            (&raw mut (*place).kind).write_volatile(self.kind);
            (&raw mut (*place).hierarchy).write_volatile(self.hierarchy);
            (&raw mut (*place).cgroup_id).write_volatile(self.cgroup_id);
            (&raw mut (*place).parent_id).write_volatile(self.parent_id);
            (&raw mut (*place).at_nanoseconds).write_volatile(self.at_nanoseconds);
            (&raw mut (*place).pid).write_volatile(self.pid);
            (&raw mut (*place).namespace).write_volatile(self.namespace);
            (&raw mut (*place).command[0]).write_volatile(self.command[0]);
            (&raw mut (*place).command[1]).write_volatile(self.command[1]);
        }
    }
}

/// [`EVENT_MADE`] with the cgroup's path, ended by a NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// The event.
    pub event: Event,
    /// Path below the root of the hierarchy. It has no NUL if the path is longer.
    pub path: [u8; PATH_MAX],
}

/// Bytes for a path: twice the length of Kubernetes' longest names.
pub const PATH_MAX: usize = 512;

/// A cgroup was created (`cgroup_mkdir`, `kernel/cgroup/cgroup.c`).
pub const EVENT_MADE: u32 = 1;
/// A cgroup was removed (`cgroup_rmdir`); its files are gone already.
pub const EVENT_REMOVED: u32 = 2;
/// The last task of a cgroup and its descendants ended or left (`cgroup_notify_populated`).
pub const EVENT_EMPTIED: u32 = 3;
/// A cgroup that had no task has one again (`cgroup_notify_populated`).
pub const EVENT_POPULATED: u32 = 4;
/// A task was moved into a cgroup for the first time (`cgroup_attach_task`). A task that is created
/// in a cgroup (`CLONE_INTO_CGROUP`) is not moved.
pub const EVENT_ATTACHED: u32 = 5;
/// The first program was executed in a cgroup (`sched_process_exec`, `fs/exec.c`).
pub const EVENT_EXECUTED: u32 = 6;
/// The first TCP socket of a cgroup listens (`inet_sock_set_state`, `net/ipv4/af_inet.c`).
pub const EVENT_LISTENING: u32 = 7;
/// The kernel chose a process to kill because memory is short (`mark_victim`, `mm/oom_kill.c`).
pub const EVENT_OOM_KILL: u32 = 8;

/// Bytes of the ring buffer (Linux 5.8): about 3,500 events, or 400 cgroups created at once.
pub const RING_BYTES: u32 = 1024 * 1024;

/// No hierarchy is watched ([`crate::Layout`]).
pub const NO_HIERARCHY: u32 = u32::MAX;

impl Event {
    /// Reads a record as it came through the ring; `None` if it is too short.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < size_of::<Self>() {
            return None;
        }
        // SAFETY: long enough; any bytes are a value of a `repr(C)` struct of integers.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }
}

impl Made {
    /// The path in a record of [`EVENT_MADE`]; `None` if it was longer than [`PATH_MAX`].
    pub fn path(bytes: &[u8]) -> Option<&[u8]> {
        let path = bytes.get(size_of::<Event>()..size_of::<Self>())?;
        // A program writes a mark behind the longest path that fits.
        let end = path.iter().position(|byte| *byte == 0)?;
        path.get(..end).filter(|path| path.len() < PATH_MAX - 1 && !path.is_empty())
    }
}
