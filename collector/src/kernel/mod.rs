//! The kernel's share of the work: programs that count, tables that show what they counted.
//!
//! The only place that knows aya. Facts are read, a pure plan is made from them, and the plan is
//! applied; what fails on the way costs its own family and is told in one line.

mod block;
mod btf;
mod events;
mod facts;
mod inventory;
mod load;
mod log;
mod mapping;
mod plan;
mod statistics;
mod table;

use std::{
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::Instant,
};

use aya::{Btf, BtfError, Ebpf, sys::SyscallError};
use tare_ebpf::{BlockCell, LatencyCell, NetCell};

pub use self::{
    block::{Bios, Extras},
    events::{Events, LifecycleEvent, LifecycleEventKind},
    facts::{BtfFacts, Facts, SocketIds},
    inventory::{LoadedMap, LoadedProgram},
    plan::Sockets,
    statistics::{RunStatistics, Runs},
    table::{Cells, Table},
};
use crate::{
    kernel::{
        log::Log,
        plan::{Lifecycle, Plan},
    },
    process,
    timing::{self, timed},
};

/// LifecycleEventKind the kernel side needs to know of the user's wishes and of the host.
#[derive(Clone, Debug)]
pub struct Options {
    /// Why the kernel is to be left alone, if it is.
    pub off: Option<&'static str>,
    /// Where `sysfs` is mounted.
    pub sys_root: PathBuf,
    /// Where the root of cgroup2 is mounted, if it is.
    pub unified: Option<PathBuf>,
    /// The hierarchy that tells containers apart at their sockets, if any.
    pub socket_ids: Option<SocketIds>,
    /// The wished way to the socket view; `None` takes the best there is.
    pub sockets: Option<Sockets>,
    /// Slots of each table, the overflow's included.
    pub slots: u32,
    /// Id of the hierarchy by whose ids sockets are counted, and whose events are told.
    pub watched_net: Option<u32>,
    /// The same for block requests.
    pub watched_block: Option<u32>,
}

/// LifecycleEventKind runs in the kernel on our behalf. Dropping it detaches and frees everything.
pub struct Kernel {
    /// Counters of sockets by cgroup id ([`Options::socket_ids`]).
    pub net: Option<Table<NetCell>>,
    /// Counters of block requests by (id in the block controller's hierarchy, device).
    pub block: Option<Table<BlockCell>>,
    /// Latencies of block requests, by slot of `block`.
    pub latency: Option<Cells<LatencyCell>>,
    /// LifecycleEventKind is counted of block I/O besides completed requests.
    pub extras: Extras,
    /// How the socket view is taken, or why it is not.
    pub sockets: Result<Sockets, String>,
    /// Why the socket view is not taken in the best way.
    pub sockets_reason: Option<String>,
    /// Why TCP segments that are sent again are not counted.
    pub retransmits_reason: Option<String>,
    /// Why TCP connections are not counted.
    pub connections_reason: Option<String>,
    /// Why block requests are not counted.
    pub block_reason: Option<String>,
    /// LifecycleEventKind happens to cgroups.
    pub events: Option<Events>,
    /// Why events are not told, or not all of them.
    pub events_reason: Option<String>,
    /// LifecycleEventKind the kernel offers; `None` if it was not looked at.
    pub facts: Option<Facts>,
    /// The maps that were made.
    pub maps: Vec<LoadedMap>,
    log: Option<Log>,
    /// Holds the programs and their links.
    ebpf: Option<Ebpf>,
}

impl Kernel {
    /// Starts what the kernel allows; never fails as a whole.
    pub fn start(options: &Options) -> Self {
        if let Some(why) = options.off {
            return Self::idle(&Plan::nothing(why));
        }
        // aya indexes all types of the kernel, which takes as long as all the rest until then.
        let btf = thread::spawn(|| timed("indexing BTF to attach by", Btf::from_sys_fs));
        let facts = timed("reading BTF", || Facts::read(&options.sys_root, options.socket_ids));
        let plan = plan::plan(&facts, options.sockets);
        let kernel = if plan.is_nothing() {
            Self::idle(&plan)
        } else {
            apply(&plan, options, btf)
                .unwrap_or_else(|error| Self::idle(&Plan::nothing(&reason(&error, TRACING))))
        };
        // The kernel's type information took megabytes.
        process::release_free_memory();
        Self { facts: Some(facts), ..kernel }
    }

    /// Passes on what the programs had to say. No system call when they said nothing.
    pub fn drain_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.drain();
        }
    }

    fn idle(plan: &Plan) -> Self {
        let why = plan.sockets_reason.clone().unwrap_or_default();
        Self {
            net: None,
            block: None,
            latency: None,
            extras: Extras::idle(plan),
            sockets: Err(why),
            sockets_reason: None,
            retransmits_reason: plan.retransmits.clone().err(),
            connections_reason: plan.connections.clone().err(),
            block_reason: plan.block.clone().err(),
            events: None,
            events_reason: plan.lifecycle.as_ref().err().cloned(),
            facts: None,
            maps: Vec::new(),
            log: None,
            ebpf: None,
        }
    }
}

