//! Loads through kernel pointers, at offsets that user space resolved from BTF.

use tare_ebpf::Layout;

#[unsafe(no_mangle)]
pub(crate) static LAYOUT: Layout = Layout::UNKNOWN;

/// Reads one field of the layout. The read is volatile, because user space replaces the value
/// before the load.
macro_rules! layout {
    ($field:ident) => {
        $crate::typed::constant(&$crate::typed::LAYOUT.$field)
    };
}
pub(crate) use layout;

#[inline(always)]
pub(crate) fn constant(value: &'static u32) -> u32 {
    // SAFETY: a reference is valid for reads.
    unsafe { core::ptr::read_volatile(value) }
}

/// A pointer to a kernel object whose type the verifier knows.
///
/// A load through a null or dangling one gives 0 (`BPF_PROBE_MEM`, Linux 5.5).
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Typed(*const u8);

impl Typed {
    #[inline(always)]
    pub(crate) fn new(pointer: *const u8) -> Self {
        Self(pointer)
    }

    /// The address of a field, for helpers that copy it.
    #[inline(always)]
    pub(crate) fn at(self, offset: u32) -> *const u8 {
        // SAFETY: only the address is computed.
        unsafe { self.0.add(offset as usize) }
    }

    #[inline(always)]
    pub(crate) fn load<T: Copy>(self, offset: u32) -> T {
        // SAFETY: the verifier refuses the program unless the field is there and of this size.
        unsafe { core::ptr::read_volatile(self.0.add(offset as usize).cast::<T>()) }
    }

    #[inline(always)]
    pub(crate) fn follow(self, offset: u32) -> Self {
        Self(self.load::<*const u8>(offset))
    }
}
