use proptest::prelude::*;

use super::*;

/// Writes BTF type by type, each string behind the last.
struct Writer {
    types: Vec<u32>,
    strings: Vec<u8>,
}

impl Writer {
    fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0] }
    }

    fn name(&mut self, name: &str) -> u32 {
        let at = self.strings.len() as u32;
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        at
    }

    /// A type with its record's tail; `name` may be empty.
    fn add(&mut self, name: &str, kind: u8, count: u32, size_or_type: u32, tail: &[u32]) {
        let name = if name.is_empty() { 0 } else { self.name(name) };
        self.types.extend([name, u32::from(kind) << 24 | count, size_or_type]);
        self.types.extend(tail);
    }

    fn finish(self) -> Vec<u8> {
        let types = self.types.len() as u32 * 4;
        let header = [24, 0, types, types, self.strings.len() as u32];
        let mut out = vec![0x9f, 0xeb, 1, 0];
        let words = header.iter().chain(&self.types);
        out.extend(words.flat_map(|word| word.to_ne_bytes()));
        out.extend(self.strings);
        out
    }
}

/// ```c
/// struct set { struct set *list[5]; char grid[3][7]; };   // ids 2, 1, 3, 4, 5, 6
/// enum ids { first = 0, second = 4 };
/// ```
fn with_arrays() -> Vec<u8> {
    let mut btf = Writer::new();
    btf.add("", PTR, 0, 2, &[]);
    let (list, grid) = (btf.name("list"), btf.name("grid"));
    btf.add("set", STRUCT, 2, 61, &[list, 4, 0, grid, 6, 40 * 8]);
    btf.add("char", INT, 0, 1, &[8]);
    btf.add("", ARRAY, 0, 0, &[1, 3, 5]);
    btf.add("", ARRAY, 0, 0, &[3, 3, 7]);
    btf.add("", ARRAY, 0, 0, &[5, 3, 3]);
    let (first, second) = (btf.name("first"), btf.name("second"));
    btf.add("ids", ENUM, 2, 4, &[first, 0, second, 4]);
    btf.finish()
}

#[test]
fn an_array_is_as_big_as_its_elements_together() {
    let btf = Btf::parse(with_arrays()).unwrap();
    assert_eq!(btf.field("set", &["list"]), Some(Field { offset: 0, size: 40 }));
    assert_eq!(btf.field("set", &["grid"]), Some(Field { offset: 40, size: 21 }));
    assert_eq!(btf.field("set", &["list", "list"]), None);
    assert_eq!(btf.enumerator(&["none", "ids"], "second"), Some(4));
}

#[test]
fn an_array_of_itself_has_no_size() {
    let mut btf = Writer::new();
    let list = btf.name("list");
    btf.add("set", STRUCT, 1, 8, &[list, 2, 0]);
    btf.add("", ARRAY, 0, 0, &[2, 2, 2]);
    assert_eq!(Btf::parse(btf.finish()).unwrap().field("set", &["list"]), None);
}

proptest! {
    #[test]
    fn damaged_type_information_is_an_error_or_an_answer(at in 24..200usize, byte: u8) {
        let mut data = with_arrays();
        let at = at.min(data.len() - 1);
        data[at] = byte;
        if let Ok(btf) = Btf::parse(data) {
            btf.field("set", &["list"]);
            btf.field("set", &["grid"]);
            btf.enumerator(&["ids"], "second");
        }
    }
}
