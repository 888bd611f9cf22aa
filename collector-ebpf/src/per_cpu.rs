//! What is added to a per-CPU pointer of the kernel's to get the copy of each CPU.
//!
//! The kernel's own table of that has no type that programs may read. But an array of which each
//! CPU has a copy has both: the pointer (`struct bpf_array`, `pptrs`), and the address of a copy by
//! a helper. The difference is the same for all per-CPU memory, and stays until the host is shut
//! down.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{
    bpf_get_smp_processor_id, bpf_map_lookup_elem, bpf_map_lookup_percpu_elem,
};
use tare_ebpf::walk_record::per_cpu;

use crate::patched::{Pointer, far, first_entry, get, hole, map, put};

/// Finds it for all CPUs; needs `bpf_map_lookup_percpu_elem` (Linux 5.19).
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp/per_cpu")]
fn find_per_cpu(_: *mut c_void) -> i32 {
    let out = first_entry(map!(HOLE_PER_CPU));
    let Some(pointer) = common_pointer(out) else { return 0 };
    let mut cpu = 0;
    while cpu < hole!(cpus) {
        let key = 0u32;
        // SAFETY: the map has this key.
        let copy = unsafe {
            bpf_map_lookup_percpu_elem(map!(HOLE_COPIES), (&raw const key).cast(), cpu as u32)
        };
        note(out, cpu, copy, pointer);
        cpu += 1;
    }
    0
}

/// Finds it for the CPU that it is run on.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp/per_cpu_here")]
fn find_per_cpu_here(_: *mut c_void) -> i32 {
    let out = first_entry(map!(HOLE_PER_CPU));
    let Some(pointer) = common_pointer(out) else { return 0 };
    // SAFETY: takes no argument.
    let cpu = u64::from(unsafe { bpf_get_smp_processor_id() });
    let key = 0u32;
    // SAFETY: the map has this key.
    let copy = unsafe { bpf_map_lookup_elem(map!(HOLE_COPIES), (&raw const key).cast()) };
    if cpu < hole!(cpus) {
        note(out, cpu, copy, pointer);
    }
    0
}

/// The pointer of the array of copies.
#[inline(always)]
fn common_pointer(out: *mut u64) -> Option<u64> {
    if out.is_null() {
        return None;
    }
    // Through the map's memory, addresses become plain numbers.
    put(out, per_cpu::SCRATCH, map!(HOLE_COPIES) as u64);
    let array = get(out, per_cpu::SCRATCH) as Pointer;
    let mut failed = 0;
    let pointer = far::<false, u64>(array, hole!(array_copies), &mut failed);
    (failed == 0).then_some(pointer)
}

#[inline(always)]
fn note(out: *mut u64, cpu: u64, copy: *mut c_void, pointer: u64) {
    if copy.is_null() {
        return;
    }
    put(out, per_cpu::SCRATCH, copy as u64);
    let base = get(out, per_cpu::SCRATCH).wrapping_sub(pointer);
    put(out, per_cpu::BASES + cpu as usize, base);
}
