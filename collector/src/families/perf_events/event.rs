//! Which events there are, by perf's names.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// An event that the kernel knows on every architecture (`include/uapi/linux/perf_event.h`,
/// `perf_hw_id` and `perf_sw_ids`). The hardware may lack those of the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum PerfEvent {
    /// Cycles of the CPU.
    Cycles,
    /// Instructions that were completed.
    Instructions,
    /// Accesses to the last cache.
    CacheReferences,
    /// Accesses that missed it.
    CacheMisses,
    /// Branches.
    Branches,
    /// Branches that were predicted wrongly.
    BranchMisses,
    /// Cycles of the bus.
    BusCycles,
    /// Cycles without an instruction to start.
    StalledCyclesFrontend,
    /// Cycles in which instructions waited for what they need.
    StalledCyclesBackend,
    /// Cycles at the nominal frequency.
    RefCycles,
    /// Nanoseconds on the CPU, by its clock.
    CpuClock,
    /// Nanoseconds on the CPU, by the clock of tasks.
    TaskClock,
    /// Page faults.
    PageFaults,
    /// Times that a CPU was given to another task.
    ContextSwitches,
    /// Times that a task moved to another CPU.
    CpuMigrations,
    /// Page faults without I/O.
    MinorFaults,
    /// Page faults with I/O.
    MajorFaults,
    /// Unaligned accesses that the kernel completed.
    AlignmentFaults,
    /// Instructions that the kernel emulated.
    EmulationFaults,
}

/// `PERF_TYPE_HARDWARE`.
const HARDWARE: u32 = 0;

/// `PERF_TYPE_SOFTWARE`.
const SOFTWARE: u32 = 1;

impl PerfEvent {
    /// Its name, which is perf's.
    pub fn as_str(self) -> &'static str {
        self.definition().0
    }

    /// The kernel's type and number of it.
    pub(super) fn attribute(self) -> (u32, u64) {
        let (_, kind, number) = self.definition();
        (kind, number)
    }

    fn definition(self) -> (&'static str, u32, u64) {
        match self {
            Self::Cycles => ("cycles", HARDWARE, 0),
            Self::Instructions => ("instructions", HARDWARE, 1),
            Self::CacheReferences => ("cache-references", HARDWARE, 2),
            Self::CacheMisses => ("cache-misses", HARDWARE, 3),
            Self::Branches => ("branches", HARDWARE, 4),
            Self::BranchMisses => ("branch-misses", HARDWARE, 5),
            Self::BusCycles => ("bus-cycles", HARDWARE, 6),
            Self::StalledCyclesFrontend => ("stalled-cycles-frontend", HARDWARE, 7),
            Self::StalledCyclesBackend => ("stalled-cycles-backend", HARDWARE, 8),
            Self::RefCycles => ("ref-cycles", HARDWARE, 9),
            Self::CpuClock => ("cpu-clock", SOFTWARE, 0),
            Self::TaskClock => ("task-clock", SOFTWARE, 1),
            Self::PageFaults => ("page-faults", SOFTWARE, 2),
            Self::ContextSwitches => ("context-switches", SOFTWARE, 3),
            Self::CpuMigrations => ("cpu-migrations", SOFTWARE, 4),
            Self::MinorFaults => ("minor-faults", SOFTWARE, 5),
            Self::MajorFaults => ("major-faults", SOFTWARE, 6),
            Self::AlignmentFaults => ("alignment-faults", SOFTWARE, 7),
            Self::EmulationFaults => ("emulation-faults", SOFTWARE, 8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_one_name_everywhere() {
        for event in PerfEvent::value_variants() {
            assert_eq!(event.to_possible_value().unwrap().get_name(), event.as_str());
            assert_eq!(serde_json::to_value(event).unwrap(), event.as_str());
        }
    }
}
