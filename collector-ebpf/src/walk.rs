//! Walks over all cgroups of a hierarchy, each of which becomes a record in a mapped array.
//!
//! These programs are not loaded like the others: user space takes their instructions, replaces
//! the constants, the map and the calls of the kernel's functions in them ([`Holes`]), and loads
//! one copy for each hierarchy. So they use no map and no global of this object.

use core::{
    arch::asm,
    ffi::c_void,
    mem::{MaybeUninit, offset_of, transmute},
};

use aya_ebpf::helpers::generated::{
    bpf_get_current_task_btf, bpf_ktime_get_ns, bpf_map_lookup_elem, bpf_map_lookup_percpu_elem,
    bpf_probe_read_kernel,
};
use tare_ebpf::walk_record::{
    HOLE_COPIES, HOLE_FIRST, HOLE_MARK, HOLE_PER_CPU, HOLE_RECORDS, Holes, KFUNC_BASE, bandwidth,
    base, cpu, freezer, header, memory, per_cpu, pids, pressure,
};

type Pointer = *const u8;

/// An iterator of the kernel's (`struct bpf_iter_css`, `kernel/bpf/cgroup_iter.c`).
type Iterator = [u64; 3];

/// `BPF_CGROUP_ITER_DESCENDANTS_PRE`: a parent comes before its children.
const PARENTS_FIRST: u32 = 2;

const ABSENT: u64 = tare_ebpf::ABSENT as u64;

/// A constant that user space puts into the instructions.
macro_rules! hole {
    ($name:ident) => {{
        const MARK: u64 = (HOLE_MARK as u64) << 32
            | (HOLE_FIRST as u64 + offset_of!(Holes, $name) as u64 / 4);
        let value: u64;
        // SAFETY: loads an immediate and does nothing else.
        #[allow(unused_unsafe)]
        unsafe {
            asm!("{0} = {1} ll", out(reg) value, const MARK, options(pure, nomem, nostack));
        }
        value
    }};
}

/// A map that user space puts into the instructions.
macro_rules! map {
    ($name:ident) => {{
        const MARK: u64 = (HOLE_MARK as u64) << 32 | $name as u64;
        let map: *mut c_void;
        // SAFETY: loads an immediate and does nothing else.
        #[allow(unused_unsafe)]
        unsafe {
            asm!("{0} = {1} ll", out(reg) map, const MARK, options(pure, nomem, nostack));
        }
        map
    }};
}

