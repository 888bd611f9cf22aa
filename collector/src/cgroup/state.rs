//! Whether a cgroup lives and whether it is frozen.

use crate::cgroup::error::ReadError;
use crate::cgroup::file::KeptFile;
use crate::cgroup::mounts::{Hierarchies, Version};
use crate::cgroup::text::named_numbers;
use crate::cgroup::walk::below;

/// What a cgroup is about. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupState {
    /// Whether a process is in it or below it. Only the unified hierarchy tells.
    pub populated: Option<bool>,
    /// Whether all its processes are stopped, as by `docker pause`.
    pub frozen: Option<bool>,
}

/// The open files of one cgroup that tell its state.
#[derive(Debug)]
pub struct StateFiles {
    /// v2.
    events: Option<KeptFile>,
    /// v1.
    freezer: Option<KeptFile>,
}

impl StateFiles {
    /// Opens the files of the cgroup at a path such as `/docker/abc`; `None` if there are none:
    /// `cgroup.events` of the unified hierarchy, and `freezer.state` where the freezer is in a v1
    /// one.
    ///
    /// # Errors
    ///
    /// If a file is there but cannot be opened.
    pub fn open(hierarchies: &Hierarchies, path: &str) -> Result<Option<Self>, ReadError> {
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

    /// Reads the state. Frozen is what either freezer has frozen.
    ///
    /// # Errors
    ///
    /// [`ReadError::Vanished`] when the cgroup was removed.
    pub fn read_state(&self, buffer: &mut Vec<u8>) -> Result<CgroupState, ReadError> {
        let mut state = CgroupState::default();
        if let Some(file) = &self.events {
            state = parse_events(file.read(buffer)?);
        }
        if let Some(file) = &self.freezer {
            let frozen = parse_freezer(file.read(buffer)?);
            state.frozen = match (state.frozen, frozen) {
                (Some(one), Some(other)) => Some(one || other),
                (one, other) => one.or(other),
            };
        }
        Ok(state)
    }

    /// The files.
    pub fn files(&self) -> impl Iterator<Item = &KeptFile> {
        [&self.events, &self.freezer].into_iter().flatten()
    }
}

/// Reads a `cgroup.events` of v2 (`kernel/cgroup/cgroup.c`, `cgroup_events_show`).
pub fn parse_events(text: &[u8]) -> CgroupState {
    let mut state = CgroupState::default();
    for (name, value) in named_numbers(text) {
        match name {
            b"populated" => state.populated = Some(value != 0),
            b"frozen" => state.frozen = Some(value != 0),
            _ => {}
        }
    }
    state
}

/// Reads a `freezer.state` of v1 (`kernel/cgroup/legacy_freezer.c`, `freezer_state_strs`). A cgroup
/// that is `FREEZING` still has tasks that run.
pub fn parse_freezer(text: &[u8]) -> Option<bool> {
    match text.trim_ascii() {
        b"FROZEN" => Some(true),
        b"THAWED" | b"FREEZING" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

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
            let files = StateFiles::open(&hierarchies, "/abc").unwrap().unwrap();
            let state = files.read_state(&mut Vec::new()).unwrap();
            (state.populated, state.frozen)
        };
        assert_eq!(read("populated 1\nfrozen 0\n", "THAWED\n"), (Some(true), Some(false)));
        assert_eq!(read("populated 1\nfrozen 0\n", "FROZEN\n"), (Some(true), Some(true)));
        assert_eq!(read("populated 0\nfrozen 1\n", "THAWED\n"), (Some(false), Some(true)));
        assert_eq!(read("populated 0\n", "FREEZING\n"), (Some(false), Some(false)));
        assert_eq!(read("", "?"), (None, None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(text: Vec<u8>) {
            parse_events(&text);
            parse_freezer(&text);
        }
    }
}
