//! What a walk over all cgroups finds, by family, and the records of one cgroup.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};

use crate::{
    cgroup::{Hierarchies, ReadError, Version, below},
    kernel::walk::{self, Digest, Fingerprint, Record, Records, Tree, Way},
    reason::Reason,
};

/// The most hierarchies that are walked: cgroup2 and a v1 one for each controller that is of use.
const HIERARCHIES_MAX: usize = 1 + CONTROLLERS.len();

/// The controllers whose numbers a walk has, by their v1 names.
const CONTROLLERS: [&str; 5] = ["cpu", "memory", "pids", "freezer", "cpuacct"];

/// The hierarchies that are walked, and which families their records have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalkLayout {
    hierarchies: Vec<Walked>,
    unified: Option<usize>,
    controllers: [Option<usize>; CONTROLLERS.len()],
    /// CPU time.
    pub cpu: Covered,
    /// Throttling by the CPU limit.
    pub throttling: Covered,
    /// Memory, its events and `memory.stat`.
    pub memory: Covered,
    /// Tasks.
    pub pids: Covered,
    /// Pressure.
    pub pressure: Covered,
    /// Settings that are plain fields in the kernel.
    pub settings: Covered,
    /// Populated and frozen.
    pub state: Covered,
}

/// Whether the records have a family, or why files are read for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered(pub Result<(), Reason>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Walked {
    id: u32,
    root: PathBuf,
}

/// The walk as a source of numbers.
#[derive(Clone, Copy, Debug)]
pub struct WalkStatus<'a> {
    /// How the cgroups are found, or why there is no walk.
    pub way: Result<Way, &'a Reason>,
    /// Which families its records have.
    pub layout: Option<&'a WalkLayout>,
}

/// The ids of one cgroup in the hierarchies that are walked. An id is never used again in its
/// hierarchy: it holds a generation (`fs/kernfs/dir.c`, `__kernfs_new_node`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupIds([Option<u64>; HIERARCHIES_MAX]);

/// The records of one cgroup.
#[derive(Clone, Copy)]
pub struct CgroupRecords<'a> {
    layout: &'a WalkLayout,
    records: [Option<Record<'a>>; HIERARCHIES_MAX],
}

/// What the walk says of a cgroup in the hierarchy of a controller.
pub enum Found<'a> {
    /// The hierarchy is not walked: files are read.
    NotWalked,
    /// The cgroup is not in the hierarchy.
    Absent,
    /// Its record.
    Record(Record<'a>),
}

/// The hierarchies of a host that a walk has a use for.
pub fn walked_hierarchies(hierarchies: &Hierarchies) -> Vec<walk::Hierarchy> {
    let hierarchies = &real(hierarchies);
    let is_legacy =
        |name: &str| hierarchies.controller(name).is_some_and(|found| found.version == Version::V1);
    let unified = hierarchies.unified.as_ref().map(|root| walk::Hierarchy {
        id: 0,
        root: root.clone(),
        controllers: CONTROLLERS
            .iter()
            // cgroup2 freezes and accounts for CPU time without a controller.
            .filter(|name| !["freezer", "cpuacct"].contains(name) && !is_legacy(name))
            .map(|name| (*name).to_owned())
            .collect(),
        counts_swap: if is_legacy("memory") { None } else { counts_swap(root) },
    });
    let legacy = hierarchies.legacy.iter().filter_map(|found| {
        let of_use = |name: &&str| found.controllers.iter().any(|other| other == name);
        CONTROLLERS.iter().any(of_use).then_some(())?;
        let swap = found.path.join("memory.memsw.usage_in_bytes");
        Some(walk::Hierarchy {
            id: found.id?,
            root: found.path.clone(),
            controllers: found.controllers.clone(),
            counts_swap: Some(swap.exists()),
        })
    });
    unified.into_iter().chain(legacy).take(HIERARCHIES_MAX).collect()
}