macro_rules! kfuncs {
    ($($index:literal $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {$(
        #[inline(always)]
        unsafe fn $name($($argument: $type),*) $(-> $result)? {
            // SAFETY: user space makes this the call of a function of the kernel's.
            unsafe {
                let function: unsafe extern "C" fn($($type),*) $(-> $result)? =
                    transmute(KFUNC_BASE as usize + $index);
                function($($argument),*)
            }
        }
    )*};
}

// In the order of `KFUNCS`.
kfuncs! {
    0 css_new(iterator: *mut Iterator, css: Pointer, order: u32) -> i32;
    1 css_next(iterator: *mut Iterator) -> Pointer;
    2 css_destroy(iterator: *mut Iterator);
    3 rcu_lock();
    4 rcu_unlock();
    5 ancestor(cgroup: Pointer, level: i32) -> Pointer;
    6 cgroup_release(cgroup: Pointer);
    7 task_cgroup1(task: Pointer, hierarchy: i32) -> Pointer;
    8 rdonly_cast(pointer: Pointer, type_id: u32) -> Pointer;
    9 css_flush(css: Pointer);
    10 cgroup_flush(cgroup: Pointer);
}

/// All cgroups of the hierarchy that the caller is in. Sleepable, for the flush.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter.s/walk_css")]
fn walk_css(context: *mut c_void) -> i32 {
    // `bpf_iter__task.task`; the last call is without one.
    if load::<Pointer>(context as Pointer, 8).is_null() {
        return 0;
    }
    let header = entry(0);
    if header.is_null() {
        return 0;
    }
    begin(header);
    // SAFETY: the kernel's functions, as the verifier wants them: what is acquired is released.
    unsafe {
        let root = root();
        if root.is_null() {
            put(header, header::OUTCOME, header::NO_ROOT);
            return 0;
        }
        if hole!(flush) == 1 {
            // `self`, a css, is a cgroup's first member.
            css_flush(root);
        }
        if hole!(flush) == 2 {
            cgroup_flush(root);
        }
        note_root(header, root);
        let mut iterator = MaybeUninit::<Iterator>::uninit();
        rcu_lock();
        css_new(iterator.as_mut_ptr(), root, PARENTS_FIRST);
        loop {
            let css = css_next(iterator.as_mut_ptr());
            if css.is_null() {
                break;
            }
            emit::<true>(follow(css, hole!(css_cgroup)), header);
        }
        css_destroy(iterator.as_mut_ptr());
        rcu_unlock();
        cgroup_release(root);
    }
    end(header);
    0
}

/// One cgroup of those below the directory that the link names: for kernels without the iterator
/// above. The kernel holds `cgroup_mutex` from the first to the last (`kernel/bpf/cgroup_iter.c`).
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter.s/walk_cgroups")]
fn walk_cgroups(context: *mut c_void) -> i32 {
    let header = entry(0);
    if header.is_null() {
        return 0;
    }
    // `bpf_iter__cgroup.cgroup`; the last call is without one.
    let cgroup = load::<Pointer>(context as Pointer, 8);
    if cgroup.is_null() {
        end(header);
        return 0;
    }
    if load::<u64>(load(context as Pointer, 0), hole!(seq_num)) == 0 {
        begin(header);
        // SAFETY: the program may sleep, and the cgroup cannot go while it runs.
        unsafe {
            if hole!(flush) == 1 {
                css_flush(cgroup);
            }
            if hole!(flush) == 2 {
                cgroup_flush(cgroup);
            }
        }
        note_root(header, cgroup);
    }
    emit::<false>(cgroup, header);
    0
}

/// Finds what is added to a per-CPU pointer of the kernel's to get the copy of each CPU.
///
/// The kernel's own table of that has no type that programs may read. But an array of which each
/// CPU has a copy has both: a per-CPU pointer (`struct bpf_array`, `pptrs`), and the address of a
/// copy by a helper (Linux 5.19).
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter.s/per_cpu")]
fn find_per_cpu(context: *mut c_void) -> i32 {
    if load::<Pointer>(context as Pointer, 8).is_null() {
        return 0;
    }
    let out = first_entry(map!(HOLE_PER_CPU));
    if out.is_null() {
        return 0;
    }
    // Through the map's memory, addresses become plain numbers.
    put(out, per_cpu::STATE, map!(HOLE_COPIES) as u64);
    let array = get(out, per_cpu::STATE) as Pointer;
    let mut failed = 0;
    let pointer: u64 = far::<false, u64>(array, hole!(array_copies), &mut failed);
    if failed != 0 {
        return 0;
    }
    let mut index = 0;
    while index < hole!(cpus) {
        let key = 0u32;
        // SAFETY: the map has this key.
        let copy = unsafe {
            bpf_map_lookup_percpu_elem(map!(HOLE_COPIES), (&raw const key).cast(), index as u32)
        };
        if copy.is_null() {
            return 0;
        }
        put(out, per_cpu::STATE, copy as u64);
        let base = get(out, per_cpu::STATE).wrapping_sub(pointer);
        put(out, per_cpu::BASES + index as usize, base);
        index += 1;
    }
    put(out, per_cpu::STATE, per_cpu::FOUND);
    0
}

/// The root of the hierarchy, held; null if it is not there.
#[inline(always)]
unsafe fn root() -> Pointer {
    // SAFETY: as in `walk_css`.
    unsafe {
        let task = bpf_get_current_task_btf() as Pointer;
        rcu_lock();
        if hole!(hierarchy) == 0 {
            let own = follow(follow(task, hole!(task_cgroups)), hole!(set_unified));
            let root = if own.is_null() { core::ptr::null() } else { ancestor(own, 0) };
            rcu_unlock();
            return root;
        }
        let own = task_cgroup1(task, hole!(hierarchy) as i32);
        rcu_unlock();
        if own.is_null() {
            return core::ptr::null();
        }
        let root = ancestor(own, 0);
        cgroup_release(own);
        root
    }
}

#[inline(always)]
fn begin(header: *mut u64) {
    put(header, header::WRITTEN, 0);
    put(header, header::FOUND, 0);
    put(header, header::DYING, 0);
    put(header, header::OUTCOME, header::BEGUN);
}

#[inline(always)]
fn note_root(header: *mut u64, root: Pointer) {
    let flags = load::<u32>(follow(root, hole!(cgroup_root)), hole!(root_flags));
    put(header, header::ROOT_FLAGS, u64::from(flags));
    // SAFETY: takes no argument.
    put(header, header::STARTED, unsafe { bpf_ktime_get_ns() });
    let clock = if hole!(rq_clock) == ABSENT {
        0
    } else {
        // SAFETY: takes no argument.
        let task = unsafe { bpf_get_current_task_btf() } as Pointer;
        load(follow(follow(task, hole!(task_queue)), hole!(queue_rq)), hole!(rq_clock))
    };
    put(header, header::CLOCK, clock);
}

#[inline(always)]
fn end(header: *mut u64) {
    // SAFETY: takes no argument.
    put(header, header::ENDED, unsafe { bpf_ktime_get_ns() });
    put(header, header::OUTCOME, header::DONE);
}

/// Counts a cgroup, and records it if it has not been removed and there is room.
///
/// The counts are in the map and not in registers, or the verifier would follow each of them.
#[inline(always)]
fn emit<const CAST: bool>(cgroup: Pointer, header: *mut u64) {
    if u64::from(load::<u32>(cgroup, hole!(cgroup_self_flags))) & hole!(css_online) == 0 {
        put(header, header::DYING, get(header, header::DYING) + 1);
        return;
    }
    put(header, header::FOUND, get(header, header::FOUND) + 1);
    let written = get(header, header::WRITTEN) + 1;
    let record = entry(written as u32);
    if record.is_null() {
        return;
    }
    put(header, header::WRITTEN, written);
    collect::<CAST>(cgroup, record);
}

/// Writes the fields of a kernel's struct that it has into words of a record.
macro_rules! copy {
    ($record:expr, $failed:ident, $from:expr; $($word:expr => $hole:ident: $type:ty,)*) => {$(
        if hole!($hole) != ABSENT {
            let value = far::<CAST, $type>($from, hole!($hole), &mut $failed);
            put($record, $word, value as u64);
        }
    )*};
}

#[inline(always)]
fn collect<const CAST: bool>(cgroup: Pointer, record: *mut u64) {
    put(record, base::FLAGS, u64::from(load::<u32>(cgroup, hole!(cgroup_level))) << 32);
    let mut failed = 0;
    put(record, base::ID, id(cgroup));
    put(record, base::SERIAL, load(cgroup, hole!(cgroup_serial)));
    let parent = follow(cgroup, hole!(cgroup_parent_css));
    let parent = if parent.is_null() { 0 } else { id(follow(parent, hole!(css_cgroup))) };
    put(record, base::PARENT_ID, parent);
    if hole!(descendants) != ABSENT {
        let alive = u64::from(load::<u32>(cgroup, hole!(descendants)));
        let dying = u64::from(load::<u32>(cgroup, hole!(dying_descendants)));
        put(record, base::DESCENDANTS, dying << 32 | alive);
    }
    if hole!(populated_csets) != ABSENT {
        let tasks = load::<u32>(cgroup, hole!(populated_csets))
            | load::<u32>(cgroup, hole!(populated_domains))
            | load::<u32>(cgroup, hole!(populated_threaded));
        if tasks != 0 {
            flag(record, base::POPULATED);
        }
    }
    if hole!(frozen_bit) != ABSENT
        && load::<u64>(cgroup, hole!(cgroup_flags)) >> hole!(frozen_bit) & 1 != 0
    {
        flag(record, base::FROZEN);
    }
    if hole!(at_cpu) != ABSENT && hole!(cpus) != ABSENT {
        let css = follow(cgroup, hole!(subsys_cpuacct));
        if !css.is_null() {
            let section = at(record, hole!(at_cpu));
            add_cpus::<CAST>(cast::<CAST>(css, hole!(type_cpuacct)), section, &mut failed);
            put(section, cpu::SHOWN_USER, load(cgroup, hole!(cpu_shown_user)));
            put(section, cpu::SHOWN_SYSTEM, load(cgroup, hole!(cpu_shown_system)));
            flag(record, base::HAS_CPUACCT);
        }
    }
    if hole!(at_cpu) != ABSENT && hole!(cpus) == ABSENT {
        let section = at(record, hole!(at_cpu));
        put(section, cpu::USAGE, load(cgroup, hole!(cpu_usage)));
        put(section, cpu::USER, load(cgroup, hole!(cpu_user)));
        put(section, cpu::SYSTEM, load(cgroup, hole!(cpu_system)));
        put(section, cpu::SHOWN_USER, load(cgroup, hole!(cpu_shown_user)));
        put(section, cpu::SHOWN_SYSTEM, load(cgroup, hole!(cpu_shown_system)));
    }
    if hole!(at_bandwidth) != ABSENT {
        let css = follow(cgroup, hole!(subsys_cpu));
        if !css.is_null() {
            flag(record, base::HAS_BANDWIDTH);
            let group = cast::<CAST>(css, hole!(type_task_group));
            copy! { at(record, hole!(at_bandwidth)), failed, group;
                bandwidth::PERIODS => periods: u32,
                bandwidth::THROTTLED => throttled: u32,
                bandwidth::THROTTLED_TIME => throttled_time: u64,
                bandwidth::BURSTS => bursts: u32,
                bandwidth::BURST_TIME => burst_time: u64,
                bandwidth::QUOTA => quota: u64,
                bandwidth::PERIOD => period: u64,
                bandwidth::BURST => burst: u64,
                bandwidth::SHARES => shares: u64,
            }
        }
    }
    if hole!(at_memory) != ABSENT {
        let css = follow(cgroup, hole!(subsys_memory));
        if !css.is_null() {
            flag(record, base::HAS_MEMORY);
            let group = cast::<CAST>(css, hole!(type_mem_cgroup));
            let section = at(record, hole!(at_memory));
            copy! { section, failed, group;
                memory::USAGE => memory_usage: u64,
                memory::PEAK => memory_peak: u64,
                memory::FAILURES => memory_failures: u64,
                memory::MAX => memory_max: u64,
                memory::HIGH => memory_high: u64,
                memory::LOW => memory_low: u64,
                memory::MIN => memory_min: u64,
                memory::SOFT => memory_soft: u64,
                memory::SWAP_USAGE => swap_usage: u64,
                memory::SWAP_PEAK => swap_peak: u64,
                memory::SWAP_FAILURES => swap_failures: u64,
                memory::SWAP_MAX => swap_max: u64,
                memory::SWAP_HIGH => swap_high: u64,
                memory::UNDER_OOM => under_oom: u32,
                memory::EVENT_LOW => event_low: u64,
                memory::EVENT_HIGH => event_high: u64,
                memory::EVENT_MAX => event_max: u64,
                memory::EVENT_OOM => event_oom: u64,
                memory::EVENT_OOM_KILL => event_oom_kill: u64,
                memory::EVENT_OOM_GROUP_KILL => event_oom_group_kill: u64,
                memory::LOCAL_LOW => local_low: u64,
                memory::LOCAL_HIGH => local_high: u64,
                memory::LOCAL_MAX => local_max: u64,
                memory::LOCAL_OOM => local_oom: u64,
                memory::LOCAL_OOM_KILL => local_oom_kill: u64,
                memory::LOCAL_OOM_GROUP_KILL => local_oom_group_kill: u64,
            }
            if hole!(at_stat) != ABSENT {
                let stats: Pointer = far::<CAST, Pointer>(group, hole!(vmstats), &mut failed);
                // SAFETY: the record has room for so many bytes, which the verifier checks.
                let error = unsafe {
                    bpf_probe_read_kernel(
                        at(record, hole!(at_stat)).cast(),
                        hole!(stat_bytes) as u32,
                        stats.wrapping_add(hole!(stat_from) as usize).cast(),
                    )
                };
                if error == 0 {
                    flag(record, base::HAS_STAT);
                }
            }
        }
    }
    if hole!(at_pids) != ABSENT {
        let css = follow(cgroup, hole!(subsys_pids));
        if !css.is_null() {
            flag(record, base::HAS_PIDS);
            let group = cast::<CAST>(css, hole!(type_pids_cgroup));
            copy! { at(record, hole!(at_pids)), failed, group;
                pids::CURRENT => pids_current: u64,
                pids::LIMIT => pids_limit: u64,
                pids::PEAK => pids_peak: u64,
                pids::MAX_HITS => pids_max_hits: u64,
                pids::FORK_FAILURES => pids_fork_failures: u64,
            }
        }
    }
    if hole!(at_freezer) != ABSENT {
        let css = follow(cgroup, hole!(subsys_freezer));
        if !css.is_null() {
            flag(record, base::HAS_FREEZER);
            let group = cast::<CAST>(css, hole!(type_freezer));
            copy! { at(record, hole!(at_freezer)), failed, group;
                freezer::STATE => freezer_state: u32,
            }
        }
    }
    if hole!(at_pressure) != ABSENT {
        let group = follow(cgroup, hole!(cgroup_psi));
        if !group.is_null()
            && (hole!(psi_enabled) == ABSENT || load::<u8>(group, hole!(psi_enabled)) != 0)
        {
            flag(record, base::HAS_PRESSURE);
            let section = at(record, hole!(at_pressure));
            macro_rules! words {
                ($($kind:literal)*) => {$(
                    let total = load(group, hole!(psi_totals) + $kind * 8);
                    put(section, pressure::TOTALS + $kind, total);
                    let average = pressure::AVERAGES + $kind * 3;
                    put(section, average, load(group, hole!(psi_averages) + $kind * 24));
                    put(section, average + 1, load(group, hole!(psi_averages) + $kind * 24 + 8));
                    put(section, average + 2, load(group, hole!(psi_averages) + $kind * 24 + 16));
                )*};
            }
            words!(0 1 2 3 4 5);
            put(section, pressure::NEXT_UPDATE, load(group, hole!(psi_next_update)));
        }
    }
    if failed != 0 {
        flag(record, base::FAILED);
    }
}

/// Adds up what each CPU has counted of a v1 cgroup (`kernel/sched/cpuacct.c`,
/// `cpuacct_stats_show`).
#[inline(always)]
fn add_cpus<const CAST: bool>(accounting: Pointer, section: *mut u64, failed: &mut i64) {
    /// `CPUTIME_USER`, `_NICE`, `_SYSTEM`, `_SOFTIRQ`, `_IRQ` (`enum cpu_usage_stat`).
    type Times = [u64; 5];
    let bases = first_entry(map!(HOLE_PER_CPU));
    if bases.is_null() {
        *failed = -1;
        return;
    }
    let usages: Pointer = far::<CAST, Pointer>(accounting, hole!(cpuacct_usage), failed);
    let stats: Pointer = far::<CAST, Pointer>(accounting, hole!(cpuacct_stat), failed);
    // Through the map's memory, a pointer that the verifier knows becomes a plain number.
    put(section, cpu::SYSTEM, stats as u64);
    let stats = get(section, cpu::SYSTEM) as Pointer;
    let (mut usage, mut user, mut system) = (0u64, 0u64, 0u64);
    let mut index = 0;
    while index < hole!(cpus) {
        let copy = get(bases, per_cpu::BASES + index as usize);
        let times: Times = far::<false, Times>(stats, copy, failed);
        user += times[0] + times[1];
        system += times[2] + times[3] + times[4];
        usage += far::<false, u64>(usages, copy, failed);
        index += 1;
    }
    put(section, cpu::USAGE, usage);
    put(section, cpu::USER, user);
    put(section, cpu::SYSTEM, system);
}

/// Sets a flag of a record. In the map and not in a register, whose every value the verifier would
/// follow on its own.
#[inline(always)]
fn flag(record: *mut u64, bit: u64) {
    put(record, base::FLAGS, get(record, base::FLAGS) | bit);
}

/// Entry of the map; null beyond its end.
#[inline(always)]
fn entry(index: u32) -> *mut u64 {
    // SAFETY: the key lives until the call returns.
    unsafe { bpf_map_lookup_elem(map!(HOLE_RECORDS), (&raw const index).cast()).cast() }
}

/// The first entry of a map; null only for the verifier.
#[inline(always)]
fn first_entry(map: *mut c_void) -> *mut u64 {
    let key = 0u32;
    // SAFETY: the key lives until the call returns.
    unsafe { bpf_map_lookup_elem(map, (&raw const key).cast()).cast() }
}

#[inline(always)]
fn id(cgroup: Pointer) -> u64 {
    load(follow(cgroup, hole!(cgroup_kn)), hole!(kn_id))
}

/// A css as the struct that it is the first member of; itself where the verifier knows no casts.
#[inline(always)]
fn cast<const CAST: bool>(css: Pointer, type_id: u64) -> Pointer {
    if CAST {
        // SAFETY: a load through it yields 0 if it faults.
        unsafe { rdonly_cast(css, type_id as u32) }
    } else {
        css
    }
}

/// A field of such a struct.
#[inline(always)]
fn far<const CAST: bool, T: Copy>(pointer: Pointer, offset: u64, failed: &mut i64) -> T {
    if CAST {
        return load(pointer, offset);
    }
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes all of the value, zeroes if it fails.
    unsafe {
        *failed |= bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            pointer.wrapping_add(offset as usize).cast(),
        );
        value.assume_init()
    }
}

#[inline(always)]
fn load<T: Copy>(pointer: Pointer, offset: u64) -> T {
    // SAFETY: the verifier refuses the program unless the field is there and of this size.
    unsafe { pointer.wrapping_add(offset as usize).cast::<T>().read_volatile() }
}

#[inline(always)]
fn follow(pointer: Pointer, offset: u64) -> Pointer {
    load(pointer, offset)
}

#[inline(always)]
fn at(record: *mut u64, offset: u64) -> *mut u64 {
    record.wrapping_byte_add(offset as usize)
}

#[inline(always)]
fn put(words: *mut u64, index: usize, value: u64) {
    // SAFETY: the verifier checks that it is within the map's entry.
    unsafe { words.wrapping_add(index).write_volatile(value) };
}

#[inline(always)]
fn get(words: *mut u64, index: usize) -> u64 {
    // SAFETY: as above.
    unsafe { words.wrapping_add(index).read_volatile() }
}
