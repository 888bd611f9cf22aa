//! The families of numbers.

pub mod block;
pub mod cadence;
pub mod cpu;
pub mod first_process;
pub mod lifecycle;
pub mod memory;
pub mod namespace_sockets;
pub mod network_interfaces;
pub mod network_sockets;
pub mod network_tcp;
pub mod perf_events;
pub mod pids;
pub mod pressure;
pub mod processes;
pub mod readers;
pub mod settings;
pub mod source;
pub mod state;
pub mod tasks;
pub mod units;
pub mod walked;
pub mod writable_layer;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tare_model::Family;
use tare_parsers::cpu::CpuUsage;

pub use self::readers::{CgroupReader, Place, ReadContext, ReadStep, WalkedCgroup};
use self::{
    cadence::Cadence,
    cpu::CpuFiles,
    readers::{FinalStep, Slot},
    walked::{CgroupIds, WalkLayout},
};
use crate::{
    cgroup::{Hierarchies, ReadError},
    exposition::MetricGroup,
    kernel::walk::Fingerprint,
};

/// Makes [`Readers`] and [`Readings`] of a list of families. CPU time is not in the list: it is
/// read first, and decides what else is due.
macro_rules! cgroup_families {
    ($($(#[$about:meta])* $family:ident: $reader:ty,)*) => {
        /// The open files of one cgroup.
        ///
        /// About a dozen descriptors; drop it when the cgroup ended.
        #[derive(Debug)]
        pub struct Readers {
            ids: CgroupIds,
            /// What a walk had found when `latest` was read, if all of it is from there.
            made_from: Option<Fingerprint>,
            /// Whether averages of pressure in `latest` fade.
            is_fading: bool,
            /// What was read last. Samples share it, until something else is read.
            latest: Arc<Readings>,
            cadence: Cadence,
            /// CPU time that was read last, also where the last reading failed.
            cpu_before: CpuUsage,
            cpu: Slot<CpuFiles>,
            $($family: Slot<$reader>,)*
            block_charged_to: Option<String>,
        }

        /// What was last read of one cgroup, family by family.
        #[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
        #[serde(default)]
        pub struct Readings {
            /// CPU time, which never falls.
            pub cpu: CpuUsage,
            $($(#[$about])* pub $family: <$reader as CgroupReader>::Reading,)*
        }

        impl Readers {
            /// One function for each family, between [`Readers::begin`] and [`Readers::keep`]. A
            /// sample calls each for all cgroups before the next: the first read of a family makes
            /// the kernel add up its per-CPU counts for all of them, and later reads of the same
            /// family find little left to do.
            pub const STEPS: &[ReadStep] = &[
                Self::read_cpu,
                $(|readers, context, latest| {
                    context.due = readers.cadence.due();
                    readers.$family.refresh(context, &mut latest.$family).map(drop)
                },)*
            ];

            /// The same for the last reading of a cgroup, by the name of the family.
            pub const FINAL_STEPS: &[(Option<Family>, FinalStep)] = &[
                (CpuFiles::FAMILY, Self::read_final_cpu),
                $((<$reader>::FAMILY, |readers, context, out| {
                    context.due = readers.cadence.due();
                    let latest = &mut Arc::make_mut(&mut readers.latest).$family;
                    let is_known =
                        readers.$family.refresh(context, latest)? && <$reader>::is_known(latest);
                    if is_known {
                        out.$family.clone_from(latest);
                    }
                    Ok(is_known)
                }),)*
            ];

            /// Opens the files of the cgroup at a path such as `/docker/abc`, the same below each
            /// root. A family without files is unknown.
            ///
            /// # Errors
            ///
            /// If a file is there but cannot be opened.
            pub fn open(hierarchies: &Hierarchies, path: &str) -> Result<Self, ReadError> {
                Ok(Self {
                    cpu: Slot::open(hierarchies, path)?,
                    $($family: Slot::open(hierarchies, path)?,)*
                    block_charged_to: block::charged_to(hierarchies, path),
                    ..Self::closed(path, CgroupIds::default())
                })
            }

            /// Opens only what the records of a walk do not have. The other files are opened when a
            /// record is missing, if the cgroup at the path is still the same.
            ///
            /// # Errors
            ///
            /// As [`Readers::open`].
            pub fn open_beside_walk(
                hierarchies: &Hierarchies,
                path: &str,
                layout: &WalkLayout,
            ) -> Result<Self, ReadError> {
                // First: what is opened after it belongs to the cgroup with these ids, or to none.
                let closed = Self::closed(path, layout.ids(path)?);
                Ok(Self {
                    cpu: Slot::open_beside_walk(hierarchies, path, layout)?,
                    $($family: Slot::open_beside_walk(hierarchies, path, layout)?,)*
                    block_charged_to: block::charged_to(hierarchies, path),
                    ..closed
                })
            }

            /// Opens the files of CPU time and memory only, as far as no walk spares them; the
            /// other families stay unknown.
            ///
            /// # Errors
            ///
            /// As [`Readers::open`].
            pub fn open_cpu_and_memory(
                hierarchies: &Hierarchies,
                path: &str,
                walk: Option<&WalkLayout>,
            ) -> Result<Self, ReadError> {
                // First, as in `open_beside_walk`.
                let ids = walk.map_or(Ok(CgroupIds::default()), |layout| layout.ids(path))?;
                let mut readers = Self::closed(path, ids);
                (readers.cpu, readers.memory) = match walk {
                    Some(layout) => (
                        Slot::open_beside_walk(hierarchies, path, layout)?,
                        Slot::open_beside_walk(hierarchies, path, layout)?,
                    ),
                    None => (Slot::open(hierarchies, path)?, Slot::open(hierarchies, path)?),
                };
                Ok(readers)
            }

            fn closed(path: &str, ids: CgroupIds) -> Self {
                Self {
                    ids,
                    made_from: None,
                    is_fading: false,
                    latest: Arc::default(),
                    cadence: Cadence::new(path),
                    cpu_before: CpuUsage::default(),
                    cpu: Slot::closed(),
                    $($family: Slot::closed(),)*
                    block_charged_to: None,
                }
            }

            /// How many files are opened anew for each read, because descriptors are scarce.
            pub fn reopened(&self) -> usize {
                self.cpu.reopened() $(+ self.$family.reopened())*
            }
        }

        impl Clone for Readings {
            fn clone(&self) -> Self {
                Self { cpu: self.cpu, $($family: self.$family.clone(),)* }
            }

            /// Without allocation where there is room.
            fn clone_from(&mut self, source: &Self) {
                self.cpu = source.cpu;
                $(self.$family.clone_from(&source.$family);)*
            }
        }
    };
}

// The families that are read from cgroup files, besides CPU time, in the order of reading.
cgroup_families! {
    /// Memory and swap.
    memory: memory::MemoryFiles,
    /// Tasks: threads, not processes.
    pids: pids::PidsFiles,
    /// Block I/O from cgroup files, read only where no program counts it.
    block: block::IoFiles,
    /// Whether it is populated and whether it is frozen.
    state: state::StateFiles,
    /// Time lost to waiting.
    pressure: pressure::PressureFiles,
    /// Settings, limits and peaks, some seconds old at most.
    settings: settings::SettingsFiles,
    /// Processes, as old as the settings.
    processes: processes::ProcessesFiles,
    /// What the first process shows, as old as the settings.
    first_process: first_process::FirstProcessFiles,
    /// CPU time by CPU, where it is wanted and counted.
    per_cpu: cpu::PerCpuFiles,
    /// Events that were asked for, some seconds old at most.
    perf_events: perf_events::PerfEventFiles,
}

/// The metrics of all families.
pub(crate) const METRICS: &[MetricGroup] = &[
    MetricGroup { name: "block", origin: block::ORIGIN, metrics: block::METRICS },
    MetricGroup { name: "cpu", origin: cpu::ORIGIN, metrics: cpu::METRICS },
    MetricGroup {
        name: "first_process",
        origin: first_process::ORIGIN,
        metrics: first_process::METRICS,
    },
    MetricGroup { name: "lifecycle", origin: lifecycle::ORIGIN, metrics: lifecycle::METRICS },
    MetricGroup { name: "memory", origin: memory::ORIGIN, metrics: memory::METRICS },
    MetricGroup {
        name: "namespace_sockets",
        origin: namespace_sockets::ORIGIN,
        metrics: namespace_sockets::METRICS,
    },
    MetricGroup {
        name: "network_interfaces",
        origin: network_interfaces::ORIGIN,
        metrics: network_interfaces::METRICS,
    },
    MetricGroup {
        name: "network_sockets",
        origin: network_sockets::ORIGIN,
        metrics: network_sockets::METRICS,
    },
    MetricGroup { name: "network_tcp", origin: network_tcp::ORIGIN, metrics: network_tcp::METRICS },
    MetricGroup { name: "perf_events", origin: perf_events::ORIGIN, metrics: perf_events::METRICS },
    MetricGroup { name: "pids", origin: pids::ORIGIN, metrics: pids::METRICS },
    MetricGroup { name: "pressure", origin: pressure::ORIGIN, metrics: pressure::METRICS },
    MetricGroup { name: "processes", origin: processes::ORIGIN, metrics: processes::METRICS },
    MetricGroup { name: "sched", origin: tasks::ORIGIN, metrics: tasks::DETAILS },
    MetricGroup { name: "tasks", origin: tasks::ORIGIN, metrics: tasks::METRICS },
    MetricGroup {
        name: "writable_layer",
        origin: writable_layer::ORIGIN,
        metrics: writable_layer::METRICS,
    },
];
