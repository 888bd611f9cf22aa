//! Loads through kernel pointers, at offsets that user space resolved from BTF.

/// A field of the layout, as a constant that user space puts into the instruction.
///
/// A load from a frozen map would tell the verifier the same, but be made at each event, from
/// memory that is seldom in the caches.
macro_rules! layout {
    ($field:ident) => {{
        const MARK: u64 = (tare_ebpf::LAYOUT_MARK as u64) << 32
            | core::mem::offset_of!(tare_ebpf::Layout, $field) as u64 / 4;
        $crate::patched::immediate!(u64, MARK) as u32
    }};
}
pub(crate) use layout;

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
