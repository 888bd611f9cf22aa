//! Tasks: a pass over those that exist, and the times of those that are gone.
//!
//! A task is in exactly one of the two: `sched_process_free` fires after it has left the list that
//! the pass goes over (`kernel/exit.c`, `release_task`, `delayed_put_task_struct`), and after its
//! last turn on a CPU. In between, for some milliseconds, it is in none.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::{btf_tracepoint, map},
    maps::Array,
    programs::BtfTracePointContext,
};
use tare_ebpf::{ABSENT, BLOCKED_MAX, BlockedTask, Cell, Key, LiveTasks, TaskPass, TaskTimes};

use crate::{
    slots::{add, task_cell, task_slot},
    typed::{Typed, layout},
};

/// The last pass.
#[map]
static TASK_PASS: Array<TaskPass> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// By slot: what the last pass found. User space sets the size.
#[map]
static TASK_LIVE: Array<LiveTasks> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The first tasks in uninterruptible sleep that the last pass found.
#[map]
static TASK_BLOCKED: Array<BlockedTask> = Array::with_max_entries(BLOCKED_MAX, BPF_F_MMAPABLE);

// `include/linux/sched.h`; the same values since Linux 4.14, as far as a kernel has them.
const TASK_INTERRUPTIBLE: u32 = 0x1;
const TASK_UNINTERRUPTIBLE: u32 = 0x2;
const TASK_STOPPED: u32 = 0x4;
const TASK_TRACED: u32 = 0x8;
const EXIT_DEAD: u32 = 0x10;
const EXIT_ZOMBIE: u32 = 0x20;
const TASK_PARKED: u32 = 0x40;
const TASK_DEAD: u32 = 0x80;
const TASK_NOLOAD: u32 = 0x400;
/// Linux 5.16: a lock that became a sleeping one.
const TASK_RTLOCK_WAIT: u32 = 0x1000;
/// Linux 6.1.
const TASK_FROZEN: u32 = 0x8000;
/// With none of these a task runs or is ready to.
const ASLEEP: u32 = TASK_INTERRUPTIBLE
    | TASK_UNINTERRUPTIBLE
    | TASK_STOPPED
    | TASK_TRACED
    | TASK_PARKED
    | TASK_RTLOCK_WAIT
    | TASK_FROZEN;

/// Counts one task of a pass over all. `iter/task` is there since Linux 5.8; it shows the tasks of
/// the reader's PID namespace.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
fn count_task(context: *mut core::ffi::c_void) -> i32 {
    let context = Typed::new(context.cast());
    let Some(pass) = TASK_PASS.get_ptr_mut(0) else { return 0 };
    // `bpf_iter__task.task`; the last call is without one.
    let task: *const u8 = context.load(8);
    // SAFETY: the map gave the pointer, and there is one reader at a time.
    unsafe {
        if task.is_null() {
            (*pass).ended = (*pass).begun;
            return 0;
        }
        if context.follow(0).load::<u64>(layout!(iter_number)) == 0 {
            let begun = (*pass).begun + 1;
            clear(pass);
            (*pass).begun = begun;
            (*pass).ended = begun - 1;
        }
        (*pass).tasks += 1;
    }
    count(Typed::new(task), pass);
    0
}

/// Keeps the times of a task that is gone.
#[btf_tracepoint(function = "sched_process_free")]
fn task_freed(context: BtfTracePointContext) -> i32 {
    let task = Typed::new(context.arg(0));
    let Some(cell) = task_cell(task_slot(&Key::cgroup(cgroup_of(task)))) else { return 0 };
    let times = times(task);
    // SAFETY: the map gave the pointer.
    unsafe {
        add(&raw mut (*cell).run_nanoseconds, times.run_nanoseconds);
        add(&raw mut (*cell).wait_nanoseconds, times.wait_nanoseconds);
        add(&raw mut (*cell).periods, times.periods);
    }
    0
}

