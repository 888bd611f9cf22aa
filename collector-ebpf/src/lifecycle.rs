//! Events of cgroups: created, first used, emptied, removed.
//!
//! The tracepoints of cgroups fire under `cgroup_mutex` or `css_set_lock`
//! (`kernel/cgroup/cgroup.c`), so the programs only copy a few words.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{
        bpf_get_current_pid_tgid, bpf_ktime_get_ns, bpf_probe_read_kernel,
        bpf_probe_read_kernel_str_bytes,
    },
    macros::{btf_tracepoint, map},
    maps::{Array, HashMap, RingBuf},
    programs::BtfTracePointContext,
};
use tare_ebpf::{
    ABSENT,
    event::{
        EVENT_ATTACHED, EVENT_EMPTIED, EVENT_EXECUTED, EVENT_LISTENING, EVENT_MADE, EVENT_OOM_KILL,
        EVENT_POPULATED, EVENT_REMOVED, Event, Made, PATH_MAX, RING_BYTES,
    },
};

use crate::{
    slots::add,
    sockets::caller,
    typed::{Typed, layout},
};

#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

/// Events that found no room in the ring.
#[map]
static EVENTS_LOST: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Which first events were already sent of the cgroups that were created since the start. User
/// space sets the size.
#[map]
static FIRSTS: HashMap<u64, u32> = HashMap::with_max_entries(1, 0);

const ATTACHED: u32 = 1;
const EXECUTED: u32 = 2;
const LISTENING: u32 = 4;
const POPULATED: u32 = 8;

/// The reader wakes, even if it has not read what came before, which may have been quiet.
pub(crate) const WAKE: u64 = BPF_RB_FORCE_WAKEUP as u64;

/// The reader finds the event when it wakes for another one, or for a sample. A cgroup in which
/// nothing has run has used nothing, and waking costs who made it more than all else here.
pub(crate) const QUIET: u64 = BPF_RB_NO_WAKEUP as u64;

const TCP_LISTEN: i32 = 10;

#[btf_tracepoint(function = "cgroup_mkdir")]
fn cgroup_mkdir(context: BtfTracePointContext) -> i32 {
    let cgroup = Typed::new(context.arg(0));
    let Some(hierarchy) = watched(cgroup) else { return 0 };
    let id = id(cgroup);
    if hierarchy == layout!(watched_net) {
        // If the table is full, the first events of this cgroup stay unknown.
        let _ = FIRSTS.insert(id, 0u32, 0);
    }
    let parent = cgroup.follow(layout!(cgroup_parent_css)).follow(layout!(css_cgroup));
    let event = Event { parent_id: self::id(parent), ..event(EVENT_MADE, hierarchy, id) };
    let Some(mut entry) = EVENTS.reserve::<Made>(0) else {
        count_lost();
        return 0;
    };
    let made = entry.as_mut_ptr();
    // SAFETY: the record is reserved and as large as its type, and the path is a kernel string.
    unsafe {
        event.write_to(&raw mut (*made).event);
        let path = &mut (*made).path;
        path[0] = 0;
        path[PATH_MAX - 1] = 1;
        let _ = bpf_probe_read_kernel_str_bytes(context.arg::<*const u8>(1), path);
    }
    entry.submit(QUIET);
    0
}

#[btf_tracepoint(function = "cgroup_rmdir")]
fn cgroup_rmdir(context: BtfTracePointContext) -> i32 {
    let cgroup = Typed::new(context.arg(0));
    if let Some(hierarchy) = watched(cgroup) {
        let id = id(cgroup);
        let mut wake = WAKE;
        if hierarchy == layout!(watched_net) {
            if is_unused(id) {
                wake = QUIET;
            }
            let _ = FIRSTS.remove(id);
        }
        send(event(EVENT_REMOVED, hierarchy, id), wake);
    }
    0
}

#[btf_tracepoint(function = "cgroup_notify_populated")]
fn cgroup_notify_populated(context: BtfTracePointContext) -> i32 {
    let cgroup = Typed::new(context.arg(0));
    if let Some(hierarchy) = watched(cgroup) {
        let populated = context.arg::<i32>(2) != 0;
        let id = id(cgroup);
        if populated && hierarchy == layout!(watched_net) {
            let _ = is_first(id, POPULATED);
        }
        let kind = if populated { EVENT_POPULATED } else { EVENT_EMPTIED };
        send(event(kind, hierarchy, id), WAKE);
    }
    0
}

