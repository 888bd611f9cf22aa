//! Bios of devices that make no requests of them: zram, brd, pmem.
//!
//! User space names the devices, and attaches these programs only if there are any, because they
//! run for each bio of each device. A bio has no time stamp, so these devices have no latencies.

use aya_ebpf::{
    macros::{btf_tracepoint, map},
    maps::HashMap,
    programs::BtfTracePointContext,
};
use tare_ebpf::BlockCell;

use super::{Charged, Kind, bio_disk};
use crate::{
    slots::add,
    typed::{Typed, layout},
};

/// The devices whose bios are counted, as in [`Key::device`](tare_ebpf::Key::device).
#[map]
static BIO_DEVICES: HashMap<u32, u32> = HashMap::with_max_entries(256, 0);

/// The cell of a bio in the block table, if it is for one of the devices.
#[inline(always)]
fn cell(bio: Typed) -> Option<*mut BlockCell> {
    let disk = bio_disk(bio);
    let operations: u64 = disk.follow(layout!(disk_queue)).load(layout!(queue_operations));
    // Most devices make requests: they are excluded before anything is looked up.
    if operations != 0 {
        return None;
    }
    let charged = Charged::bio(bio, disk);
    // SAFETY: the value is not used.
    unsafe { BIO_DEVICES.get(charged.device) }?;
    charged.cell().map(|(_, cell)| cell)
}

#[inline(always)]
fn queued(bio: Typed) -> i32 {
    let flags: u32 = bio.load(layout!(bio_opf));
    if let Some(kind) = Kind::of(flags)
        && let Some(cell) = cell(bio)
    {
        let requests = kind.requests(cell);
        // SAFETY: the map gave the cell.
        unsafe {
            add(&raw mut (*requests).bytes, u64::from(bio.load::<u32>(layout!(bio_size))));
            add(&raw mut (*requests).ops, 1);
            add(&raw mut (*cell).untimed, 1);
            add(&raw mut (*cell).unstamped, 1);
            if kind == Kind::Write && flags & layout!(flag_preflush) != 0 {
                add(&raw mut (*cell).flush_ops, 1);
            }
        }
    }
    0
}

// The arguments are `(bio)`, and `(q, bio)` on Linux 5.10.

#[btf_tracepoint(function = "block_bio_queue")]
fn block_bio_queue(context: BtfTracePointContext) -> i32 {
    queued(Typed::new(context.arg(0)))
}

#[btf_tracepoint(function = "block_bio_queue")]
fn block_bio_queue_2(context: BtfTracePointContext) -> i32 {
    queued(Typed::new(context.arg(1)))
}

/// Does not fire for bios of requests (`block/blk-mq.c`, `blk_update_request` clears
/// `BIO_TRACE_COMPLETION`).
#[btf_tracepoint(function = "block_bio_complete")]
fn block_bio_complete(context: BtfTracePointContext) -> i32 {
    let bio = Typed::new(context.arg(1));
    if bio.load::<u8>(layout!(bio_status)) != 0
        && let Some(cell) = cell(bio)
    {
        // SAFETY: the map gave the cell.
        add(unsafe { &raw mut (*cell).errors }, 1);
    }
    0
}
