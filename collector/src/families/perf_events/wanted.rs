//! Which events are counted, and what the kernel said to that.

use std::{
    fs::File,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use nix::libc;
use tare_parsers::host_facts::parse_cpu_list;

use crate::{
    cgroup::{Hierarchies, file::descriptor_limit},
    families::perf_events::{PerfEvent, counter::Counter},
    reason::Reason,
    small_files::read_text,
};

/// The most descriptors of counters: events × CPUs × cgroups.
const DESCRIPTORS_MAX: usize = 8192;

/// The controller that tells the cgroups of events apart.
pub(super) const CONTROLLER: &str = "perf_event";

/// What is counted of each cgroup.
#[derive(Debug)]
pub struct PerfEvents {
    /// Those that the kernel counts.
    pub(super) events: Vec<PerfEvent>,
    /// Those that it does not.
    pub(super) refused: Vec<(PerfEvent, Reason)>,
    pub(super) cpus: Vec<u32>,
    pub(super) budget: Budget,
}

impl PerfEvents {
    /// How many descriptors its counters may take.
    pub(super) fn limit(&self) -> usize {
        self.budget.max
    }

    /// Tries each event once on the cgroup at the root; `None` if none is wanted.
    pub fn start(hierarchies: &Hierarchies, sys_root: &Path, wanted: &[PerfEvent]) -> Option<Self> {
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.is_empty() {
            return None;
        }
        let cpus = online_cpus(sys_root);
        let (mut events, mut refused) = (Vec::new(), Vec::new());
        for event in wanted {
            match probe(hierarchies, event, cpus.first().copied()) {
                Ok(()) => events.push(event),
                Err(reason) => {
                    tracing::warn!("{} is not counted: {reason}", event.as_str());
                    refused.push((event, reason));
                }
            }
        }
        Some(Self { events, refused, cpus, budget: Budget::new() })
    }
}

fn online_cpus(sys_root: &Path) -> Vec<u32> {
    let text = read_text(&sys_root.join("devices/system/cpu/online"));
    text.and_then(|text| parse_cpu_list(&text)).unwrap_or_default().into_iter().collect()
}

fn probe(hierarchies: &Hierarchies, event: PerfEvent, cpu: Option<u32>) -> Result<(), Reason> {
    let cpu = cpu.ok_or_else(|| Reason::kernel("/sys does not say which CPUs are online"))?;
    let no_controller = Reason::NoController { controller: CONTROLLER };
    let root = hierarchies.controller(CONTROLLER).ok_or(no_controller)?.root;
    let opened = File::open(root).and_then(|root| Counter::open(event, &root, cpu));
    opened.map(|_| ()).map_err(|error| reason(&error))
}

fn reason(error: &io::Error) -> Reason {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => Reason::NotPermitted { needs: &["CAP_PERFMON"] },
        Some(libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV) => Reason::NoPerfEvent,
        _ => Reason::kernel(&format!("perf_event_open: {error}")),
    }
}

/// How many descriptors are open, of all cgroups together.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    used: Arc<AtomicUsize>,
    max: usize,
}

impl Budget {
    /// Half of all descriptors at most, so that files and connections have theirs.
    fn new() -> Self {
        let half = usize::try_from(descriptor_limit() / 2).unwrap_or(usize::MAX);
        Self { used: Arc::default(), max: half.min(DESCRIPTORS_MAX) }
    }

    /// Room for so many descriptors, until it is dropped.
    pub(super) fn reserve(&self, descriptors: usize) -> Option<Reserved> {
        let add = |used: usize| Some(used + descriptors).filter(|used| *used <= self.max);
        let reserved = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        reserved.ok().map(|_| Reserved { budget: self.clone(), descriptors })
    }
}

/// Room for descriptors.
#[derive(Debug)]
pub(super) struct Reserved {
    budget: Budget,
    descriptors: usize,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.descriptors, Ordering::Relaxed);
    }
}
