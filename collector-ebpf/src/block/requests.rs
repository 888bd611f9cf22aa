//! Requests that the driver got and that it completed.
//!
//! A request has its own time stamps, so no state is kept per request.

use aya_ebpf::{
    helpers::bpf_ktime_get_ns,
    macros::{btf_tracepoint, map},
    maps::Array,
    programs::BtfTracePointContext,
};
use tare_ebpf::{BlockCell, LATENCY_WORDS, latency_bucket};

use super::{Charged, Kind, OP_FLUSH, OP_MASK};
use crate::{
    patched::immediate,
    slots::{add, add_own, add_own_latency, latencies},
    typed::{Typed, layout},
};

/// `MQ_RQ_IDLE` of `enum mq_rq_state`, `include/linux/blk-mq.h`: not handed to the driver.
const STATE_IDLE: u32 = 0;

/// Requests that were allocated before this instant (`CLOCK_MONOTONIC`) do not count as in flight,
/// because their issue may have been missed. 0 until all programs are attached.
#[map]
static FLIGHT_SINCE: Array<u64> = Array::with_max_entries(1, 0);

#[btf_tracepoint(function = "block_rq_complete")]
fn block_rq_complete(context: BtfTracePointContext) -> i32 {
    let request = Typed::new(context.arg(0));
    // `int` until 5.15, `blk_status_t` (one byte) since; 0 is success in both.
    let failed = context.arg::<i32>(1) & 0xff != 0;
    let bytes = context.arg::<u32>(2);
    let command: u32 = request.load(layout!(request_cmd_flags));
    if command & OP_MASK == OP_FLUSH {
        return 0;
    }
    let Some((slot, cell)) = Charged::request(request).cell() else { return 0 };
    let Some(kind) = Kind::of(command) else {
        // SAFETY: the map gave the cell.
        add(unsafe { &raw mut (*cell).others }, 1);
        return 0;
    };
    // A request may complete in parts. The last part is as long as the rest.
    let whole = bytes >= request.load::<u32>(layout!(request_data_len));
    // A write with a cache flush before or after it completes twice (`block/blk-flush.c`): its
    // data as part of the flush sequence, then as a whole, with no bytes left.
    let in_sequence =
        request.load::<u32>(layout!(request_flags)) & layout!(flag_flush_sequence) != 0;
    if whole && bytes != 0 && is_followed(request) {
        // SAFETY: the map gave the cell.
        add_own(unsafe { &raw mut (*cell).returned }, 1);
    }
    if failed {
        if !in_sequence {
            // SAFETY: as above.
            add(unsafe { &raw mut (*cell).errors }, 1);
        }
        return 0;
    }
    let requests = kind.requests(cell);
    // SAFETY: as above.
    add_own(unsafe { &raw mut (*requests).bytes }, u64::from(bytes));
    if whole && !in_sequence {
        // SAFETY: as above.
        add_own(unsafe { &raw mut (*requests).ops }, 1);
        let flags: u32 = request.follow(layout!(request_bio)).load(layout!(bio_opf));
        if kind == Kind::Write && flags & layout!(flag_preflush) != 0 {
            // SAFETY: as above.
            add(unsafe { &raw mut (*cell).flush_ops }, 1);
        }
        add_times(request, kind, cell, slot);
    }
    0
}

/// Adds the time of an operation: from the request's allocation to now, and, if the driver's start
/// is known, the parts before and after that.
#[inline(always)]
fn add_times(request: Typed, kind: Kind, cell: *mut BlockCell, slot: u32) {
    let made: u64 = request.load(layout!(request_start_time));
    let started: u64 = request.load(layout!(request_io_start_time));
    // SAFETY: takes no argument.
    let now = unsafe { bpf_ktime_get_ns() };
    let requests = kind.requests(cell);
    let is_timed = made != 0 && started != 0;
    // SAFETY: the caller's cell.
    unsafe {
        if is_timed {
            add_own(&raw mut (*requests).service_nanoseconds, now.saturating_sub(started));
            add_own(&raw mut (*requests).wait_nanoseconds, started.saturating_sub(made));
        } else {
            add(&raw mut (*cell).untimed, 1);
        }
        if made == 0 {
            add(&raw mut (*cell).unstamped, 1);
            return;
        }
    }
    if kind == Kind::Discard {
        return;
    }
    let Some(latencies) = latencies(slot, kind == Kind::Write) else { return };
    let nanoseconds = now.saturating_sub(made);
    // Shows the verifier that the bucket is within its histogram. The compiler knows that it is,
    // and would remove a mask whose value it sees.
    const MASK: u64 = LATENCY_WORDS as u64 - 1;
    let bucket = latency_bucket(nanoseconds) & immediate!(usize, MASK);
    // SAFETY: the map gave the cell; a bucket is always below their number.
    unsafe {
        let buckets = (&raw mut (*latencies).buckets).cast::<u64>();
        add_own_latency(buckets.add(bucket), 1);
        if !is_timed {
            add_own_latency(&raw mut (*latencies).untimed_nanoseconds, nanoseconds);
        }
    }
}

/// Whether the driver has this request, and its issue was counted.
#[inline(always)]
fn is_followed(request: Typed) -> bool {
    if request.load::<u32>(layout!(request_state)) == STATE_IDLE {
        return false;
    }
    is_recent(request)
}

#[inline(always)]
fn is_recent(request: Typed) -> bool {
    let Some(since) = FLIGHT_SINCE.get(0) else { return false };
    *since != 0 && request.load::<u64>(layout!(request_start_time)) >= *since
}

#[inline(always)]
fn issued(request: Typed) -> i32 {
    // The tracepoint fires before the kernel marks the request as started
    // (`block/blk-mq.c`, `blk_mq_start_request`).
    if Kind::of(request.load(layout!(request_cmd_flags))).is_some()
        && is_recent(request)
        && let Some((_, cell)) = Charged::request(request).cell()
    {
        // SAFETY: the map gave the cell.
        add_own(unsafe { &raw mut (*cell).issued }, 1);
    }
    0
}

#[inline(always)]
fn requeued(request: Typed) -> i32 {
    if Kind::of(request.load(layout!(request_cmd_flags))).is_some()
        && is_followed(request)
        && let Some((_, cell)) = Charged::request(request).cell()
    {
        // SAFETY: the map gave the cell.
        add(unsafe { &raw mut (*cell).requeued }, 1);
    }
    0
}

// The arguments are `(rq)`, and `(q, rq)` before Linux 5.10.137: user space loads the program
// that fits this kernel.

#[btf_tracepoint(function = "block_rq_issue")]
fn block_rq_issue(context: BtfTracePointContext) -> i32 {
    issued(Typed::new(context.arg(0)))
}

#[btf_tracepoint(function = "block_rq_issue")]
fn block_rq_issue_2(context: BtfTracePointContext) -> i32 {
    issued(Typed::new(context.arg(1)))
}

#[btf_tracepoint(function = "block_rq_requeue")]
fn block_rq_requeue(context: BtfTracePointContext) -> i32 {
    requeued(Typed::new(context.arg(0)))
}

#[btf_tracepoint(function = "block_rq_requeue")]
fn block_rq_requeue_2(context: BtfTracePointContext) -> i32 {
    requeued(Typed::new(context.arg(1)))
}