#[btf_tracepoint(function = "cgroup_attach_task")]
fn cgroup_attach_task(context: BtfTracePointContext) -> i32 {
    let cgroup = Typed::new(context.arg(0));
    if let Some(hierarchy) = watched(cgroup)
        && hierarchy == layout!(watched_net)
        && is_first(id(cgroup), ATTACHED)
    {
        let task = Typed::new(context.arg(2));
        let pid = task.load(layout!(task_tgid));
        send(Event { pid, ..event(EVENT_ATTACHED, hierarchy, id(cgroup)) }, WAKE);
    }
    0
}

#[btf_tracepoint(function = "sched_process_exec")]
fn sched_process_exec(context: BtfTracePointContext) -> i32 {
    let id = caller();
    if is_first(id, EXECUTED) {
        let task = Typed::new(context.arg(0));
        let net = task.follow(layout!(task_nsproxy)).follow(layout!(nsproxy_net));
        let event = Event {
            pid: task.load(layout!(task_tgid)),
            namespace: net.load(layout!(net_inum)),
            ..event(EVENT_EXECUTED, layout!(watched_net), id)
        };
        send(event, WAKE);
    }
    0
}

/// `listen(2)` runs in its caller, so the current cgroup is the one that listens.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn first_listen(context: BtfTracePointContext) -> i32 {
    if context.arg::<i32>(2) != TCP_LISTEN {
        return 0;
    }
    let id = caller();
    if is_first(id, LISTENING) {
        let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
        send(Event { pid, ..event(EVENT_LISTENING, layout!(watched_net), id) }, WAKE);
    }
    0
}

/// The current task is the one that asked for memory, which is seldom the victim.
#[btf_tracepoint(function = "mark_victim")]
fn mark_victim(context: BtfTracePointContext) -> i32 {
    let task = Typed::new(context.arg(0));
    let css_set = task.follow(layout!(task_cgroups));
    let cgroup = if layout!(css_set_memory) == ABSENT {
        css_set.follow(layout!(css_set_dfl_cgroup))
    } else {
        css_set.follow(layout!(css_set_memory)).follow(layout!(css_cgroup))
    };
    // SAFETY: reads as many bytes as the field has. A kill without a command is reported too.
    let command = unsafe { bpf_probe_read_kernel(task.at(layout!(task_comm)).cast()) };
    let event = Event {
        pid: task.load(layout!(task_tgid)),
        command: command.unwrap_or([0, 0]),
        ..event(EVENT_OOM_KILL, layout!(watched_net), id(cgroup))
    };
    send(event, WAKE);
    0
}

/// The cgroup's hierarchy, if it is watched.
#[inline(always)]
fn watched(cgroup: Typed) -> Option<u32> {
    let root = cgroup.follow(layout!(cgroup_root));
    let hierarchy: u32 = root.load(layout!(root_hierarchy_id));
    is_watched(hierarchy).then_some(hierarchy)
}

#[inline(always)]
pub(crate) fn is_watched(hierarchy: u32) -> bool {
    hierarchy == layout!(watched_net) || hierarchy == layout!(watched_block)
}

#[inline(always)]
pub(crate) fn id(cgroup: Typed) -> u64 {
    cgroup.follow(layout!(cgroup_kn)).load(layout!(kn_id))
}

#[inline(always)]
pub(crate) fn event(kind: u32, hierarchy: u32, cgroup_id: u64) -> Event {
    Event {
        kind,
        hierarchy,
        cgroup_id,
        parent_id: 0,
        // SAFETY: takes no argument.
        at_nanoseconds: unsafe { bpf_ktime_get_ns() },
        pid: 0,
        namespace: 0,
        command: [0, 0],
    }
}

/// Whether no process was ever in a cgroup, as far as the table has it.
#[inline(always)]
fn is_unused(cgroup_id: u64) -> bool {
    // SAFETY: a number, read whole.
    FIRSTS.get_ptr(cgroup_id).is_some_and(|sent| unsafe { *sent } == 0)
}

/// Whether this is the first time that `what` happens in a cgroup that is in the table. Two CPUs
/// may both be first; the reader takes the earlier event.
#[inline(always)]
fn is_first(cgroup_id: u64, what: u32) -> bool {
    let Some(sent) = FIRSTS.get_ptr_mut(cgroup_id) else { return false };
    // SAFETY: the map gave the pointer.
    unsafe {
        if *sent & what != 0 {
            return false;
        }
        *sent |= what;
    }
    true
}

#[inline(always)]
fn send(event: Event, wake: u64) {
    match EVENTS.reserve::<Event>(0) {
        Some(mut entry) => {
            // SAFETY: the record is reserved, as large as its type, and aligned to 8 bytes.
            unsafe { event.write_to(entry.as_mut_ptr()) };
            entry.submit(wake);
        }
        None => count_lost(),
    }
}

#[inline(always)]
pub(crate) fn count_lost() {
    if let Some(lost) = EVENTS_LOST.get_ptr_mut(0) {
        add(lost, 1);
    }
}
