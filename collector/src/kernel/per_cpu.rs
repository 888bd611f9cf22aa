//! Where each CPU has its copies of per-CPU values.
//!
//! A per-CPU pointer of the kernel's is the same for all CPUs; what is added to it for each CPU is
//! the same for all pointers, and stays until the host is shut down. A program that runs once finds
//! it.

use std::{
    collections::BTreeSet,
    fs,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use anyhow::{Context as _, Result, ensure};
use tare_ebpf::walk_record::{Holes, KFUNC_COUNT, per_cpu};
use tare_parsers::host_facts::parse_cpu_list;

use crate::{
    kernel::{
        btf::Btf,
        error::{TRACING, reason},
        mapping::Mapping,
        object::object,
        patched::{
            instructions::{self, Maps},
            sys,
        },
    },
    reason::Reason,
};

/// What the program that finds it needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PerCpuFacts {
    /// `bpf_array.pptrs`: where an array has the pointer to the copies of its values.
    pub(super) pointers: Option<u32>,
    /// Whether programs can look up the copies of other CPUs (`bpf_map_lookup_percpu_elem`, Linux
    /// 5.19). If not, the program runs on each CPU.
    pub(super) looks_up_others: bool,
}

/// What is added to a per-CPU pointer for each CPU, in a map for programs.
pub(super) struct PerCpu {
    map: OwnedFd,
    bases: Vec<Option<u64>>,
}

impl PerCpuFacts {
    /// Looks it up.
    pub(super) fn read(btf: &Btf) -> Self {
        let lookup = btf.enumerator(&["bpf_func_id"], "BPF_FUNC_map_lookup_percpu_elem");
        // An array without a length.
        let pointers = btf.field("bpf_array", &["pptrs"]).filter(|field| field.size == 0);
        Self { pointers: pointers.map(|field| field.offset), looks_up_others: lookup.is_some() }
    }

    /// Where an array has its pointer.
    ///
    /// # Errors
    ///
    /// If this kernel has no such field.
    pub(super) fn pointers(&self) -> Result<u32, Reason> {
        self.pointers.ok_or(Reason::MissingField { field: "bpf_array.pptrs" })
    }

    /// Runs the program.
    ///
    /// # Errors
    ///
    /// Why it could not be found.
    pub(super) fn find(&self) -> Result<PerCpu, Reason> {
        let pointers = self.pointers()?;
        self.run(pointers).map_err(|error| reason(&error, TRACING))
    }

    fn run(&self, array_copies: u32) -> Result<PerCpu> {
        let possible = possible_cpus()?;
        let cpus = places(&possible);
        let words = per_cpu::BASES + cpus as usize;
        let map = sys::create_array((words * size_of::<u64>()) as u32, 1).context("make a map")?;
        let copies = sys::create_per_cpu_value(size_of::<u64>() as u32).context("make a map")?;
        let found = Mapping::of(&map, words).context("map a map")?;
        let name = if self.looks_up_others { "per_cpu" } else { "per_cpu_here" };
        let mut code = instructions::program(object(), &format!("raw_tp/{name}"))?;
        let holes = Holes { cpus, array_copies, ..Holes::UNKNOWN };
        let maps =
            Maps { per_cpu: Some(map.as_fd()), copies: Some(copies.as_fd()), ..Maps::default() };
        instructions::patch(&mut code, &holes, &[None; KFUNC_COUNT], maps)?;
        let program = sys::load_raw_tracepoint(&code)?;
        if self.looks_up_others {
            sys::run_once(program.as_fd(), None).context("find the per-CPU memory")?;
        } else {
            for cpu in &possible {
                sys::run_once(program.as_fd(), Some(*cpu))
                    .with_context(|| format!("find the per-CPU memory of CPU {cpu}"))?;
            }
        }
        let base = |cpu: u32| {
            let is_possible = possible.contains(&cpu);
            is_possible.then(|| found.load(per_cpu::BASES + cpu as usize))
        };
        let bases: Vec<_> = (0..cpus).map(base).collect();
        // A kernel for one CPU adds nothing.
        let is_found = possible.len() == 1 || !bases.contains(&Some(0));
        ensure!(is_found, "the copies of per-CPU values were not found");
        Ok(PerCpu { map, bases })
    }
}

impl PerCpu {
    /// The map, laid out as [`per_cpu`] says.
    pub(super) fn map(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }

    /// By number of the CPU; `None` where there is no such CPU.
    pub(super) fn bases(&self) -> &[Option<u64>] {
        &self.bases
    }

    /// How many CPUs there may be, if they are numbered without a gap.
    pub(super) fn cpus(&self) -> Option<u32> {
        let is_without_gap = self.bases.iter().all(Option::is_some);
        is_without_gap.then_some(self.bases.len() as u32)
    }
}

/// How many entries a table by CPU needs.
pub(super) fn cpu_places() -> Result<u32> {
    Ok(places(&possible_cpus()?))
}

fn places(possible: &BTreeSet<u32>) -> u32 {
    possible.last().map_or(1, |last| last + 1)
}

/// The CPUs that may ever be online.
fn possible_cpus() -> Result<BTreeSet<u32>> {
    const FILE: &str = "/sys/devices/system/cpu/possible";
    let text = fs::read_to_string(FILE).context(FILE)?;
    parse_cpu_list(&text).with_context(|| format!("{FILE} says {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_place_for_the_last_cpu() {
        assert_eq!(parse_cpu_list("1,3-4").map(|possible| places(&possible)), Some(5));
    }

    #[test]
    fn cpus_are_counted_if_they_are_numbered_without_a_gap() {
        let count = |bases: &[Option<u64>]| {
            let map = fs::File::open("/dev/null").unwrap().into();
            PerCpu { map, bases: bases.to_vec() }.cpus()
        };
        assert_eq!(count(&[Some(7)]), Some(1));
        assert_eq!(count(&[Some(7), Some(9)]), Some(2));
        assert_eq!(count(&[None, Some(9)]), None);
    }
}
