//! Finds function calls in the BPF object, which must have none.
//!
//! Linux 5.10 keeps the handlers of faulting loads (`aux->extable`) with each function of a
//! program but looks for them at the program as a whole (`jit_subprogs` in
//! `kernel/bpf/verifier.c`; seen on 5.10.262, gone in 6.1.192). There, a program of more than one
//! function that loads through a null pointer crashes the machine. So all functions are inlined.

use anyhow::{Context as _, Result};
use object::{Object as _, ObjectSection as _, SectionKind};

/// Names of the programs in an object that call functions.
pub(crate) fn programs_with_calls(object: &[u8]) -> Result<Vec<String>> {
    let object = object::File::parse(object).context("cannot parse the object")?;
    let mut names = Vec::new();
    for section in object.sections() {
        let name = section.name()?;
        // `.text` holds the functions themselves: unless a program calls them, they are not loaded.
        let is_program = section.kind() == SectionKind::Text && name != ".text";
        if is_program && has_call(section.data()?) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Whether there is an instruction `BPF_JMP | BPF_CALL` with `BPF_PSEUDO_CALL` as its source.
fn has_call(code: &[u8]) -> bool {
    const CALL: u8 = 0x85;
    const PSEUDO_CALL: u8 = 1;
    /// `BPF_LD | BPF_IMM | BPF_DW` is two instructions long.
    const LONG: u8 = 0x18;
    let mut instructions = code.chunks_exact(8);
    while let Some(instruction) = instructions.next() {
        let registers = instruction[1];
        let source = if cfg!(target_endian = "big") { registers & 15 } else { registers >> 4 };
        if instruction[0] == CALL && source == PSEUDO_CALL {
            return true;
        }
        if instruction[0] == LONG {
            instructions.next();
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn calls_of_functions_are_distinguished_from_calls_of_helpers() {
        let helper = [0x85, 0x00, 0, 0, 14, 0, 0, 0];
        let function = [0x85, 0x10, 0, 0, 0xff, 0xff, 0xff, 0xff];
        // The second half of a long load may look like anything.
        let long = [[0x18, 0, 0, 0, 0, 0, 0, 0], function].concat();
        assert!(!has_call(&[&helper[..], &long].concat()));
        assert!(has_call(&[&helper[..], &function].concat()));
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        assert!(programs_with_calls(b"no object").is_err());
    }
}
