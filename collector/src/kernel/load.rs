//! Plan → maps and programs in the kernel.

use std::{fs::File, path::Path};

use anyhow::{Context, Result};
use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::Map,
    programs::{BtfTracePoint, CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, Iter, Program},
};
use nix::sys::resource::{Resource, setrlimit};
use tare_ebpf::{
    LATENCY_SHARDS_MAX, Layout,
    event::{NO_HIERARCHY, RING_BYTES},
};

use crate::{
    kernel::{
        error::{TRACING, reason},
        object::object,
        options::Options,
        patched::instructions,
        per_cpu,
        plan::{LifecyclePlan, Plan},
        tracepoints::TracepointSpec,
    },
    reason::Reason,
};

/// More CPUs than this share cells. Sixteen cells of 216 bytes are about 3 KiB a cgroup.
const SHARDS_MAX: u32 = 16;

/// The smallest ring on any page size up to 64 KiB.
const RING_BYTES_MIN: u32 = 64 * 1024;

/// The loaded object: its maps exist, its programs are loaded when they are attached.
pub(super) struct Loaded {
    /// The object.
    pub(super) ebpf: Ebpf,
    /// Cells of a slot: a power of two, one for each CPU as far as there are shards.
    pub(super) shards: u32,
    /// Slots of each table, the overflow's included.
    pub(super) slots: u32,
}

impl Loaded {
    /// Creates the maps, with the layout frozen in. Tables that no program will use get one slot.
    pub(super) fn load(plan: &Plan, options: &Options, possible_cpus: usize) -> Result<Self> {
        // Before Linux 5.11 maps count against this limit; where it cannot be raised they may
        // still fit, so a failure here is not the end.
        if let Err(error) =
            setrlimit(Resource::RLIMIT_MEMLOCK, nix::libc::RLIM_INFINITY, nix::libc::RLIM_INFINITY)
        {
            tracing::debug!(%error, "cannot raise RLIMIT_MEMLOCK");
        }
        let slots = options.slots;
        let shards = shards(possible_cpus as u32);
        let cpus = per_cpu::cpu_places()?;
        let unshared = |shards| u32::from(plan.layout.unshared_cells != 0 && cpus <= shards);
        let mut layout = Layout {
            shards,
            unshared_cells: unshared(shards),
            unshared_latencies: unshared(latency_shards(shards)),
            cpus,
            hints_mask: hints(slots) - 1,
            watched_net: options.watched_net.unwrap_or(NO_HIERARCHY),
            watched_block: options.watched_block.unwrap_or(NO_HIERARCHY),
            ..plan.layout
        };
        if let Ok(LifecyclePlan { ended: Ok(ended), .. }) = &plan.lifecycle {
            ended.complete(&mut layout);
        }
        let mut loader = EbpfLoader::new();
        loader.btf(None);
        set_map_sizes(&mut loader, plan, slots, shards);
        loader.map_max_entries("CPU_OFFSETS", cpus);
        Ok(Self {
            ebpf: loader.load(&instructions::with_layout(object(), &layout)?)?,
            shards,
            slots,
        })
    }

    /// Latency cells of a slot.
    pub(super) fn latency_shards(&self) -> u32 {
        latency_shards(self.shards)
    }

    /// Takes a map out of the object.
    pub(super) fn take_map(&mut self, name: &str) -> Result<Map> {
        self.ebpf.take_map(name).with_context(|| format!("the object has no map {name}"))
    }

    /// Loads and attaches programs for tracepoints: all of them or none.
    pub(super) fn attach(&mut self, programs: &[TracepointSpec], btf: &Btf) -> Result<(), Reason> {
        attach_tracepoints(&mut self.ebpf, programs, btf).map_err(|error| reason(&error, TRACING))
    }

    /// Loads a program that goes over all objects of a kind, such as `task`.
    pub(super) fn load_iterator(&mut self, name: &str, kind: &str, btf: &Btf) -> Result<()> {
        let program: &mut Iter = program(&mut self.ebpf, name)?.try_into()?;
        program.load(kind, btf).with_context(|| name.to_owned())
    }

    /// Detaches and unloads a program, if it is loaded.
    pub(super) fn detach(&mut self, spec: &TracepointSpec) {
        if let Ok(program) = program(&mut self.ebpf, spec.program) {
            unload(program);
        }
    }

