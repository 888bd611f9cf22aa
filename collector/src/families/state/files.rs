//! State from cgroup files.

use tare_parsers::state::{CgroupState, parse_cgroup_events, parse_freezer_state};

use crate::{
    cgroup::{Hierarchies, KeptFile, ReadError, Version, below},
    families::{
        readers::{CgroupReader, ReadContext},
        walked::{Found, WalkLayout},
    },
    kernel::walk::Freezing,
};

/// The open files of one cgroup with its state.
#[derive(Debug)]
pub struct StateFiles {
    /// v2.
    events: Option<KeptFile>,
    /// v1.
    freezer: Option<KeptFile>,
}

impl CgroupReader for StateFiles {
    type Reading = CgroupState;

    fn is_known(reading: &Self::Reading) -> bool {
        reading.populated.is_some() || reading.frozen.is_some()
    }

    /// `cgroup.events` of the unified hierarchy, and `freezer.state` where the freezer is in a v1
    /// one.
    fn open(hierarchies: &Hierarchies, path: &str) -> Result<Option<Self>, ReadError> {
        let events = match hierarchies.unified.as_deref() {
            Some(root) => KeptFile::open(&below(root, path).join("cgroup.events"))?,
            None => None,
        };
        let freezer = match hierarchies.controller("freezer") {
            Some(freezer) if freezer.version == Version::V1 => {
                KeptFile::open(&below(freezer.root, path).join("freezer.state"))?
            }
            _ => None,
        };
        Ok((events.is_some() || freezer.is_some()).then_some(Self { events, freezer }))
    }

    fn is_due(context: &ReadContext<'_>) -> bool {
        context.due.tasks
    }

    /// Frozen is what either freezer has frozen.
    fn read(
        &mut self,
        context: &mut ReadContext<'_>,
        latest: &mut CgroupState,
    ) -> Result<(), ReadError> {
        *latest = CgroupState::default();
        let mut state = CgroupState::default();
        if let Some(file) = &self.events {
            state = parse_cgroup_events(file.read(context.buffer)?);
        }
        if let Some(file) = &self.freezer {
            let frozen = parse_freezer_state(file.read(context.buffer)?);
            state.frozen = either(state.frozen, frozen);
        }
        *latest = state;
        Ok(())
    }

    fn files(&self) -> impl Iterator<Item = &KeptFile> {
        [&self.events, &self.freezer].into_iter().flatten()
    }

    fn opens_on_demand(layout: &WalkLayout) -> bool {
        layout.state.is_walked()
    }

    /// While the v1 freezer stops tasks, only its file finds out whether all have stopped.
    fn from_record(
        _: Option<&mut Self>,
        context: &mut ReadContext<'_>,
        latest: &mut CgroupState,
    ) -> Result<bool, ReadError> {
        let Some(walked) = &context.walked else { return Ok(false) };
        if !walked.records.layout().state.is_walked() {
            return Ok(false);
        }
        let mut state = CgroupState::default();
        // The root has no such file.
        if let Found::Record(record) = walked.records.unified()
            && record.level() > 0
        {
            state = CgroupState { populated: record.populated(), frozen: record.frozen() };
        }
        if let Found::Record(record) = walked.records.freezer()
            && record.level() > 0
        {
            let frozen = match record.freezing() {
                Some(Freezing::Freezing) => return Ok(false),
                found => found.map(|found| found == Freezing::Frozen),
            };
            state.frozen = either(state.frozen, frozen);
        }
        *latest = state;
        Ok(true)
    }
}

fn either(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one || other),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, time::Instant};

    use super::*;
    use crate::cgroup::find_hierarchies;

    #[test]
    fn either_freezer_freezes() {
        let tree = tempfile::tempdir().unwrap();
        for directory in ["freezer/abc", "unified/abc"] {
            fs::create_dir_all(tree.path().join(directory)).unwrap();
        }
        fs::write(tree.path().join("unified/cgroup.controllers"), "").unwrap();
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        assert!(StateFiles::open(&hierarchies, "/abc").unwrap().is_none());
        let read = |events: &str, freezer: &str| {
            fs::write(tree.path().join("unified/abc/cgroup.events"), events).unwrap();
            fs::write(tree.path().join("freezer/abc/freezer.state"), freezer).unwrap();
            let mut files = StateFiles::open(&hierarchies, "/abc").unwrap().unwrap();
            let (mut buffer, mut state) = (Vec::new(), CgroupState::default());
            files.read(&mut ReadContext::new(Instant::now(), &mut buffer), &mut state).unwrap();
            (state.populated, state.frozen)
        };
        assert_eq!(read("populated 1\nfrozen 0\n", "THAWED\n"), (Some(true), Some(false)));
        assert_eq!(read("populated 1\nfrozen 0\n", "FROZEN\n"), (Some(true), Some(true)));
        assert_eq!(read("populated 0\nfrozen 1\n", "THAWED\n"), (Some(false), Some(true)));
        assert_eq!(read("populated 0\n", "FREEZING\n"), (Some(false), Some(false)));
        assert_eq!(read("", "?"), (None, None));
    }
}
