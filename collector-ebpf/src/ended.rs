//! What a cgroup had used when it was removed, taken by the kernel's side itself: user space may be
//! too late for the files.
//!
//! `cgroup_rmdir` fires under `cgroup_mutex`, after the last task has left the cgroup and before
//! its controllers are taken offline (`kernel/cgroup/cgroup.c`, `cgroup_rmdir`,
//! `css_killed_work_fn`), so all counters are still in reach.

use core::mem::MaybeUninit;

use aya_ebpf::{
    helpers::{bpf_probe_read_kernel_str_bytes, generated::bpf_probe_read_kernel},
    macros::{btf_tracepoint, map},
    maps::Array,
    programs::BtfTracePointContext,
};
use tare_ebpf::{
    ABSENT,
    event::{
        CpuTicks, ENDED_CPU, ENDED_MEMORY, ENDED_PATH_MAX, ENDED_PIDS, EVENT_ENDED, Ended, NO_CPU,
        NO_HIERARCHY,
    },
};

use crate::{
    lifecycle::{EVENTS, QUIET, WAKE, count_lost, event, id, is_watched},
    typed::{Typed, layout},
};

/// By CPU: what is added to a per-CPU pointer to get its copy; [`NO_CPU`] if there is no such CPU.
/// User space sets the size and fills it (`per_cpu.rs`).
#[map]
static CPU_OFFSETS: Array<u64> = Array::with_max_entries(1, 0);

/// Reports what a removed cgroup of one of the hierarchies with the CPU, memory or pids counters
/// had used, descendants included.
#[btf_tracepoint(function = "cgroup_rmdir")]
fn cgroup_ended(context: BtfTracePointContext) -> i32 {
    let cgroup = Typed::new(context.arg(0));
    let hierarchy: u32 = cgroup.follow(layout!(cgroup_root)).load(layout!(root_hierarchy_id));
    if hierarchy != layout!(ended_cpu)
        && hierarchy != layout!(ended_memory)
        && hierarchy != layout!(ended_pids)
    {
        return 0;
    }
    let Some(mut entry) = EVENTS.reserve::<Ended>(0) else {
        count_lost();
        return 0;
    };
    let ended = entry.as_mut_ptr();
    // SAFETY: the record is reserved and as large as its type, and the path is a kernel string.
    unsafe {
        event(EVENT_ENDED, hierarchy, id(cgroup)).write_to(&raw mut (*ended).event);
        (&raw mut (*ended).known).write_volatile(0);
        if layout!(ended_cpu) != NO_HIERARCHY && hierarchy == layout!(ended_cpu) {
            let found = if layout!(ended_cpu) == 0 { unified(cgroup) } else { legacy(cgroup) };
            if let Some((whole, own)) = found {
                whole.write_to(&raw mut (*ended).cpu);
                own.write_to(&raw mut (*ended).own_cpu);
                note(ended, ENDED_CPU);
            }
        }
        if layout!(ended_memory) != NO_HIERARCHY && hierarchy == layout!(ended_memory) {
            let memory = read::<u64>(cgroup.at(layout!(cgroup_memory)) as u64, 0);
            if let Some((usage, peak)) = memory.and_then(|css| {
                Some((field(css, layout!(memory_usage))?, field(css, layout!(memory_peak))?))
            }) {
                (&raw mut (*ended).memory_pages).write_volatile(usage);
                (&raw mut (*ended).memory_peak_pages).write_volatile(peak);
                note(ended, ENDED_MEMORY);
            }
        }
        if layout!(ended_pids) != NO_HIERARCHY && hierarchy == layout!(ended_pids) {
            let pids = read::<u64>(cgroup.at(layout!(cgroup_pids)) as u64, 0);
            if let Some((tasks, peak)) = pids.and_then(|css| {
                Some((field(css, layout!(pids_tasks))?, field(css, layout!(pids_peak))?))
            }) {
                (&raw mut (*ended).tasks).write_volatile(tasks);
                (&raw mut (*ended).tasks_peak).write_volatile(peak);
                note(ended, ENDED_PIDS);
            }
        }
        // In cgroup2 the id is enough.
        let path = &mut (*ended).path;
        path[0] = 0;
        path[ENDED_PATH_MAX - 1] = 1;
        if hierarchy != 0 {
            let _ = bpf_probe_read_kernel_str_bytes(context.arg::<*const u8>(1), path);
        }
    }
    // Where removals are reported, the report that follows decides whether the reader wakes.
    entry.submit(if is_watched(hierarchy) { QUIET } else { WAKE });
    0
}