/// Those that are mounted: a copy of a tree has files, but no records.
fn real(hierarchies: &Hierarchies) -> Hierarchies {
    let is = |root: &Path, kind| statfs(root).is_ok_and(|found| found.filesystem_type() == kind);
    let mut real = hierarchies.clone();
    real.unified.take_if(|root| !is(root, CGROUP2_SUPER_MAGIC));
    real.legacy.retain(|legacy| is(&legacy.path, CGROUP_SUPER_MAGIC));
    real
}

/// Whether cgroup2 counts swap, by the files of the first cgroup that has the memory controller.
fn counts_swap(root: &Path) -> Option<bool> {
    let below = fs::read_dir(root).ok()?.flatten().map(|entry| entry.path());
    let has_memory = |path: &PathBuf| path.join("memory.current").exists();
    let found = below.into_iter().find(has_memory)?;
    Some(found.join("memory.swap.current").exists())
}

impl WalkLayout {
    /// What the records of a walk will have. Hierarchies that are not walked are given with the
    /// reason.
    pub fn new(hierarchies: &Hierarchies, records: Records<'_>, refused: &[(u32, Reason)]) -> Self {
        let trees: Vec<&Tree> = records.trees().collect();
        let place = |root: Option<&Path>| {
            trees.iter().position(|tree| Some(tree.hierarchy().root.as_path()) == root)
        };
        let controller = |name: &str| hierarchies.controller(name);
        let family = |root: Option<&Path>, family| {
            let Some(root) = root else { return Err(Reason::NotWalked) };
            match place(Some(root)) {
                Some(at) => trees[at].family(family).clone(),
                None => {
                    let id = hierarchies.id(root);
                    let refused = refused.iter().find(|(refused, _)| Some(*refused) == id);
                    Err(refused.map_or(Reason::NotWalked, |(_, reason)| reason.clone()))
                }
            }
        };
        let of = |name: &str, wanted| family(controller(name).map(|found| found.root), wanted);
        let unified = hierarchies.unified.as_deref();
        let legacy = |name: &str| controller(name).is_some_and(|c| c.version == Version::V1);
        let all = |families: &[walk::Family], name| {
            families.iter().try_for_each(|wanted| of(name, *wanted))
        };
        let cpu = match (legacy("cpuacct"), legacy("cpu")) {
            // Without it no file of v1 says CPU time.
            (false, true) => Err(Reason::NoController { controller: "cpuacct" }),
            _ => of("cpuacct", walk::Family::Cpu),
        };
        let memory = [walk::Family::Memory, walk::Family::MemoryEvents, walk::Family::MemoryStat];
        let pressure = [walk::Family::Pressure, walk::Family::PressureAverages];
        let state = unified.map_or(Ok(()), |root| family(Some(root), walk::Family::State));
        let settings = ["cpu", "memory", "pids"]
            .into_iter()
            .try_for_each(|name| of(name, walk::Family::Settings))
            .and_then(|()| unified.map_or(Ok(()), |root| family(Some(root), walk::Family::Tree)));
        Self {
            unified: place(unified),
            controllers: CONTROLLERS.map(|name| place(controller(name).map(|found| found.root))),
            cpu: Covered(cpu),
            throttling: Covered(of("cpu", walk::Family::Throttling)),
            memory: Covered(all(&memory, "memory")),
            pids: Covered(of("pids", walk::Family::Pids)),
            pressure: Covered(pressure.into_iter().try_for_each(|wanted| family(unified, wanted))),
            settings: Covered(settings),
            state: Covered(state.and_then(|()| match legacy("freezer") {
                true => of("freezer", walk::Family::State),
                false => Ok(()),
            })),
            hierarchies: trees
                .iter()
                .map(|tree| Walked { id: tree.hierarchy().id, root: tree.hierarchy().root.clone() })
                .take(HIERARCHIES_MAX)
                .collect(),
        }
    }

