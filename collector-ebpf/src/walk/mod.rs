//! Walks over all cgroups of a hierarchy, each of which becomes a record in a mapped array. User
//! space loads one copy for each hierarchy.

mod record;

use core::{
    ffi::c_void,
    mem::{MaybeUninit, transmute},
};

use aya_ebpf::helpers::generated::{
    bpf_get_current_task_btf, bpf_ktime_get_ns, bpf_map_lookup_elem,
};
use tare_ebpf::walk_record::{KFUNC_BASE, header};

use self::record::collect;
use crate::patched::{ABSENT, Pointer, follow, get, hole, load, map, put};

/// An iterator of the kernel's (`struct bpf_iter_css`, `kernel/bpf/cgroup_iter.c`).
type Iterator = [u64; 3];

/// `BPF_CGROUP_ITER_DESCENDANTS_PRE`: a parent comes before its children.
const PARENTS_FIRST: u32 = 2;

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

/// Entry of the map; null beyond its end.
#[inline(always)]
fn entry(index: u32) -> *mut u64 {
    // SAFETY: the key lives until the call returns.
    unsafe { bpf_map_lookup_elem(map!(HOLE_RECORDS), (&raw const index).cast()).cast() }
}
