//! What was loaded into the kernel, as plain data.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd},
};

use aya::{
    Ebpf,
    maps::{Map, MapData},
    programs::{Program, ProgramError, ProgramInfo},
};
use serde::Serialize;

use crate::kernel::Kernel;

/// A program of the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoadedProgram {
    /// Its name in the object.
    #[serde(skip)]
    pub name: String,
    /// `tp_btf`, `cgroup_skb` or `iter`.
    pub kind: &'static str,
    /// Whether it is loaded and attached. A program that is not needed is neither.
    pub attached: bool,
    /// Instructions that the verifier processed (Linux 5.16); `None` if it is not loaded.
    pub verified_instructions: Option<u32>,
    /// Kernel memory that it takes; `None` if unknown.
    pub memory_bytes: Option<u64>,
}

/// A map of the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoadedMap {
    /// Its name in the object.
    #[serde(skip)]
    pub name: String,
    /// `hash`, `array`, `stack` or `ring`.
    pub kind: &'static str,
    /// How many entries it can hold; the bytes of a ring.
    pub entries: Option<u32>,
    /// Bytes of a key.
    pub key_bytes: Option<u32>,
    /// Bytes of a value.
    pub value_bytes: Option<u32>,
    /// Kernel memory that it takes; `None` if unknown.
    pub memory_bytes: Option<u64>,
}

impl Kernel {
    /// The programs of the object that count, in the order of their names; none if nothing was
    /// loaded. Those that walk are loaded apart from them ([`crate::kernel::walk`]), and those that
    /// are never attached are unloaded after one run.
    pub fn programs(&self) -> Vec<LoadedProgram> {
        let all = self.ebpf.as_ref().into_iter().flat_map(Ebpf::programs);
        let all = all.filter(|(_, found)| match found {
            Program::Iter(iterator) => iterator.fd().is_ok(),
            found => !matches!(found, Program::RawTracePoint(_)),
        });
        let mut programs: Vec<_> = all.map(|(name, found)| program(name, found)).collect();
        programs.sort_by(|a, b| a.name.cmp(&b.name));
        programs
    }
}

/// The maps of a loaded object. Call it before any of them is taken out.
pub(super) fn maps(ebpf: &Ebpf) -> Vec<LoadedMap> {
    let mut maps: Vec<_> = ebpf.maps().filter_map(|(name, map)| loaded_map(name, map)).collect();
    maps.sort_by(|a, b| a.name.cmp(&b.name));
    maps
}

fn program(name: &str, program: &Program) -> LoadedProgram {
    let kind = match program {
        Program::CgroupSkb(_) => "cgroup_skb",
        Program::Iter(_) => "iter",
        _ => "tp_btf",
    };
    // A program that cannot be attached is unloaded, so all loaded ones are attached.
    let info: Option<ProgramInfo> = match program {
        Program::BtfTracePoint(program) => known(program.info()),
        Program::CgroupSkb(program) => known(program.info()),
        Program::Iter(program) => known(program.info()),
        _ => None,
    };
    let memory_bytes = known(program.fd()).and_then(|fd| memory(fd.as_fd()));
    LoadedProgram {
        name: name.to_owned(),
        kind,
        attached: program.fd().is_ok(),
        verified_instructions: info.and_then(|info| info.verified_instruction_count()),
        memory_bytes,
    }
}

fn known<T>(found: Result<T, ProgramError>) -> Option<T> {
    found.ok()
}

fn loaded_map(name: &str, map: &Map) -> Option<LoadedMap> {
    let (kind, data): (_, &MapData) = match map {
        Map::HashMap(data) => ("hash", data),
        Map::Array(data) => ("array", data),
        Map::Stack(data) => ("stack", data),
        Map::RingBuf(data) => ("ring", data),
        _ => return None,
    };
    let info = data.info().ok();
    let info = info.as_ref();
    Some(LoadedMap {
        name: name.to_owned(),
        kind,
        entries: info.map(aya::maps::MapInfo::max_entries),
        key_bytes: info.map(aya::maps::MapInfo::key_size),
        value_bytes: info.map(aya::maps::MapInfo::value_size),
        memory_bytes: memory(data.fd()),
    })
}

/// The memory of a map or program in bytes, by `memlock` of `/proc/self/fdinfo`
/// (`kernel/bpf/syscall.c`, `bpf_map_show_fdinfo`). A process may read its own without any
/// capability.
fn memory(fd: impl AsFd) -> Option<u64> {
    let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok())
}
