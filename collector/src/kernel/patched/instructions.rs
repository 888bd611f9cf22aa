//! Programs as instructions, with their constants, map and calls put in.

use std::os::fd::{AsRawFd, BorrowedFd};

use anyhow::{Context, Result, bail, ensure};
use object::{Object, ObjectSection, SectionKind};
use tare_ebpf::{
    LAYOUT_MARK, Layout,
    walk_record::{
        HOLE_COPIES, HOLE_FIRST, HOLE_MARK, HOLE_PER_CPU, HOLE_RECORDS, Holes, KFUNC_BASE,
        KFUNC_COUNT, KFUNCS,
    },
};

/// The maps of a program. One that it does not have is behind a branch that is never taken.
#[derive(Clone, Copy, Default)]
pub(in crate::kernel) struct Maps<'a> {
    pub(in crate::kernel) records: Option<BorrowedFd<'a>>,
    /// Where each CPU has its copies of per-CPU values.
    pub(in crate::kernel) per_cpu: Option<BorrowedFd<'a>>,
    /// An array of which each CPU has a copy.
    pub(in crate::kernel) copies: Option<BorrowedFd<'a>>,
}

/// Bytes of an instruction (`struct bpf_insn`); a load of 64 bits has two.
const INSTRUCTION: usize = 8;

/// `BPF_LD | BPF_IMM | BPF_DW`.
const LOAD_LONG: u8 = 0x18;
/// `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// `BPF_PSEUDO_MAP_FD`.
const IS_MAP: u8 = 1;
/// `BPF_PSEUDO_KFUNC_CALL`.
const IS_KFUNC: u8 = 2;

/// The instructions of the program in a section of the object.
pub(in crate::kernel) fn program(object: &[u8], section: &str) -> Result<Vec<u8>> {
    let file = object::File::parse(object).context("the object is no ELF file")?;
    let found = file
        .section_by_name(section)
        .with_context(|| format!("the object has no section {section}"))?;
    ensure!(
        found.relocations().next().is_none(),
        "the program in {section} uses what has to be relocated"
    );
    let code = found.data().with_context(|| format!("section {section}"))?;
    ensure!(code.len() % INSTRUCTION == 0, "section {section} is cut off");
    Ok(code.to_vec())
}

/// The object with the layout in the instructions of all its programs.
pub(in crate::kernel) fn with_layout(object: &[u8], layout: &Layout) -> Result<Vec<u8>> {
    let file = object::File::parse(object).context("the object is no ELF file")?;
    let mut completed = object.to_vec();
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        let Some((start, length)) = section.file_range() else { continue };
        let code = usize::try_from(start)
            .ok()
            .zip(usize::try_from(length).ok())
            .and_then(|(start, length)| completed.get_mut(start..start.checked_add(length)?))
            .context("the object is cut off")?;
        put_layout(code, layout)?;
    }
    Ok(completed)
}

fn put_layout(mut code: &mut [u8], layout: &Layout) -> Result<()> {
    while let Some((first, tail)) = code.split_first_chunk_mut::<INSTRUCTION>() {
        code = tail;
        if first[0] != LOAD_LONG {
            continue;
        }
        let second = code.first_chunk_mut::<INSTRUCTION>();
        let second = second.context("a program ends within an instruction")?;
        if immediate(second) == LAYOUT_MARK {
            let index = immediate(first);
            let value = layout.words().get(index as usize);
            let value = value.with_context(|| format!("a program has an unknown field {index}"))?;
            set_immediate(first, *value);
            set_immediate(second, 0);
        }
    }
    Ok(())
}

/// Puts into a program what it was built without.
///
/// A call of a function that this kernel lacks becomes `r0 = 0`: the plan has seen to it that it
/// is behind a branch that is never taken, and the verifier removes it.
pub(in crate::kernel) fn patch(
    code: &mut [u8],
    holes: &Holes,
    kfuncs: &[Option<u32>; KFUNC_COUNT],
    maps: Maps<'_>,
) -> Result<()> {
    let mut rest = code;
    while let Some((instruction, tail)) = rest.split_first_chunk_mut::<INSTRUCTION>() {
        rest = match instruction[0] {
            LOAD_LONG => {
                let (second, tail) = tail
                    .split_first_chunk_mut::<INSTRUCTION>()
                    .context("the program ends within an instruction")?;
                if immediate(second) == HOLE_MARK {
                    fill(instruction, second, holes, maps)?;
                }
                tail
            }
            CALL if source(instruction) == 0 => {
                if let Some(index) = immediate(instruction).checked_sub(KFUNC_BASE) {
                    call(instruction, index, kfuncs)?;
                }
                tail
            }
            _ => tail,
        };
    }
    Ok(())
}

