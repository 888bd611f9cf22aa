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

/// CPU time in nanoseconds, in the order of `task_cputime` (`include/linux/sched/types.h`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTicks {
    /// In the kernel, by ticks.
    pub system: u64,
    /// In user mode, by ticks.
    pub user: u64,
    /// All of it, exact.
    pub usage: u64,
}

impl CpuTicks {
    /// Adds another one.
    #[inline(always)]
    pub const fn add(&mut self, other: &Self) {
        self.system = self.system.wrapping_add(other.system);
        self.user = self.user.wrapping_add(other.user);
        self.usage = self.usage.wrapping_add(other.usage);
    }

    /// Takes another one away.
    #[inline(always)]
    pub const fn subtract(&mut self, other: &Self) {
        self.system = self.system.wrapping_sub(other.system);
        self.user = self.user.wrapping_sub(other.user);
        self.usage = self.usage.wrapping_sub(other.usage);
    }

    /// Writes it word by word, as [`Event::write_to`].
    ///
    /// # Safety
    ///
    /// `place` must be valid for writes, and aligned.
    #[inline(always)]
    pub unsafe fn write_to(&self, place: *mut Self) {
        // SAFETY: the caller's.
        unsafe {
            (&raw mut (*place).system).write_volatile(self.system);
            (&raw mut (*place).user).write_volatile(self.user);
            (&raw mut (*place).usage).write_volatile(self.usage);
        }
    }
}

/// [`EVENT_ENDED`] with what the cgroup had used, descendants included.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The event.
    pub event: Event,
    /// Which of the numbers are known: `ENDED_` constants.
    pub known: u64,
    /// CPU time. In cgroup2 it may lack what cgroups below it used that were removed a moment ago.
    pub cpu: CpuTicks,
    /// The part of it that was not used by cgroups below it (cgroup2).
    pub own_cpu: CpuTicks,
    /// Pages of memory that are still charged.
    pub memory_pages: u64,
    /// The most there were.
    pub memory_peak_pages: u64,
    /// Tasks that are still charged.
    pub tasks: u64,
    /// The most there were; `u64::MAX` if the kernel does not keep it.
    pub tasks_peak: u64,
    /// Path below the root of a v1 hierarchy, ended by a NUL; empty in cgroup2. It has no NUL if
    /// the path is longer.
    pub path: [u8; ENDED_PATH_MAX],
}

/// Bytes for the path of a removed cgroup: half as many as for a new one, because there is an event
/// for each v1 hierarchy.
pub const ENDED_PATH_MAX: usize = 256;

/// [`Ended::known`]: CPU time.
pub const ENDED_CPU: u64 = 1;
/// [`Ended::known`]: memory.
pub const ENDED_MEMORY: u64 = 2;
/// [`Ended::known`]: tasks.
pub const ENDED_PIDS: u64 = 4;

/// A CPU that is not there, instead of the distance to its memory.
pub const NO_CPU: u64 = u64::MAX;

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
/// What a cgroup that is being removed had used (`cgroup_rmdir`). Before [`EVENT_REMOVED`].
pub const EVENT_ENDED: u32 = 9;

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

impl Ended {
    /// Reads a record as it came through the ring; `None` if it is too short.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < size_of::<Self>() {
            return None;
        }
        // SAFETY: long enough; any bytes are a value of a `repr(C)` struct of integers.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }

    /// The path; `None` if it was longer than [`ENDED_PATH_MAX`], or is empty.
    pub fn path(&self) -> Option<&[u8]> {
        // A program writes a mark behind the longest path that fits.
        let end = self.path.iter().position(|byte| *byte == 0)?;
        self.path.get(..end).filter(|path| path.len() < ENDED_PATH_MAX - 1 && !path.is_empty())
    }
}
