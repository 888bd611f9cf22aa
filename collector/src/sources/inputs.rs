//! What sources are decided from.

use crate::{
    cgroup::{CgroupFiles, Hierarchies, Version, file::descriptor_limit},
    identity::{Group, Status},
    kernel::{Kernel, KernelStatus, SocketIds},
    reason::Reason,
    registry::{Registry, TrackedCgroup},
    sample::Reconciliation,
    sources::{Gap, SourceStatus},
};

/// All that is known, as plain data.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// The mounted cgroup hierarchies.
    pub hierarchies: &'a Hierarchies,
    /// Cgroup files that are opened anew for each reading, for want of descriptors.
    pub reopened_files: usize,
    /// What the kernel's programs do.
    pub kernel: KernelStatus<'a>,
    /// By which ids sockets are counted.
    pub socket_ids: Option<SocketIds>,
    /// Instances that the counters of sockets do not tell apart.
    pub inseparable: usize,
    /// Cgroups whose block I/O the kernel charges to one above.
    pub charged_above: usize,
    /// Whether any instance's network namespace is known.
    pub any_namespace: bool,
    /// Why some instance's network namespace is not.
    pub namespace_fault: Option<&'a Reason>,
    /// Our count of block requests beside the kernel's.
    pub requests: Option<&'a Reconciliation>,
    /// Our count of TCP segments that are sent again beside the kernel's.
    pub segments: Option<&'a Reconciliation>,
    /// The container daemons that have something to answer; `None` for one that is not to be asked.
    pub daemons: Vec<(Group, Option<Status>)>,
}

impl<'a> Inputs<'a> {
    /// Collects what is known now.
    pub fn collect(
        registry: &'a Registry,
        kernel: &'a Kernel,
        requests: Option<&'a Reconciliation>,
        segments: Option<&'a Reconciliation>,
    ) -> Self {
        let files = || registry.tracked().filter_map(|tracked| tracked.files.as_ref());
        let charged_above = |files: &&CgroupFiles| files.io_charged_to().is_some();
        let has_namespace = |tracked: &TrackedCgroup| tracked.namespace.is_some();
        Self {
            hierarchies: registry.hierarchies(),
            reopened_files: files().map(CgroupFiles::unheld).sum(),
            kernel: kernel.status(),
            socket_ids: registry.socket_ids(),
            // It reads files, for nothing if there are no counters.
            inseparable: if kernel.sockets.is_ok() { registry.inseparable() } else { 0 },
            charged_above: files().filter(charged_above).count(),
            any_namespace: registry.tracked().any(has_namespace),
            namespace_fault: registry.namespace_fault(),
            requests,
            segments,
            daemons: registry.names().status(),
        }
    }

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
        let files = self.reopened_files;
        let limit = || Gap::from(Reason::OpenFilesLimit { files, limit: descriptor_limit() });
        SourceStatus::new(source, (files > 0).then(limit).into_iter().collect())
    }
}