/// CPU time of a cgroup of cgroup2: with all descendants, and its own (`kernel/cgroup/rstat.c`,
/// `cgroup_base_stat_flush`).
///
/// Each CPU counts for itself. Now and then the kernel adds up what is new, and passes it on to the
/// parents: so what was not added up yet is added here. What removed descendants have not passed on
/// is missing in the first, and in no own count of theirs.
#[inline(always)]
fn unified(cgroup: Typed) -> Option<(CpuTicks, CpuTicks)> {
    // First: what the kernel adds up meanwhile is rather left out than counted twice.
    let mut whole: CpuTicks = read(cgroup.at(layout!(cgroup_cpu)) as u64, 0)?;
    let counts: u64 = read(cgroup.at(layout!(cgroup_per_cpu)) as u64, 0)?;
    let mut own = CpuTicks::default();
    let mut cpu = 0;
    while cpu < layout!(cpus) {
        if let Some(copy) = copy_of(cpu, counts) {
            let all: CpuTicks = read(copy, layout!(per_cpu_counted))?;
            let added: CpuTicks = read(copy, layout!(per_cpu_added))?;
            own.add(&all);
            whole.add(&all);
            whole.subtract(&added);
        }
        cpu += 1;
    }
    Some((whole, own))
}

/// The same in the v1 hierarchy of `cpuacct`, where each CPU counts for all parents at once
/// (`kernel/sched/cpuacct.c`).
#[inline(always)]
fn legacy(cgroup: Typed) -> Option<(CpuTicks, CpuTicks)> {
    let css: u64 = read(cgroup.at(layout!(cgroup_cpuacct)) as u64, 0)?;
    let usage: u64 = field(css, layout!(cpuacct_usage))?;
    let times: u64 = field(css, layout!(cpuacct_times))?;
    let mut whole = CpuTicks::default();
    let mut cpu = 0;
    while cpu < layout!(cpus) {
        if let Some(copy) = copy_of(cpu, usage) {
            whole.usage = whole.usage.wrapping_add(read(copy, 0)?);
            // User mode and kernel apart, before Linux 5.18.
            if layout!(cpuacct_usage_words) == 2 {
                whole.usage = whole.usage.wrapping_add(read(copy, 8)?);
            }
        }
        if let Some(copy) = copy_of(cpu, times) {
            let [user, nice, system, soft_interrupts, interrupts]: [u64; 5] = read(copy, 0)?;
            whole.user = whole.user.wrapping_add(user).wrapping_add(nice);
            whole.system = whole.system.wrapping_add(system);
            whole.system = whole.system.wrapping_add(soft_interrupts).wrapping_add(interrupts);
        }
        cpu += 1;
    }
    Some((whole, whole))
}

/// A CPU's copy of per-CPU memory; `None` if there is no such CPU.
#[inline(always)]
fn copy_of(cpu: u32, common: u64) -> Option<u64> {
    let offset = *CPU_OFFSETS.get(cpu)?;
    (offset != NO_CPU).then_some(common.wrapping_add(offset))
}

#[inline(always)]
unsafe fn note(ended: *mut Ended, known: u64) {
    // SAFETY: the caller's record.
    unsafe {
        let place = &raw mut (*ended).known;
        place.write_volatile(place.read_volatile() | known);
    }
}

/// A field of the controller's struct, of which the css is the first member; `None` if the
/// controller is not enabled. `u64::MAX` if this kernel has no such field.
#[inline(always)]
fn field(css: u64, offset: u32) -> Option<u64> {
    if css == 0 {
        None
    } else if offset == ABSENT {
        Some(u64::MAX)
    } else {
        read(css, offset)
    }
}

/// Copies kernel memory.
#[inline(always)]
fn read<T: Copy>(address: u64, offset: u32) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes all of the value, zeroes if it fails.
    unsafe {
        let error = bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address.wrapping_add(u64::from(offset)) as *const _,
        );
        (error == 0).then_some(value.assume_init())
    }
}
