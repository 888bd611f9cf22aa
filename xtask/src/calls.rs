//! Looks for function calls in the kernel side, where there may be none.
//!
//! Linux 5.10 keeps the handlers of faulting loads (`aux->extable`) with each function of a
//! program, and looks for them at the program as a whole (`jit_subprogs` in
//! `kernel/bpf/verifier.c`, fixed in 6.4): a program that consists of more than one function and
//! loads through a null pointer stops such a machine. So all functions have to be inlined.

/// Names of the programs in an object that call functions; `None` if this is no ELF object.
pub(crate) fn programs_with_calls(object: &[u8]) -> Option<Vec<String>> {
    let sections = sections(object)?;
    let calling = sections.into_iter().filter(|section| {
        // What no program calls does not leave this section.
        section.executable && section.name != ".text" && has_call(section.contents)
    });
    Some(calling.map(|section| section.name).collect())
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

struct Section<'a> {
    name: String,
    executable: bool,
    contents: &'a [u8],
}

/// The sections of a 64-bit ELF object of this machine's byte order (`elf.h`).
fn sections(object: &[u8]) -> Option<Vec<Section<'_>>> {
    const SHF_EXECINSTR: u64 = 4;
    object.starts_with(b"\x7fELF").then_some(())?;
    let (start, size) = (long(object, 0x28)?, short(object, 0x3a)?);
    let header = |index: u16| {
        let at = start.checked_add(usize::from(index).checked_mul(usize::from(size))?)?;
        object.get(at..)
    };
    let contents = |header: &[u8]| {
        let from = long(header, 24)?;
        object.get(from..from.checked_add(long(header, 32)?)?)
    };
    let names = contents(header(short(object, 0x3e)?)?)?;
    let section = |index: u16| {
        let header = header(index)?;
        let name = names.get(word(header, 0)?..)?.split(|byte| *byte == 0).next()?;
        Some(Section {
            name: String::from_utf8_lossy(name).into_owned(),
            executable: long(header, 8)? as u64 & SHF_EXECINSTR != 0,
            // What has no bytes in the file has no code either.
            contents: contents(header).unwrap_or_default(),
        })
    };
    (0..short(object, 0x3c)?).map(section).collect()
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?)).ok()
}

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn calls_of_functions_are_told_from_calls_of_helpers() {
        let helper = [0x85, 0x00, 0, 0, 14, 0, 0, 0];
        let function = [0x85, 0x10, 0, 0, 0xff, 0xff, 0xff, 0xff];
        // The second half of a long load may look like anything.
        let long = [[0x18, 0, 0, 0, 0, 0, 0, 0], function].concat();
        assert!(!has_call(&[&helper[..], &long].concat()));
        assert!(has_call(&[&helper[..], &function].concat()));
    }

    #[test]
    fn this_very_program_is_an_object_whose_sections_are_found() {
        let object = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let sections = sections(&object).unwrap();
        assert!(sections.iter().any(|section| section.name == ".text" && section.executable));
        assert!(sections.iter().any(|section| section.name == ".rodata" && !section.executable));
        assert!(programs_with_calls(b"no object").is_none());
    }
}
