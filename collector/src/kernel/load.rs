//! Plan → programs in the kernel. Each family stands or falls alone.

use std::{fs::File, path::Path};

use anyhow::{Context, Result};
use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{BtfTracePoint, CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, Program},
};
use nix::sys::resource::{Resource, setrlimit};
use tare_ebpf::{
    LATENCY_SHARDS_MAX, Layout,
    event::{NO_HIERARCHY, RING_BYTES},
};

use crate::kernel::{
    Options,
    plan::{Plan, Sockets, Tracepoint},
};

#[cfg(has_ebpf)]
const OBJECT: &[u8] = aya::include_bytes_aligned!(env!("TARE_EBPF_OBJECT"));
#[cfg(not(has_ebpf))]
const OBJECT: &[u8] = &[];

/// Whether this binary was built with the kernel side in it.
pub(super) fn has_object() -> bool {
    !OBJECT.is_empty()
}

/// More CPUs than this share cells. Sixteen cells of 200 bytes are about 3 KiB a cgroup.
const SHARDS_MAX: u32 = 16;

/// The smallest ring on any page size up to 64 KiB.
const RING_BYTES_MIN: u32 = 64 * 1024;

/// Cells of a slot: a power of two, one for each CPU as far as there are shards.
pub(super) fn shards(possible_cpus: u32) -> u32 {
    possible_cpus.clamp(1, SHARDS_MAX).next_power_of_two()
}

/// Latency cells of a slot.
pub(super) fn latency_shards(shards: u32) -> u32 {
    shards.min(LATENCY_SHARDS_MAX)
}

/// Hints of a table: twice as many as slots, so that few keys share one.
fn hints(slots: u32) -> u32 {
    slots.next_power_of_two() * 2
}

/// Creates the maps, with the layout frozen in, and drops the object's bytes.
pub(super) fn load(plan: &Plan, options: &Options, shards: u32) -> Result<Ebpf> {
    // Before Linux 5.11 maps count against this limit; where it cannot be raised they may still
    // fit, so a failure here is not the end.
    if let Err(error) =
        setrlimit(Resource::RLIMIT_MEMLOCK, nix::libc::RLIM_INFINITY, nix::libc::RLIM_INFINITY)
    {
        tracing::debug!(%error, "cannot raise RLIMIT_MEMLOCK");
    }
    let hints = hints(options.slots);
    let layout = Layout {
        shards,
        hints_mask: hints - 1,
        watched_net: options.watched_net.unwrap_or(NO_HIERARCHY),
        watched_block: options.watched_block.unwrap_or(NO_HIERARCHY),
        ..plan.layout
    };
    // Tables that no program will use take no memory.
    let net = if plan.is_without_net() { 1 } else { options.slots };
    let block = if plan.block.is_err() { 1 } else { options.slots };
    let mut loader = EbpfLoader::new();
    loader.btf(None).override_global("LAYOUT", layout.as_bytes(), true);
    for name in ["NET_SLOTS", "NET_FREE", "NET_KEYS"] {
        loader.map_max_entries(name, net);
    }
    for name in ["BLOCK_SLOTS", "BLOCK_FREE", "BLOCK_KEYS"] {
        loader.map_max_entries(name, block);
    }
    for (name, slots) in [("NET_HINTS", net), ("BLOCK_HINTS", block)] {
        loader.map_max_entries(name, if slots == 1 { 1 } else { hints });
    }
    let (firsts, ring) = match plan.lifecycle {
        Ok(_) => (options.slots, RING_BYTES),
        Err(_) => (1, RING_BYTES_MIN),
    };
    loader.map_max_entries("FIRSTS", firsts).map_max_entries("EVENTS", ring);
    // A cell is two entries: reads and writes.
    loader.map_max_entries("LATENCY_CELLS", block * latency_shards(shards) * 2);
    loader.map_max_entries("NET_CELLS", net * shards);
    loader.map_max_entries("BLOCK_CELLS", block * shards);
    Ok(loader.load(OBJECT)?)
}

/// Loads and attaches one way to the socket view; leaves nothing attached if that fails.
pub(super) fn attach_sockets(
    ebpf: &mut Ebpf,
    way: Sockets,
    btf: &Btf,
    unified: Option<&Path>,
) -> Result<()> {
    match way {
        Sockets::Payload => {
            attach_tracepoints(ebpf, &["sock_send_length", "sock_recv_length"], btf)
        }
        Sockets::L3 => {
            let path = unified.context("no cgroup2 hierarchy is mounted")?;
            let root = File::open(path).with_context(|| path.display().to_string())?;
            all_or_nothing(ebpf, &["ingress", "egress"], |program, name| {
                let program: &mut CgroupSkb = program.try_into()?;
                let direction = match name {
                    "ingress" => CgroupSkbAttachType::Ingress,
                    _ => CgroupSkbAttachType::Egress,
                };
                program.load()?;
                // A link is shared with others by nature; the flag that asks for it is refused.
                program.attach(&root, direction, CgroupAttachMode::Single)?;
                Ok(())
            })
        }
    }
}

/// Loads and attaches programs that are named after their tracepoints.
pub(super) fn attach_tracepoints(ebpf: &mut Ebpf, names: &[&str], btf: &Btf) -> Result<()> {
    all_or_nothing(ebpf, names, |program, name| attach_tracepoint(program, name, btf))
}

/// Loads and attaches programs that have a name of their own.
pub(super) fn attach_programs(ebpf: &mut Ebpf, wanted: &[Tracepoint], btf: &Btf) -> Result<()> {
    let names: Vec<&str> = wanted.iter().map(|tracepoint| tracepoint.program).collect();
    all_or_nothing(ebpf, &names, |program, name| {
        let found = wanted.iter().find(|tracepoint| tracepoint.program == name);
        attach_tracepoint(program, found.map_or(name, |tracepoint| tracepoint.name), btf)
    })
}

fn attach_tracepoint(program: &mut Program, tracepoint: &str, btf: &Btf) -> Result<()> {
    let program: &mut BtfTracePoint = program.try_into()?;
    program.load(tracepoint, btf)?;
    program.attach()?;
    Ok(())
}

fn all_or_nothing(
    ebpf: &mut Ebpf,
    names: &[&str],
    attach: impl Fn(&mut Program, &str) -> Result<()>,
) -> Result<()> {
    for (done, name) in names.iter().enumerate() {
        if let Err(error) = program(ebpf, name).and_then(|program| attach(program, name)) {
            for name in &names[..=done] {
                unload(program(ebpf, name)?);
            }
            return Err(error.context((*name).to_owned()));
        }
    }
    Ok(())
}

/// Detaches and forgets a program; one that was never loaded stays as it is.
fn unload(program: &mut Program) {
    let _ = match program {
        Program::BtfTracePoint(program) => program.unload(),
        Program::CgroupSkb(program) => program.unload(),
        _ => Ok(()),
    };
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program> {
    ebpf.program_mut(name).with_context(|| format!("the object has no program {name}"))
}
