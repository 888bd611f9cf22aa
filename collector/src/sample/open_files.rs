//! The phase of a sample that has the kernel count open files, part by part, at a pace of its own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tare_ebpf::OpenFiles;

use crate::{
    clock::Moment,
    families::{cadence::PassCadence, tasks::OpenFilesReading},
    hashing::{HashMap, HashSet},
    kernel::Kernel,
    process,
    registry::{Counters, InstanceId, Registry},
    sample::Usage,
};

/// Counts open files.
#[derive(Debug)]
pub(super) struct OpenFileReader {
    cadence: PassCadence,
    /// The pass that is under way.
    pass: Option<Pass>,
    /// The instances that were there when it began. Of others it may miss a part.
    instances: HashSet<InstanceId>,
    /// Those without open files share one.
    readings: HashMap<InstanceId, Arc<OpenFilesReading>>,
}

/// A pass that has begun.
#[derive(Debug)]
struct Pass {
    begun: Instant,
    /// CPU time so far.
    took: Duration,
}

impl OpenFileReader {
    pub(super) fn new() -> Self {
        Self {
            cadence: PassCadence::of_open_files(),
            pass: None,
            instances: HashSet::default(),
            readings: HashMap::default(),
        }
    }

    /// Begins a pass if one is due, or goes on with it, and gives each usage what the last one
    /// found.
    pub(super) fn read(
        &mut self,
        registry: &Registry,
        kernel: &mut Kernel,
        now: Moment,
        usages: &mut [Usage],
    ) {
        let counts = kernel.tasks.as_ref().is_ok_and(|tasks| tasks.open_files.is_ok());
        if counts && (self.pass.is_some() || self.cadence.is_due(now.instant)) {
            self.go_on(registry, kernel, now);
        }
        for usage in usages {
            let latest = self.readings.get(&usage.instance.id);
            if usage.open_files.as_ref().map(Arc::as_ptr) != latest.map(Arc::as_ptr) {
                usage.open_files = latest.cloned();
            }
        }
    }

    /// Forgets instances that are gone.
    pub(super) fn retain(&mut self, is_alive: impl Fn(InstanceId) -> bool) {
        self.readings.retain(|id, _| is_alive(*id));
    }

    fn go_on(&mut self, registry: &Registry, kernel: &mut Kernel, now: Moment) {
        let started = process::cpu_time();
        let mut pass = self.pass.take().unwrap_or_else(|| {
            self.instances.clear();
            self.instances.extend(registry.tracked().map(|tracked| tracked.instance.id));
            Pass { begun: now.instant, took: Duration::ZERO }
        });
        let ended = kernel.find_open_files();
        match &ended {
            Ok(true) => self.take(registry, kernel, now),
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(%error, "the open files were not counted");
                self.readings.clear();
            }
        }
        pass.took += process::cpu_time().saturating_sub(started);
        if matches!(ended, Ok(false)) {
            self.pass = Some(pass);
        } else {
            tracing::debug!(microseconds = pass.took.as_micros(), "a pass over the open files");
            self.cadence.done(pass.begun, pass.took);
        }
    }

    fn take(&mut self, registry: &Registry, kernel: &Kernel, now: Moment) {
        let none = Arc::new(OpenFilesReading { read_at: now, descriptors: 0, sockets: 0 });
        self.readings.clear();
        self.readings.extend(self.instances.iter().map(|id| (*id, Arc::clone(&none))));
        kernel.for_each_with_open_files(|key, OpenFiles { files, sockets, .. }| {
            let owner = registry.owner(Counters::Net, key.cgroup_id);
            if let Some(reading) = owner.and_then(|owner| self.readings.get_mut(&owner)) {
                let reading = Arc::make_mut(reading);
                reading.descriptors += files;
                reading.sockets += sockets;
            }
        });
    }
}
