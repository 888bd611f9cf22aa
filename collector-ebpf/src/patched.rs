//! Programs that are not loaded like the others: user space takes their instructions, replaces the
//! constants, the maps and the calls of the kernel's functions in them
//! ([`tare_ebpf::walk_record::Holes`]), and loads them. So they use no map and no global of this
//! object.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::generated::{bpf_map_lookup_elem, bpf_probe_read_kernel};

pub(crate) type Pointer = *const u8;

pub(crate) const ABSENT: u64 = tare_ebpf::ABSENT as u64;

/// The one instruction that loads an immediate, whose value the compiler does not know: user space
/// may replace it.
macro_rules! immediate {
    ($type:ty, $mark:ident) => {{
        let value: $type;
        // SAFETY: loads an immediate and does nothing else.
        #[allow(unused_unsafe)]
        unsafe {
            core::arch::asm!(
                "{0} = {1} ll",
                out(reg) value,
                const $mark,
                options(pure, nomem, nostack)
            );
        }
        value
    }};
}

/// A constant that user space puts into the instructions.
macro_rules! hole {
    ($name:ident) => {{
        const MARK: u64 = (tare_ebpf::walk_record::HOLE_MARK as u64) << 32
            | (tare_ebpf::walk_record::HOLE_FIRST as u64
                + core::mem::offset_of!(tare_ebpf::walk_record::Holes, $name) as u64 / 4);
        $crate::patched::immediate!(u64, MARK)
    }};
}

/// A map that user space puts into the instructions.
macro_rules! map {
    ($name:ident) => {{
        const MARK: u64 =
            (tare_ebpf::walk_record::HOLE_MARK as u64) << 32 | tare_ebpf::walk_record::$name as u64;
        $crate::patched::immediate!(*mut core::ffi::c_void, MARK)
    }};
}

pub(crate) use hole;
pub(crate) use immediate;
pub(crate) use map;

/// The first entry of a map; null only for the verifier.
#[inline(always)]
pub(crate) fn first_entry(map: *mut c_void) -> *mut u64 {
    let key = 0u32;
    // SAFETY: the key lives until the call returns.
    unsafe { bpf_map_lookup_elem(map, (&raw const key).cast()).cast() }
}

/// A field of a struct, which is followed as `CAST` says: through a pointer of a type that the
/// verifier knows, or by a copy.
#[inline(always)]
pub(crate) fn far<const CAST: bool, T: Copy>(pointer: Pointer, offset: u64, failed: &mut i64) -> T {
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
pub(crate) fn load<T: Copy>(pointer: Pointer, offset: u64) -> T {
    // SAFETY: the verifier refuses the program unless the field is there and of this size.
    unsafe { pointer.wrapping_add(offset as usize).cast::<T>().read_volatile() }
}

#[inline(always)]
pub(crate) fn follow(pointer: Pointer, offset: u64) -> Pointer {
    load(pointer, offset)
}

#[inline(always)]
pub(crate) fn at(record: *mut u64, offset: u64) -> *mut u64 {
    record.wrapping_byte_add(offset as usize)
}

#[inline(always)]
pub(crate) fn put(words: *mut u64, index: usize, value: u64) {
    // SAFETY: the verifier checks that it is within the map's entry.
    unsafe { words.wrapping_add(index).write_volatile(value) };
}

#[inline(always)]
pub(crate) fn get(words: *mut u64, index: usize) -> u64 {
    // SAFETY: as above.
    unsafe { words.wrapping_add(index).read_volatile() }
}
