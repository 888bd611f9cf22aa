//! Block I/O, charged to the cgroup that the kernel charges.
//!
//! This file finds the disk and the cgroup of an I/O, for the programs in its modules.

mod bios;
mod merges;
mod requests;

use tare_ebpf::{ABSENT, BlockCell, Key, Requests};

use crate::typed::{Typed, layout};

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

/// The cgroup and the disk of a request. A request has only bios of one blkcg
/// (`block/blk-merge.c`), so the first one is enough.
#[inline(always)]
fn request_key(request: Typed) -> Key {
    let disk = if layout!(request_disk) != ABSENT {
        request.follow(layout!(request_disk))
    } else {
        request.follow(layout!(request_queue)).follow(layout!(queue_disk))
    };
    key(request.follow(layout!(request_bio)), disk)
}

#[inline(always)]
fn bio_disk(bio: Typed) -> Typed {
    if layout!(bio_disk) != ABSENT {
        bio.follow(layout!(bio_disk))
    } else {
        bio.follow(layout!(bio_device)).follow(layout!(device_disk))
    }
}

#[inline(always)]
fn key(bio: Typed, disk: Typed) -> Key {
    let cgroup_id = bio
        .follow(layout!(bio_blkg))
        .follow(layout!(blkg_blkcg))
        .follow(layout!(blkcg_cgroup))
        .follow(layout!(cgroup_kn))
        .load(layout!(kn_id));
    Key::device(cgroup_id, disk.load(layout!(disk_major)), disk.load(layout!(disk_first_minor)))
}
