//! The kernel side: programs that count, and tables that show what they counted.
//!
//! The only place that knows aya. [`Facts`] are read, a pure plan is made from them, and the plan
//! is applied, family by family: what fails costs its own family and leaves a [`Reason`].

mod block;
mod btf;
mod ended;
mod error;
mod events;
mod facts;
mod inventory;
mod layout;
mod load;
mod log;
mod mapping;
mod network;
mod object;
mod open_files;
mod options;
mod patched;
mod per_cpu;
mod plan;
mod statistics;
mod status;
mod table;
mod tasks;
mod tracepoints;
pub mod walk;

use std::{
    thread::{self, JoinHandle},
    time::Instant,
};

use anyhow::anyhow;
use aya::{Btf, BtfError, Ebpf};
use tare_ebpf::NetCell;

pub use self::{
    block::{Bios, BlockPrograms},
    ended::{EndedCpu, EndedHierarchies, EndedUsage},
    events::{Events, LifecycleEvent, LifecycleEventKind},
    facts::{Facts, SocketIds},
    inventory::{LoadedMap, LoadedProgram},
    network::SocketPrograms,
    options::Options,
    plan::SocketLevel,
    statistics::{RunStatistics, Runs},
    status::{BlockStatus, KernelStatus},
    table::Table,
    tasks::{TaskPrograms, TasksError},
};
#[cfg(test)]
pub use self::{
    ended::{EndedMemory, EndedTasks},
    status::LifecycleStatus,
};
use crate::{
    kernel::{
        error::{TRACING, reason},
        load::Loaded,
        log::Log,
        network::Network,
        plan::Plan,
    },
    process,
    reason::Reason,
    timing::{self, timed},
};

/// The programs of each family, or why there are none. Dropping it detaches and frees everything.
pub struct Kernel {
    /// What all network programs count in, by cgroup id ([`Options::socket_ids`]); `None` if there
    /// are none.
    pub net: Option<Table<NetCell>>,
    /// Bytes or packets of sockets.
    pub sockets: Result<SocketPrograms, Reason>,
    /// TCP segments that are sent again.
    pub retransmits: Result<(), Reason>,
    /// TCP connections.
    pub connections: Result<(), Reason>,
    /// Block I/O.
    pub block: Result<BlockPrograms, Reason>,
    /// Events of cgroups.
    pub lifecycle: Result<Events, Reason>,
    /// Tasks.
    pub tasks: Result<TaskPrograms, Reason>,
    /// What the kernel offers; `None` if it was not looked at.
    pub facts: Option<Facts>,
    /// The maps that were made.
    pub maps: Vec<LoadedMap>,
    log: Option<Log>,
    /// Holds the programs and their links.
    ebpf: Option<Ebpf>,
}

impl Kernel {
    /// Loads what the kernel allows. Never fails as a whole.
    pub fn start(options: &Options) -> Self {
        if let Some(reason) = &options.off {
            return Self::not_loaded(Refusals::all(reason));
        }
        // aya indexes all types of the kernel, which takes as long as all the rest until then.
        let btf = thread::spawn(|| timed("indexing BTF to attach by", Btf::from_sys_fs));
        let facts = timed("reading BTF", || Facts {
            ended: options.ended,
            tasks_off: options.tasks_off.clone(),
            ..Facts::read(&options.sys_root, options.socket_ids)
        });
        let plan = plan::plan(&facts, options.socket_level);
        let kernel = match Refusals::of(&plan) {
            Some(refusals) => Self::not_loaded(refusals),
            None => apply(&plan, options, btf)
                .unwrap_or_else(|error| Self::not_loaded(Refusals::all(&reason(&error, TRACING)))),
        };
        // The kernel's type information took megabytes.
        process::release_free_memory();
        Self { facts: Some(facts), ..kernel }
    }

    /// Passes on what the programs logged. No system call if they logged nothing.
    pub fn drain_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.drain();
        }
    }

    /// Unmaps counters that no instance uses any more.
    pub fn shrink(&mut self) {
        if let Some(net) = &mut self.net {
            net.shrink();
        }
        if let Ok(BlockPrograms { table, latency, .. }) = &mut self.block {
            latency.shrink_to(table.shrink());
        }
        if let Ok(tasks) = &mut self.tasks {
            tasks.shrink();
        }
    }

    fn not_loaded(refusals: Refusals) -> Self {
        let Refusals { sockets, retransmits, connections, block, lifecycle, tasks } = refusals;
        Self {
            net: None,
            sockets: Err(sockets),
            retransmits: Err(retransmits),
            connections: Err(connections),
            block: Err(block),
            lifecycle: Err(lifecycle),
            tasks: Err(tasks),
            facts: None,
            maps: Vec::new(),
            log: None,
            ebpf: None,
        }
    }
}

/// Why no family has programs.
struct Refusals {
    sockets: Reason,
    retransmits: Reason,
    connections: Reason,
    block: Reason,
    lifecycle: Reason,
    tasks: Reason,
}

impl Refusals {
    /// The same reason for all.
    fn all(reason: &Reason) -> Self {
        Self {
            sockets: reason.clone(),
            retransmits: reason.clone(),
            connections: reason.clone(),
            block: reason.clone(),
            lifecycle: reason.clone(),
            tasks: reason.clone(),
        }
    }

    /// The reasons of a plan by which nothing is loaded; `None` if something is.
    fn of(plan: &Plan) -> Option<Self> {
        let Plan { network, block, lifecycle, tasks, .. } = plan;
        Some(Self {
            sockets: network.sockets.as_ref().err()?.clone(),
            retransmits: network.retransmits.as_ref().err()?.clone(),
            connections: network.connections.as_ref().err()?.clone(),
            block: block.as_ref().err()?.clone(),
            lifecycle: lifecycle.as_ref().err()?.clone(),
            tasks: tasks.as_ref().err()?.clone(),
        })
    }
}

fn apply(
    plan: &Plan,
    options: &Options,
    btf: JoinHandle<Result<Btf, BtfError>>,
) -> anyhow::Result<Kernel> {
    let cpus = aya::util::nr_cpus().map_err(|(file, error)| anyhow!("{file}: {error}"))?;
    let mut loaded = timed("loading the object", || Loaded::load(plan, options, cpus))?;
    let btf = btf.join().map_err(|_| anyhow!("cannot index BTF"))??;
    let begun = Instant::now();
    let maps = inventory::maps(&loaded.ebpf);
    let log = Log::open(&mut loaded.ebpf)?;
    let unified = options.unified.as_deref();
    let network = Network::start(&plan.network, &mut loaded, &btf, unified);
    let block = BlockPrograms::start(&plan.block, &mut loaded, &btf);
    let lifecycle = Events::start(&plan.lifecycle, &mut loaded, &btf);
    let tasks = TaskPrograms::start(&plan.tasks, &mut loaded, &btf);
    timing::log("verifying and attaching", begun);
    let Network { table, sockets, retransmits, connections } = network;
    Ok(Kernel {
        net: table,
        sockets,
        retransmits,
        connections,
        block,
        lifecycle,
        tasks,
        facts: None,
        maps,
        log: Some(log),
        ebpf: Some(loaded.ebpf),
    })
}