#[inline(always)]
fn count(task: Typed, pass: *mut TaskPass) {
    let cgroup_id = cgroup_of(task);
    let Some(live) = TASK_LIVE.get_ptr_mut(task_slot(&Key::cgroup(cgroup_id))) else { return };
    // SAFETY: the map gave the pointers, and there is one reader at a time.
    let (live, pass) = unsafe { (&mut *live, &mut *pass) };
    if live.pass != pass.begun {
        clear(&raw mut *live);
        live.pass = pass.begun;
    }
    let times = times(task);
    live.times.run_nanoseconds += times.run_nanoseconds;
    live.times.wait_nanoseconds += times.wait_nanoseconds;
    live.times.periods += times.periods;
    let last_run: u64 = task.load(layout!(task_last_run));
    if last_run > pass.latest {
        pass.latest = last_run;
    }
    let exit_state: u32 = task.load(layout!(task_exit_state));
    let tgid: u32 = task.load(layout!(task_tgid));
    let tid: u32 = task.load(layout!(task_pid));
    let is_leader = tgid == tid;
    if exit_state & EXIT_ZOMBIE != 0 {
        live.zombies += 1;
        // A process whose first thread has ended and others have not.
        if is_leader && task.follow(layout!(task_signal)).load::<u32>(layout!(signal_live)) != 0 {
            live.processes += 1;
        }
        return;
    }
    let state: u32 = task.load(layout!(task_state));
    if exit_state & EXIT_DEAD != 0 || state & TASK_DEAD != 0 {
        return;
    }
    live.threads += 1;
    count_state(task, state, live);
    if state_is_blocked(state) {
        let is_io = is_in_io_wait(task);
        live.io_wait += u64::from(is_io);
        if let Some(entry) = TASK_BLOCKED.get_ptr_mut(pass.blocked as u32) {
            let ids = u64::from(tgid) << 32 | u64::from(tid);
            // SAFETY: the map gave the pointer.
            unsafe {
                *entry = BlockedTask { cgroup_id, ids, last_run, io_wait: u64::from(is_io) };
            }
        }
        pass.blocked += 1;
    }
    if is_leader {
        live.processes += 1;
    }
}

/// As `/proc/PID/stat` names them (`fs/proc/array.c`, `task_state_array`).
#[inline(always)]
fn count_state(task: Typed, state: u32, live: &mut LiveTasks) {
    if state & ASLEEP == 0 {
        if task.load::<u8>(layout!(task_on_cpu)) != 0 {
            live.running += 1;
        } else {
            live.runnable += 1;
        }
        live.load += 1;
    } else if state_is_blocked(state) {
        live.uninterruptible += 1;
        live.load += u64::from(state & TASK_FROZEN == 0);
    } else if state & (TASK_STOPPED | TASK_TRACED) != 0 {
        live.stopped += 1;
    } else {
        live.sleeping += 1;
    }
}

/// Idle threads of the kernel sleep without load.
#[inline(always)]
fn state_is_blocked(state: u32) -> bool {
    state & (TASK_UNINTERRUPTIBLE | TASK_RTLOCK_WAIT | TASK_FROZEN) != 0
        && state & (TASK_NOLOAD | TASK_INTERRUPTIBLE | TASK_PARKED) == 0
}

#[inline(always)]
fn is_in_io_wait(task: Typed) -> bool {
    layout!(task_io_wait) != ABSENT
        && task.load::<u8>(layout!(task_io_wait)) & layout!(io_wait_mask) as u8 != 0
}

/// Sets all words of a cell to 0, without a call of `memset`.
#[inline(always)]
pub(crate) fn clear<C: Cell>(cell: *mut C) {
    for word in 0..C::WORDS {
        // SAFETY: the map gave the pointer to so many words.
        unsafe { cell.cast::<u64>().add(word).write_volatile(0) };
    }
}

#[inline(always)]
fn times(task: Typed) -> TaskTimes {
    TaskTimes {
        run_nanoseconds: task.load(layout!(task_run_time)),
        wait_nanoseconds: task.load(layout!(task_run_delay)),
        periods: task.load(layout!(task_run_count)),
    }
}

/// Id of a task's cgroup, in the hierarchy that counts sockets.
#[inline(always)]
pub(crate) fn cgroup_of(task: Typed) -> u64 {
    let set = task.follow(layout!(task_cgroups));
    let cgroup = if layout!(css_set_memory) == ABSENT {
        set.follow(layout!(css_set_dfl_cgroup))
    } else {
        set.follow(layout!(css_set_memory)).follow(layout!(css_cgroup))
    };
    cgroup.follow(layout!(cgroup_kn)).load(layout!(kn_id))
}