    /// The ids that the cgroup at a path has now.
    ///
    /// # Errors
    ///
    /// If a directory is there and cannot be looked at.
    pub fn ids(&self, path: &str) -> Result<CgroupIds, ReadError> {
        let mut ids = CgroupIds::default();
        for (id, hierarchy) in ids.0.iter_mut().zip(&self.hierarchies) {
            let directory = below(&hierarchy.root, path);
            *id = match fs::metadata(&directory) {
                Ok(found) => Some(found.ino()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(ReadError::from_io(&directory, error)),
            };
        }
        Ok(ids)
    }

    /// The id in the hierarchy of the memory controller, if the cgroup is there.
    pub fn memory_id(&self, ids: &CgroupIds) -> Option<u64> {
        ids.0.get(self.controllers[1]?).copied().flatten()
    }

    /// The records of a cgroup; `None` if one of them is missing: it was made or removed during the
    /// walk, or there are too many cgroups.
    pub fn find<'a>(&'a self, records: Records<'a>, ids: &CgroupIds) -> Option<CgroupRecords<'a>> {
        let mut found = [None; HIERARCHIES_MAX];
        for ((place, id), hierarchy) in found.iter_mut().zip(ids.0).zip(&self.hierarchies) {
            if let Some(id) = id {
                *place = Some(records.find(hierarchy.id, id)?);
            }
        }
        Some(CgroupRecords { layout: self, records: found })
    }
}

impl<'a> WalkStatus<'a> {
    /// What has the records of a family, or why files are read for it.
    pub fn of(&self, covered: impl Fn(&'a WalkLayout) -> &'a Covered) -> Result<Way, &'a Reason> {
        let way = self.way?;
        match self.layout.map(|layout| &covered(layout).0) {
            Some(Err(reason)) => Err(reason),
            Some(Ok(())) | None => Ok(way),
        }
    }
}

impl Default for Covered {
    fn default() -> Self {
        Self(Err(Reason::NotWalked))
    }
}

impl Covered {
    /// Whether the records have the family.
    pub fn is_walked(&self) -> bool {
        self.0.is_ok()
    }
}

impl CgroupIds {
    /// Whether a cgroup with these ids is still the same if it has those now.
    pub fn are_among(&self, now: &Self) -> bool {
        self.0.iter().zip(&now.0).all(|(known, now)| known.is_none() || known == now)
    }
}

impl<'a> CgroupRecords<'a> {
    /// Which families they have.
    pub fn layout(&self) -> &'a WalkLayout {
        self.layout
    }

    /// All that the numbers of these records are made from. `revision` is that of what is known of
    /// the words of `memory.stat`.
    pub fn fingerprint(&self, revision: u64) -> Fingerprint {
        let mut digest = Digest::new(revision);
        self.records.iter().flatten().for_each(|record| digest.add(record));
        digest.finish()
    }

    /// The record in cgroup2.
    pub fn unified(&self) -> Found<'a> {
        self.at(self.layout.unified)
    }

    /// The record in the hierarchy of the CPU controller.
    pub fn cpu(&self) -> Found<'a> {
        self.at(self.layout.controllers[0])
    }

    /// The record in the hierarchy that accounts for CPU time.
    pub fn cpu_time(&self) -> Found<'a> {
        self.at(self.layout.controllers[4])
    }

    /// The record in the hierarchy of the memory controller.
    pub fn memory(&self) -> Found<'a> {
        self.at(self.layout.controllers[1])
    }

    /// The record in the hierarchy of the pids controller.
    pub fn pids(&self) -> Found<'a> {
        self.at(self.layout.controllers[2])
    }

    /// The record in the hierarchy of the v1 freezer.
    pub fn freezer(&self) -> Found<'a> {
        match self.layout.controllers[3] {
            at if at == self.layout.unified => Found::NotWalked,
            at => self.at(at),
        }
    }

    fn at(&self, at: Option<usize>) -> Found<'a> {
        match at.map(|at| self.records.get(at).copied().flatten()) {
            None => Found::NotWalked,
            Some(None) => Found::Absent,
            Some(Some(record)) => Found::Record(record),
        }
    }
}