    /// Loads and attaches the programs for packets of all cgroups below this root of cgroup2: both
    /// of them or none.
    pub(super) fn attach_packets(&mut self, unified: Option<&Path>) -> Result<()> {
        let path = unified.context("no cgroup2 hierarchy is mounted")?;
        let root = File::open(path).with_context(|| path.display().to_string())?;
        all_or_none(&mut self.ebpf, &["ingress", "egress"], |program, index| {
            let program: &mut CgroupSkb = program.try_into()?;
            let direction = match index {
                0 => CgroupSkbAttachType::Ingress,
                _ => CgroupSkbAttachType::Egress,
            };
            program.load()?;
            // A link never excludes others; the kernel refuses the flag that allows them
            // (`kernel/bpf/cgroup.c`, `cgroup_bpf_link_attach`).
            program.attach(&root, direction, CgroupAttachMode::Single)?;
            Ok(())
        })
    }
}

/// Loads and attaches programs for tracepoints: all of them or none.
pub(super) fn attach_tracepoints(
    ebpf: &mut Ebpf,
    programs: &[TracepointSpec],
    btf: &Btf,
) -> Result<()> {
    let names: Vec<&str> = programs.iter().map(|spec| spec.program).collect();
    all_or_none(ebpf, &names, |program, index| {
        let program: &mut BtfTracePoint = program.try_into()?;
        program.load(programs[index].tracepoint, btf)?;
        program.attach()?;
        Ok(())
    })
}

fn set_map_sizes(loader: &mut EbpfLoader<'_>, plan: &Plan, slots: u32, shards: u32) {
    let net = if plan.network.is_nothing() { 1 } else { slots };
    let block = if plan.block.is_err() { 1 } else { slots };
    let tasks = if plan.tasks.is_err() { 1 } else { slots };
    for name in ["NET_SLOTS", "NET_FREE", "NET_KEYS"] {
        loader.map_max_entries(name, net);
    }
    for name in ["BLOCK_SLOTS", "BLOCK_FREE", "BLOCK_KEYS"] {
        loader.map_max_entries(name, block);
    }
    for name in ["TASK_SLOTS", "TASK_FREE", "TASK_KEYS", "TASK_LIVE", "OPEN_FILES"] {
        loader.map_max_entries(name, tasks);
    }
    loader.map_max_entries("TASK_CELLS", tasks * shards);
    for (name, used) in [
        ("NET_HINTS", net),
        ("NET_OWNER_HINTS", net),
        ("BLOCK_HINTS", block),
        ("BLOCK_OWNER_HINTS", block),
        ("TASK_HINTS", tasks),
    ] {
        loader.map_max_entries(name, if used == 1 { 1 } else { hints(slots) });
    }
    let (firsts, ring) = match plan.lifecycle {
        Ok(_) => (slots, RING_BYTES),
        Err(_) => (1, RING_BYTES_MIN),
    };
    loader.map_max_entries("FIRSTS", firsts).map_max_entries("EVENTS", ring);
    // A cell is two entries: reads and writes.
    loader.map_max_entries("LATENCY_CELLS", block * latency_shards(shards) * 2);
    loader.map_max_entries("NET_CELLS", net * shards);
    loader.map_max_entries("BLOCK_CELLS", block * shards);
}

fn shards(possible_cpus: u32) -> u32 {
    possible_cpus.clamp(1, SHARDS_MAX).next_power_of_two()
}

fn latency_shards(shards: u32) -> u32 {
    shards.min(LATENCY_SHARDS_MAX)
}

/// Hints of a table: twice as many as slots, so that few keys share one.
fn hints(slots: u32) -> u32 {
    slots.next_power_of_two() * 2
}

/// Calls `attach` with each of these programs and its index. If one fails, none stays loaded.
fn all_or_none(
    ebpf: &mut Ebpf,
    names: &[&str],
    attach: impl Fn(&mut Program, usize) -> Result<()>,
) -> Result<()> {
    for (index, name) in names.iter().enumerate() {
        if let Err(error) = program(ebpf, name).and_then(|program| attach(program, index)) {
            for name in &names[..=index] {
                unload(program(ebpf, name)?);
            }
            return Err(error.context((*name).to_owned()));
        }
    }
    Ok(())
}

/// Detaches and unloads a program; one that was never loaded stays as it is.
fn unload(program: &mut Program) {
    let _ = match program {
        Program::BtfTracePoint(program) => program.unload(),
        Program::CgroupSkb(program) => program.unload(),
        Program::Iter(program) => program.unload(),
        _ => Ok(()),
    };
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program> {
    ebpf.program_mut(name).with_context(|| format!("the object has no program {name}"))
}
