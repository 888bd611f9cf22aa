//! The part of BTF that Tare needs: the offset of a field, the number of a tracepoint's arguments,
//! the value of an enumerator.
//!
//! Format: `Documentation/bpf/btf.rst`. Total over arbitrary bytes: garbage is an error or an
//! absent answer, never a panic.

use std::collections::HashSet;

use thiserror::Error;

/// Type information of a kernel.
pub(super) struct Btf {
    data: Vec<u8>,
    strings: std::ops::Range<usize>,
    /// Where each type's record starts; index 0 is type id 1.
    types: Vec<u32>,
}

/// Why bytes are not BTF.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum BtfError {
    /// Magic, version or section bounds are wrong.
    #[error("not BTF, or of a format that is not known")]
    Header,
    /// A type record is cut off or of an unknown kind.
    #[error("type {0} is cut off or of an unknown kind")]
    Type(usize),
}

/// Where a field lies in its struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// Bytes from the start of the outermost struct.
    pub offset: u32,
    /// Bytes of the field.
    pub size: u32,
}

impl Btf {
    /// Indexes BTF that has the byte order of this host.
    pub(super) fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let header = Header::parse(&data).ok_or(BtfError::Header)?;
        let mut types = Vec::with_capacity(header.types.len() / 20);
        let mut at = header.types.start;
        while at < header.types.end {
            let id = types.len() + 1;
            let record = Record::parse(&data, at).ok_or(BtfError::Type(id))?;
            types.push(at as u32);
            at = record.end(at).filter(|end| *end <= header.types.end).ok_or(BtfError::Type(id))?;
        }
        Ok(Self { data, strings: header.strings, types })
    }

    /// Finds `path` in the struct `name`, descending through embedded and anonymous members. The
    /// size of an array is that of all its elements.
    pub(super) fn field(&self, name: &str, path: &[&str]) -> Option<Field> {
        self.field_of(self.structure(name)?, path)
    }

    /// The same in the struct with this id.
    pub(super) fn field_of(&self, mut at: u32, path: &[&str]) -> Option<Field> {
        let mut field = Field { offset: 0, size: 0 };
        for step in path {
            let (bits, type_id) = self.member(at, step, 0)?;
            field.offset = field.offset.checked_add(bits.checked_div(8)?)?;
            if bits % 8 != 0 {
                return None;
            }
            (at, field.size) = self.resolve(type_id)?;
        }
        Some(field)
    }

    /// The byte of a bit-field of one bit in the struct `name`, and the bit's mask in that byte.
    pub(super) fn bit(&self, name: &str, member: &str) -> Option<(u32, u32)> {
        const WIDTH_1: u32 = 1 << 24;
        let id = self.structure(name)?;
        let record = self.record(id).filter(|record| record.flag)?;
        let start = self.position(id)? + RECORD;
        let raw = (0..record.count).find_map(|i| {
            let at = start + i * 12;
            let found = self.string(word(&self.data, at)?)? == member.as_bytes();
            found.then(|| word(&self.data, at + 8))?
        })?;
        let bits = raw & 0x00ff_ffff;
        (raw & 0xff00_0000 == WIDTH_1 && cfg!(target_endian = "little"))
            .then_some((bits / 8, 1 << (bits % 8)))
    }

    /// Id of a struct.
    pub(super) fn structure(&self, name: &str) -> Option<u32> {
        self.find(name, |kind| kind == STRUCT)
    }

    /// Id of a function of the kernel.
    pub(super) fn function(&self, name: &str) -> Option<u32> {
        self.find(name, |kind| kind == FUNC)
    }

    /// Arguments of a tracepoint's `tp_btf` program: parameters of its `btf_trace_` typedef
    /// without the leading data pointer.
    pub(super) fn tracepoint_arguments(&self, name: &str) -> Option<usize> {
        let typedef = self.find(&format!("btf_trace_{name}"), |kind| kind == TYPEDEF)?;
        let pointer = self.record(self.record(typedef)?.size_or_type)?;
        let prototype = (pointer.kind == PTR).then(|| self.record(pointer.size_or_type))??;
        (prototype.kind == FUNC_PROTO).then(|| prototype.count.checked_sub(1))?
    }

    /// Value of an enumerator, looked for in the first of the enums that exists.
    pub(super) fn enumerator(&self, enums: &[&str], name: &str) -> Option<u32> {
        let id = enums.iter().find_map(|name| self.find(name, |kind| kind == ENUM))?;
        self.value_in(self.position(id)?, self.string_offset(name)?)
    }

    /// Value of an enumerator, whatever enum it is of: for enums without a name.
    pub(super) fn any_enumerator(&self, name: &str) -> Option<u32> {
        let name = self.string_offset(name)?;
        self.types.iter().find_map(|at| self.value_in(*at as usize, name))
    }

    /// Value of the enumerator with this name in the enum whose record is at this place.
    fn value_in(&self, at: usize, name: u32) -> Option<u32> {
        let record = Record::parse(&self.data, at).filter(|record| record.kind == ENUM)?;
        (0..record.count).find_map(|i| {
            let at = at + RECORD + i * 8;
            (word(&self.data, at)? == name).then(|| word(&self.data, at + 4))?
        })
    }

    /// Id of the type of this name and kind.
    fn find(&self, name: &str, kind: impl Fn(u8) -> bool) -> Option<u32> {
        let name = self.string_offset(name)?;
        let index = self.types.iter().position(|at| {
            word(&self.data, *at as usize) == Some(name)
                && word(&self.data, *at as usize + 4).is_some_and(|info| kind(kind_of(info)))
        })?;
        Some(index as u32 + 1)
    }

    /// Offset of a whole string in the string section; the linker keeps each string once.
    fn string_offset(&self, name: &str) -> Option<u32> {
        let strings = self.data.get(self.strings.clone())?;
        let needle = [b"\0", name.as_bytes(), b"\0"].concat();
        memchr::memmem::find(strings, &needle).map(|at| at as u32 + 1)
    }

    fn position(&self, id: u32) -> Option<usize> {
        self.types.get((id as usize).checked_sub(1)?).map(|at| *at as usize)
    }

    fn record(&self, id: u32) -> Option<Record> {
        Record::parse(&self.data, self.position(id)?)
    }

    /// Offset in bits and type of a member, searched through anonymous structs and unions.
    fn member(&self, id: u32, name: &str, depth: u32) -> Option<(u32, u32)> {
        const DEPTH_MAX: u32 = 16;
        let record = self.record(id).filter(|_| depth < DEPTH_MAX)?;
        if record.kind != STRUCT && record.kind != UNION {
            return None;
        }
        let start = self.position(id)? + RECORD;
        (0..record.count).find_map(|i| {
            let at = start + i * 12;
            let (name_at, type_id) = (word(&self.data, at)?, word(&self.data, at + 4)?);
            let raw = word(&self.data, at + 8)?;
            // With the kind flag the upper byte is a bit-field's width.
            let bits = if record.flag { raw & 0x00ff_ffff } else { raw };
            match self.string(name_at)? {
                b"" => {
                    let inner = self.strip(type_id)?;
                    let (offset, found) = self.member(inner, name, depth + 1)?;
                    Some((bits.checked_add(offset)?, found))
                }
                found if found == name.as_bytes() && (!record.flag || raw >> 24 == 0) => {
                    Some((bits, type_id))
                }
                _ => None,
            }
        })
    }

    /// Strips names and qualifiers; the id of what remains and its size.
    fn resolve(&self, id: u32) -> Option<(u32, u32)> {
        let id = self.strip(id)?;
        let record = self.record(id)?;
        let size = match record.kind {
            PTR => size_of::<u64>() as u32,
            ARRAY => self.array_size(id, 0)?,
            INT | STRUCT | UNION | ENUM | ENUM64 | FLOAT => record.size_or_type,
            _ => return None,
        };
        Some((id, size))
    }

    /// Bytes of an array, which may be one of arrays.
    fn array_size(&self, id: u32, depth: u32) -> Option<u32> {
        const DEPTH_MAX: u32 = 8;
        let at = self.position(id)? + RECORD;
        let (element, count) = (word(&self.data, at)?, word(&self.data, at + 8)?);
        let element = self.strip(element)?;
        let size = match self.record(element)?.kind {
            ARRAY if depth < DEPTH_MAX => self.array_size(element, depth + 1)?,
            ARRAY => return None,
            _ => self.resolve(element)?.1,
        };
        size.checked_mul(count)
    }

    fn strip(&self, mut id: u32) -> Option<u32> {
        let mut seen = HashSet::new();
        loop {
            let record = self.record(id)?;
            match record.kind {
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG if seen.insert(id) => {
                    id = record.size_or_type;
                }
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => return None,
                _ => return Some(id),
            }
        }
    }

    fn string(&self, offset: u32) -> Option<&[u8]> {
        let rest = self.data.get(self.strings.clone())?.get(offset as usize..)?;
        rest.split(|byte| *byte == 0).next()
    }
}

