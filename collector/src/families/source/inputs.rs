//! What sources are decided from.

use tare_model::Reconciled;

use crate::{
    cgroup::{Hierarchies, Version},
    families::{
        perf_events::PerfEvents,
        source::{Gap, SourceStatus},
        walked::{Covered, WalkLayout, WalkStatus},
    },
    kernel::{KernelStatus, SocketIds},
    reason::Reason,
};

/// All that is known, as plain data.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// The mounted cgroup hierarchies.
    pub hierarchies: &'a Hierarchies,
    /// Cgroup files that cannot stay open because there are too few descriptors.
    pub reopened_files: usize,
    /// `RLIMIT_NOFILE`.
    pub descriptor_limit: u64,
    /// The walk over all cgroups.
    pub walk: WalkStatus<'a>,
    /// What the kernel's programs do.
    pub kernel: KernelStatus<'a>,
    /// By which ids sockets are counted.
    pub socket_ids: Option<SocketIds>,
    /// Instances that the counters of sockets do not separate.
    pub inseparable: usize,
    /// Cgroups whose block I/O the kernel charges to one above.
    pub charged_above: usize,
    /// Whether any instance's network namespace is known.
    pub any_namespace: bool,
    /// Why some instance's network namespace is unknown.
    pub namespace_fault: Option<&'a Reason>,
    /// Which events are wanted, if any are.
    pub perf_events: Option<&'a PerfEvents>,
    /// Instances of which none is counted because there was no descriptor left.
    pub perf_refused: usize,
    /// Block requests, compared with the kernel's own count.
    pub requests: Option<Comparison>,
    /// TCP segments that were sent again, compared with the kernel's own count.
    pub segments: Option<Comparison>,
}

/// Our count compared with the kernel's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The two counts.
    pub reconciled: Reconciled,
    /// What is counted, for people.
    pub what: String,
}

impl<'a> Inputs<'a> {
    /// The version of the hierarchy that has a controller.
    pub fn version(&self, controller: &str) -> Option<Version> {
        self.hierarchies.controller(controller).map(|found| found.version)
    }

    /// Cgroup files as a source, by the version of the hierarchy that has their controller.
    pub fn files(
        &self,
        controller: &'static str,
        v1: &'static str,
        v2: &'static str,
    ) -> SourceStatus {
        let source = match self.version(controller) {
            Some(Version::V1) => v1,
            Some(Version::V2) => v2,
            None => return SourceStatus::off(Reason::NoController { controller }),
        };
        let (files, limit) = (self.reopened_files, self.descriptor_limit);
        let gap = (files > 0).then_some(Reason::OpenFilesLimit { files, limit });
        SourceStatus::new(source, gap.map(Gap::from).into_iter().collect())
    }

    /// The walk as a source where it has a family; else its files, with the reason.
    pub fn walk_or_files(
        &self,
        covered: impl Fn(&'a WalkLayout) -> &'a Covered,
        files: SourceStatus,
    ) -> SourceStatus {
        if files.source.is_none() {
            return files;
        }
        match self.walk.of(covered) {
            Ok(way) => SourceStatus::new(way.as_str(), files.gaps),
            Err(reason) => SourceStatus { not_walked: Some(reason.clone()), ..files },
        }
    }
}
