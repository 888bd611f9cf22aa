//! Block I/O, charged to the cgroup that the kernel charges.
//!
//! This file finds the disk and the cgroup of an I/O, for the programs in its modules.

mod bios;
mod merges;
mod requests;

use tare_ebpf::{ABSENT, BlockCell, Key, Requests};

use crate::{
    slots::{Css, block_cell},
    typed::{Typed, layout},
};

// `enum req_op` of `include/linux/blk_types.h`; these have not moved since Linux 4.10.
const OP_MASK: u32 = 0xff;
const OP_READ: u32 = 0;
const OP_WRITE: u32 = 1;
const OP_FLUSH: u32 = 2;
const OP_DISCARD: u32 = 3;
const OP_SECURE_ERASE: u32 = 5;
const OP_WRITE_ZEROES: u32 = 9;

/// What an I/O does to the data.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    Discard,
}

impl Kind {
    /// By a request's `cmd_flags` or a bio's `bi_opf`; `None` if it moves no data of a user.
    #[inline(always)]
    fn of(flags: u32) -> Option<Self> {
        let operation = flags & OP_MASK;
        if operation == OP_READ {
            Some(Self::Read)
        } else if operation == OP_WRITE
            || operation == OP_WRITE_ZEROES
            || operation == layout!(op_zone_append)
        {
            Some(Self::Write)
        } else if operation == OP_DISCARD || operation == OP_SECURE_ERASE {
            Some(Self::Discard)
        } else {
            None
        }
    }

    /// The counters of a cell for I/O of this kind.
    #[inline(always)]
    fn requests(self, cell: *mut BlockCell) -> *mut Requests {
        // SAFETY: only addresses are taken.
        unsafe {
            match self {
                Self::Read => &raw mut (*cell).read,
                Self::Write => &raw mut (*cell).write,
                Self::Discard => &raw mut (*cell).discard,
            }
        }
    }
}

/// Who is charged for an I/O, and the device in the form of [`Key::device`].
#[derive(Clone, Copy)]
struct Charged {
    css: Css,
    device: u32,
}

impl Charged {
    /// Of a request. It has only bios of one blkcg (`block/blk-merge.c`), so the first one is
    /// enough.
    #[inline(always)]
    fn request(request: Typed) -> Self {
        let disk = if layout!(request_disk) != ABSENT {
            request.follow(layout!(request_disk))
        } else {
            request.follow(layout!(request_queue)).follow(layout!(queue_disk))
        };
        Self::bio(request.follow(layout!(request_bio)), disk)
    }

    /// Of a bio on a disk.
    #[inline(always)]
    fn bio(bio: Typed, disk: Typed) -> Self {
        let blkcg = bio.follow(layout!(bio_blkg)).follow(layout!(blkg_blkcg));
        let (major, minor) = (disk.load(layout!(disk_major)), disk.load(layout!(disk_first_minor)));
        Self {
            css: Css::new(blkcg, layout!(blkcg_css)),
            device: Key::device(0, major, minor).device,
        }
    }

    /// The slot in the block table, and this CPU's cell.
    #[inline(always)]
    fn cell(self) -> Option<(u32, *mut BlockCell)> {
        block_cell(self.css, self.device)
    }
}

#[inline(always)]
fn bio_disk(bio: Typed) -> Typed {
    if layout!(bio_disk) != ABSENT {
        bio.follow(layout!(bio_disk))
    } else {
        bio.follow(layout!(bio_device)).follow(layout!(device_disk))
    }
}