struct Header {
    types: std::ops::Range<usize>,
    strings: std::ops::Range<usize>,
}

impl Header {
    fn parse(data: &[u8]) -> Option<Self> {
        const MAGIC: u16 = 0xeb9f;
        const VERSION: u8 = 1;
        let magic = u16::from_ne_bytes(data.get(..2)?.try_into().ok()?);
        if magic != MAGIC || *data.get(2)? != VERSION {
            return None;
        }
        let start = word(data, 4)? as usize;
        let section = |at: usize| {
            let from = start.checked_add(word(data, at)? as usize)?;
            let to = from.checked_add(word(data, at + 4)? as usize)?;
            (to <= data.len() && u32::try_from(data.len()).is_ok()).then_some(from..to)
        };
        Some(Self { types: section(8)?, strings: section(16)? })
    }
}

struct Record {
    kind: u8,
    flag: bool,
    count: usize,
    size_or_type: u32,
}

/// Bytes that every record starts with.
const RECORD: usize = 12;

const INT: u8 = 1;
const PTR: u8 = 2;
const ARRAY: u8 = 3;
const STRUCT: u8 = 4;
const UNION: u8 = 5;
const ENUM: u8 = 6;
const FWD: u8 = 7;
const TYPEDEF: u8 = 8;
const VOLATILE: u8 = 9;
const CONST: u8 = 10;
const RESTRICT: u8 = 11;
const FUNC: u8 = 12;
const FUNC_PROTO: u8 = 13;
const VAR: u8 = 14;
const DATASEC: u8 = 15;
const FLOAT: u8 = 16;
const DECL_TAG: u8 = 17;
const TYPE_TAG: u8 = 18;
const ENUM64: u8 = 19;

impl Record {
    fn parse(data: &[u8], at: usize) -> Option<Self> {
        let (info, size_or_type) = (word(data, at + 4)?, word(data, at + 8)?);
        Some(Self {
            kind: kind_of(info),
            flag: info >> 31 != 0,
            count: (info & 0xffff) as usize,
            size_or_type,
        })
    }

    /// Where the next record starts.
    fn end(&self, at: usize) -> Option<usize> {
        let extra = match self.kind {
            INT | VAR | DECL_TAG => 4,
            ARRAY => 12,
            STRUCT | UNION | DATASEC | ENUM64 => self.count * 12,
            ENUM | FUNC_PROTO => self.count * 8,
            PTR | FWD | TYPEDEF | VOLATILE | CONST | RESTRICT | FUNC | FLOAT | TYPE_TAG => 0,
            _ => return None,
        };
        at.checked_add(RECORD + extra)
    }
}

fn kind_of(info: u32) -> u8 {
    (info >> 24 & 0x1f) as u8
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(data.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests;