fn fill(
    first: &mut [u8; INSTRUCTION],
    second: &mut [u8; INSTRUCTION],
    holes: &Holes,
    maps: Maps<'_>,
) -> Result<()> {
    let map = match immediate(first) {
        HOLE_RECORDS => Some(maps.records),
        HOLE_PER_CPU => Some(maps.per_cpu),
        HOLE_COPIES => Some(maps.copies),
        _ => None,
    };
    let value = match (map, immediate(first)) {
        (Some(Some(map)), _) => {
            set_source(first, IS_MAP);
            map.as_raw_fd() as u32
        }
        (Some(None), _) => 0,
        (None, mark) => {
            let index = mark.checked_sub(HOLE_FIRST).map(|index| index as usize);
            let value = index.and_then(|index| holes.words().get(index));
            *value.with_context(|| format!("the program has an unknown constant {mark:#x}"))?
        }
    };
    set_immediate(first, value);
    set_immediate(second, 0);
    Ok(())
}

fn call(
    instruction: &mut [u8; INSTRUCTION],
    index: u32,
    kfuncs: &[Option<u32>; KFUNC_COUNT],
) -> Result<()> {
    /// `BPF_ALU64 | BPF_MOV | BPF_K`, into register 0.
    const NOTHING: [u8; INSTRUCTION] = [0xb7, 0, 0, 0, 0, 0, 0, 0];
    match kfuncs.get(index as usize) {
        Some(Some(id)) => {
            set_source(instruction, IS_KFUNC);
            set_immediate(instruction, *id);
        }
        Some(None) => *instruction = NOTHING,
        None => bail!("the program calls function {index} of {}", KFUNCS.len()),
    }
    Ok(())
}

fn immediate(instruction: &[u8; INSTRUCTION]) -> u32 {
    let [.., a, b, c, d] = *instruction;
    u32::from_ne_bytes([a, b, c, d])
}

fn set_immediate(instruction: &mut [u8; INSTRUCTION], value: u32) {
    instruction[4..].copy_from_slice(&value.to_ne_bytes());
}

/// The source register is in the upper half of its byte, on big-endian machines in the lower one.
fn source(instruction: &[u8; INSTRUCTION]) -> u8 {
    if cfg!(target_endian = "big") { instruction[1] & 15 } else { instruction[1] >> 4 }
}

fn set_source(instruction: &mut [u8; INSTRUCTION], source: u8) {
    let registers = instruction[1];
    instruction[1] = if cfg!(target_endian = "big") {
        registers & 0xf0 | source
    } else {
        registers & 0x0f | source << 4
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `r1 = MARK ll`, then `r0 = 0`.
    fn loading(field: u32) -> Vec<u8> {
        let [a, b, c, d] = field.to_ne_bytes();
        let [e, f, g, h] = LAYOUT_MARK.to_ne_bytes();
        let long = [LOAD_LONG, 1, 0, 0, a, b, c, d, 0, 0, 0, 0, e, f, g, h];
        [&long[..], &[0xb7, 0, 0, 0, 0, 0, 0, 0]].concat()
    }

    #[test]
    fn a_mark_becomes_the_field_of_the_layout() {
        let layout = Layout { sock_protocol: 0x1234_5678, ..Layout::UNKNOWN };
        let field = std::mem::offset_of!(Layout, sock_protocol) / size_of::<u32>();
        let mut code = loading(field as u32);
        put_layout(&mut code, &layout).unwrap();
        assert_eq!(code[4..8], 0x1234_5678_u32.to_ne_bytes());
        assert_eq!(code[8..16], [0; 8]);
    }

    #[test]
    fn an_unknown_field_and_a_cut_instruction_are_refused() {
        let fields = Layout::UNKNOWN.words().len() as u32;
        assert!(put_layout(&mut loading(fields), &Layout::UNKNOWN).is_err());
        assert!(put_layout(&mut loading(0)[..8], &Layout::UNKNOWN).is_err());
    }
}
