//! I/O that the block layer merged before the driver got it.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use super::{Charged, Kind, bio_disk};
use crate::{
    slots::add,
    typed::{Typed, layout},
};

#[inline(always)]
fn merged(flags: u32, charged: Charged) -> i32 {
    let Some(kind) = Kind::of(flags) else { return 0 };
    if let Some((_, cell)) = charged.cell() {
        // SAFETY: the map gave the cell.
        unsafe {
            match kind {
                Kind::Read => add(&raw mut (*cell).read_merges, 1),
                Kind::Write => add(&raw mut (*cell).write_merges, 1),
                Kind::Discard => {}
            }
        }
    }
    0
}

#[inline(always)]
fn bio_merged(bio: Typed) -> i32 {
    merged(bio.load(layout!(bio_opf)), Charged::bio(bio, bio_disk(bio)))
}

#[inline(always)]
fn request_merged(request: Typed) -> i32 {
    merged(request.load(layout!(request_cmd_flags)), Charged::request(request))
}

// The arguments are `(bio)`, and `(q, rq, bio)` on Linux 5.10; `(rq)`, and `(q, rq)` before
// 5.10.137: user space loads the programs that fit this kernel.

#[btf_tracepoint(function = "block_bio_backmerge")]
fn block_bio_backmerge(context: BtfTracePointContext) -> i32 {
    bio_merged(Typed::new(context.arg(0)))
}

#[btf_tracepoint(function = "block_bio_backmerge")]
fn block_bio_backmerge_3(context: BtfTracePointContext) -> i32 {
    bio_merged(Typed::new(context.arg(2)))
}

#[btf_tracepoint(function = "block_bio_frontmerge")]
fn block_bio_frontmerge(context: BtfTracePointContext) -> i32 {
    bio_merged(Typed::new(context.arg(0)))
}

#[btf_tracepoint(function = "block_bio_frontmerge")]
fn block_bio_frontmerge_3(context: BtfTracePointContext) -> i32 {
    bio_merged(Typed::new(context.arg(2)))
}

#[btf_tracepoint(function = "block_rq_merge")]
fn block_rq_merge(context: BtfTracePointContext) -> i32 {
    request_merged(Typed::new(context.arg(0)))
}

#[btf_tracepoint(function = "block_rq_merge")]
fn block_rq_merge_2(context: BtfTracePointContext) -> i32 {
    request_merged(Typed::new(context.arg(1)))
}
