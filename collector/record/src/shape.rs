//! What a value looks like without its numbers and texts.
//!
//! A shape is a list of tokens. Two values of the same type have the same shape as long as the same
//! options are set and their lists have the same lengths, so a handful of shapes serves thousands
//! of containers.

use std::collections::HashMap;

use crate::bytes::{Input, put_bytes, put_number};

/// The tokens of a shape. A number stands for one value in the row of numbers, a text for one in
/// the row of texts.
pub(crate) mod token {
    /// `None`. `Some` has no token.
    pub(crate) const NONE: u8 = 0;
    /// `()` or a unit struct.
    pub(crate) const UNIT: u8 = 1;
    /// An unsigned number.
    pub(crate) const UNSIGNED: u8 = 2;
    /// A signed number, in zigzag.
    pub(crate) const SIGNED: u8 = 3;
    /// The bits of an `f64`.
    pub(crate) const FLOAT: u8 = 4;
    /// 0 or 1.
    pub(crate) const BOOL: u8 = 5;
    /// A text.
    pub(crate) const TEXT: u8 = 6;
    /// A list: its length, then its items.
    pub(crate) const LIST: u8 = 7;
    /// A map: its length, then a key and a value for each entry.
    pub(crate) const MAP: u8 = 8;
    /// A struct: the number of its fields, then a name and a value for each.
    pub(crate) const STRUCT: u8 = 9;
    /// A variant without a value: its name.
    pub(crate) const UNIT_VARIANT: u8 = 10;
    /// A variant with a value: its name and the value.
    pub(crate) const VARIANT: u8 = 11;
}

/// A class of numbers that belong together: the path of names that leads to them.
pub(crate) type ColumnName = String;

/// How deep a shape may be nested. What Tare records has about ten levels.
pub(crate) const DEPTH_MAX: usize = 64;

/// Finds the column of each number of a shape; `None` if the shape is damaged. Items of a list
/// share a column, entries of a map do not.
pub(crate) fn columns(shape: &[u8]) -> Option<Columns> {
    let mut walk = Walk { input: Input(shape), path: String::new(), found: Columns::default() };
    walk.value(0)?;
    walk.input.is_empty().then_some(walk.found)
}

/// What a shape expects.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    /// The column of each number, in order.
    pub(crate) names: Vec<ColumnName>,
    /// How many texts there are.
    pub(crate) texts: usize,
}

struct Walk<'a> {
    input: Input<'a>,
    path: String,
    found: Columns,
}

impl Walk<'_> {
    fn value(&mut self, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        match self.input.byte()? {
            token::NONE | token::UNIT => {}
            token::UNSIGNED | token::SIGNED | token::FLOAT | token::BOOL => {
                self.found.names.push(self.path.clone());
            }
            token::TEXT => self.found.texts += 1,
            token::LIST => {
                let items = self.input.number()?;
                self.below("[]", |walk| (0..items).try_for_each(|_| walk.value(depth + 1)))?;
            }
            token::MAP | token::STRUCT => {
                for _ in 0..self.input.number()? {
                    let name = self.input.text()?;
                    self.below(name, |walk| walk.value(depth + 1))?;
                }
            }
            token::UNIT_VARIANT => _ = self.input.text()?,
            token::VARIANT => {
                let name = self.input.text()?;
                self.below(name, |walk| walk.value(depth + 1))?;
            }
            _ => return None,
        }
        Some(())
    }

    fn below(&mut self, name: &str, work: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let length = self.path.len();
        if length > 0 && name != "[]" {
            self.path.push('.');
        }
        self.path.push_str(name);
        let done = work(self);
        self.path.truncate(length);
        done
    }
}

/// Receives the parts of a value.
pub(crate) trait Sink {
    /// A token.
    fn token(&mut self, token: u8);
    /// A length.
    fn length(&mut self, length: usize);
    /// The name of a field or a variant.
    fn name(&mut self, name: &'static str);
    /// The key of an entry.
    fn key(&mut self, key: &str);
    /// A number.
    fn number(&mut self, number: u64);
    /// A text.
    fn text(&mut self, text: &str);
}

/// Takes the numbers, and a hash of all else: enough to see that nothing else changed.
#[derive(Debug, Default)]
pub(crate) struct Hasher {
    /// The numbers.
    pub(crate) numbers: Vec<u64>,
    state: u64,
    /// A name that goes with the token after it.
    name: u64,
}

impl Hasher {
    pub(crate) fn clear(&mut self) {
        self.numbers.clear();
        (self.state, self.name) = (0, 0);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.state ^ self.name
    }

    /// One multiplication a word: a sample has hundreds of thousands. Two values that differ in
    /// one word never have the same hash, others have it by chance.
    #[inline]
    fn mix(&mut self, word: u64) {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        self.state = (self.state.rotate_left(26) ^ word ^ ODD).wrapping_mul(0xd6e8_feb8_6659_fd93);
    }

    #[inline]
    fn mix_bytes(&mut self, bytes: &[u8]) {
        self.mix(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.mix(u64::from_le_bytes(last));
    }
}

impl Sink for Hasher {
    /// An address has 56 bits at most.
    fn token(&mut self, token: u8) {
        self.mix(self.name << 8 | u64::from(token));
        self.name = 0;
    }

    fn length(&mut self, length: usize) {
        self.mix(length as u64);
    }

    /// The address is enough: the same code gives the same name.
    fn name(&mut self, name: &'static str) {
        if self.name != 0 {
            self.mix(self.name);
        }
        self.name = name.as_ptr() as u64;
    }

    fn key(&mut self, key: &str) {
        self.mix_bytes(key.as_bytes());
    }

    fn number(&mut self, number: u64) {
        self.numbers.push(number);
    }

    fn text(&mut self, text: &str) {
        self.mix_bytes(text.as_bytes());
    }
}

/// Takes everything but the numbers.
#[derive(Debug, Default)]
pub(crate) struct Describer {
    /// The shape.
    pub(crate) shape: Vec<u8>,
    /// The texts.
    pub(crate) texts: Vec<String>,
}

impl Sink for Describer {
    fn token(&mut self, token: u8) {
        self.shape.push(token);
    }

    fn length(&mut self, length: usize) {
        put_number(&mut self.shape, length as u64);
    }

    fn name(&mut self, name: &'static str) {
        put_bytes(&mut self.shape, name.as_bytes());
    }

    fn key(&mut self, key: &str) {
        put_bytes(&mut self.shape, key.as_bytes());
    }

    fn number(&mut self, _: u64) {}

    fn text(&mut self, text: &str) {
        self.texts.push(text.to_owned());
    }
}

/// Numbers things from 0 in the order of their first use.
#[derive(Debug)]
pub(crate) struct Interned<T> {
    known: HashMap<T, u32>,
    /// Those that are not written yet.
    pub(crate) new: Vec<T>,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self { known: HashMap::new(), new: Vec::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Interned<T> {
    pub(crate) fn number(&mut self, thing: T) -> u32 {
        if let Some(number) = self.known.get(&thing) {
            return *number;
        }
        let number = self.known.len() as u32;
        self.new.push(thing.clone());
        self.known.insert(thing, number);
        number
    }
}