fn apply(
    plan: &Plan,
    options: &Options,
    btf: JoinHandle<Result<Btf, BtfError>>,
) -> anyhow::Result<Kernel> {
    let cpus = aya::util::nr_cpus().map_err(|(file, error)| anyhow::anyhow!("{file}: {error}"))?;
    let shards = load::shards(cpus as u32);
    let mut ebpf = timed("loading the object", || load::load(plan, options, shards))?;
    let btf = btf.join().map_err(|_| anyhow::anyhow!("cannot index BTF"))??;
    let begun = Instant::now();
    let maps = inventory::maps(&ebpf);
    let log = Log::open(&mut ebpf)?;
    let mut kernel = Kernel { maps, log: Some(log), ..Kernel::idle(plan) };
    // Slots are handed out before the first program counts.
    if !plan.is_without_net() {
        let table = Table::open(&mut ebpf, &table::NET, options.slots, shards)?;
        let unified = options.unified.as_deref();
        (kernel.sockets, kernel.sockets_reason) = attach_sockets(plan, &mut ebpf, &btf, unified);
        let attach = |ebpf: &mut Ebpf, planned: &Result<(), String>, name: &str| {
            planned.clone()?;
            load::attach_tracepoints(ebpf, &[name], &btf).map_err(|error| reason(&error, TRACING))
        };
        kernel.retransmits_reason =
            attach(&mut ebpf, &plan.retransmits, "tcp_retransmit_skb").err();
        kernel.connections_reason =
            attach(&mut ebpf, &plan.connections, "inet_sock_set_state").err();
        let used = kernel.sockets.is_ok()
            || kernel.retransmits_reason.is_none()
            || kernel.connections_reason.is_none();
        kernel.net = used.then_some(table);
    }
    if plan.block.is_ok() {
        let table = Table::open(&mut ebpf, &table::BLOCK, options.slots, shards)?;
        let latency_shards = load::latency_shards(shards);
        let latency = Cells::open(&mut ebpf, table::LATENCIES, options.slots, latency_shards)?;
        match load::attach_tracepoints(&mut ebpf, &["block_rq_complete"], &btf) {
            Ok(()) => {
                (kernel.block, kernel.latency) = (Some(table), Some(latency));
                kernel.extras.attach(&mut ebpf, &btf);
            }
            Err(error) => kernel.block_reason = Some(reason(&error, TRACING)),
        }
    }
    if let Ok(lifecycle) = &plan.lifecycle {
        let events = Events::open(&mut ebpf)?;
        (kernel.events, kernel.events_reason) = match attach_lifecycle(lifecycle, &mut ebpf, &btf) {
            Ok(reason) => (Some(events), reason),
            Err(reason) => (None, Some(reason)),
        };
    }
    timing::log("verifying and attaching", begun);
    kernel.ebpf = Some(ebpf);
    Ok(kernel)
}

/// Attaches what tells of lives; why some of it is missing, or all.
fn attach_lifecycle(
    plan: &Lifecycle,
    ebpf: &mut Ebpf,
    btf: &Btf,
) -> Result<Option<String>, String> {
    load::attach_programs(ebpf, &plan.required, btf).map_err(|error| reason(&error, TRACING))?;
    let mut missing = plan.reason.clone();
    for program in &plan.optional {
        if let Err(error) = load::attach_programs(ebpf, &[*program], btf) {
            missing = missing.or_else(|| Some(reason(&error, TRACING)));
        }
    }
    Ok(missing)
}

fn attach_sockets(
    plan: &Plan,
    ebpf: &mut Ebpf,
    btf: &Btf,
    unified: Option<&Path>,
) -> (Result<Sockets, String>, Option<String>) {
    let mut why = plan.sockets_reason.clone();
    for way in &plan.sockets {
        match load::attach_sockets(ebpf, *way, btf, unified) {
            Ok(()) => return (Ok(*way), why),
            // The first reason is the one that a person can do something about.
            Err(error) => why = why.or_else(|| Some(reason(&error, rights_for(*way)))),
        }
    }
    (Err(why.unwrap_or_default()), None)
}

/// How every reason begins that is about rights.
pub const NOT_PERMITTED: &str = "not permitted: needs";

/// The rights that programs for tracepoints need.
const TRACING: &str = "CAP_BPF and CAP_PERFMON";

fn rights_for(way: Sockets) -> &'static str {
    match way {
        Sockets::Payload => TRACING,
        Sockets::L3 => "CAP_BPF and CAP_NET_ADMIN",
    }
}

/// One line for people; the verifier's pages go to the debug log.
fn reason(error: &anyhow::Error, rights: &str) -> String {
    tracing::debug!("{error:#}");
    let denied = error.chain().any(|cause| {
        let io = cause
            .downcast_ref::<SyscallError>()
            .map(|error| &error.io_error)
            .or_else(|| cause.downcast_ref::<std::io::Error>());
        io.is_some_and(|io| io.kind() == std::io::ErrorKind::PermissionDenied)
    });
    if denied {
        // EPERM is also what a memory lock limit answers before Linux 5.11.
        return format!("{NOT_PERMITTED} {rights} (run as root)");
    }
    let text = format!("{error:#}");
    text.lines().next().unwrap_or_default().to_owned()
}
