//! Completed block requests, charged to the cgroup that the kernel charges.
//!
//! A request only merges bios of one blkcg (`block/blk-merge.c`), so its first bio tells whose it
//! is. The request carries its own time stamps: no state is kept per request.

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::btf_tracepoint, programs::BtfTracePointContext};
use tare_ebpf::{ABSENT, Key, Requests};

use crate::{
    slots::{add, block_cell},
    typed::{Typed, layout},
};

const OP_MASK: u32 = 0xff;
const OP_READ: u32 = 0;
const OP_WRITE: u32 = 1;
const OP_DISCARD: u32 = 3;
const OP_SECURE_ERASE: u32 = 5;

#[btf_tracepoint(function = "block_rq_complete")]
fn block_rq_complete(context: BtfTracePointContext) -> i32 {
    let request = Typed::new(context.arg(0));
    // `int` until 5.15, `blk_status_t` (one byte) since; 0 is success in both.
    let failed = context.arg::<i32>(1) & 0xff != 0;
    let bytes = context.arg::<u32>(2);
    let (major, minor) = device(request);
    let Some(cell) = block_cell(&Key::device(cgroup_id(request), major, minor)) else { return 0 };
    if failed {
        // SAFETY: the map gave the cell.
        add(unsafe { &raw mut (*cell).errors }, 1);
        return 0;
    }
    let operation = request.load::<u32>(layout!(request_cmd_flags)) & OP_MASK;
    // SAFETY: only addresses are taken.
    let requests = unsafe {
        if operation == OP_READ {
            &raw mut (*cell).read
        } else if operation == OP_WRITE || operation == layout!(op_zone_append) {
            &raw mut (*cell).write
        } else if operation == OP_DISCARD || operation == OP_SECURE_ERASE {
            &raw mut (*cell).discard
        } else {
            return 0;
        }
    };
    // SAFETY: as above.
    add(unsafe { &raw mut (*requests).bytes }, u64::from(bytes));
    // A request may complete in parts; the last part is no shorter than what is left.
    if bytes >= request.load::<u32>(layout!(request_data_len)) {
        // SAFETY: as above.
        add(unsafe { &raw mut (*requests).ops }, 1);
        if !add_times(request, requests) {
            // SAFETY: as above.
            add(unsafe { &raw mut (*cell).untimed }, 1);
        }
    }
    0
}

#[inline(always)]
fn device(request: Typed) -> (u32, u32) {
    let disk = if layout!(request_disk) != ABSENT {
        request.follow(layout!(request_disk))
    } else {
        request.follow(layout!(request_queue)).follow(layout!(queue_disk))
    };
    (disk.load(layout!(disk_major)), disk.load(layout!(disk_first_minor)))
}

#[inline(always)]
fn cgroup_id(request: Typed) -> u64 {
    request
        .follow(layout!(request_bio))
        .follow(layout!(bio_blkg))
        .follow(layout!(blkg_blkcg))
        .follow(layout!(blkcg_cgroup))
        .follow(layout!(cgroup_kn))
        .load(layout!(kn_id))
}

#[inline(always)]
fn add_times(request: Typed, requests: *mut Requests) -> bool {
    let started: u64 = request.load(layout!(request_io_start_time));
    if started == 0 {
        return false;
    }
    let made: u64 = request.load(layout!(request_start_time));
    // SAFETY: takes no argument.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: the caller's cell.
    unsafe {
        add(&raw mut (*requests).service_nanoseconds, now.saturating_sub(started));
        add(&raw mut (*requests).wait_nanoseconds, started.saturating_sub(made));
    }
    true
}
