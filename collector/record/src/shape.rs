//! What a value looks like without its numbers and texts.
//!
//! A shape is a list of tokens. Two values of the same type have the same shape as long as the same
//! options are set and their lists have the same lengths, so a handful of shapes serves thousands
//! of containers.

use std::collections::HashMap;

use crate::bytes::Input;

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

/// A field that is as it was at the instant before: it need not be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Same {
    address: usize,
    /// A struct may begin where its first field does.
    size: usize,
}

impl Same {
    /// No field.
    pub(crate) const NONE: Self = Self { address: 0, size: 0 };

    /// A field by its place in memory.
    #[inline(always)]
    pub fn of<T: ?Sized>(field: &T) -> Self {
        Self { address: std::ptr::from_ref(field).addr(), size: size_of_val(field) }
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
    /// Whether the value of the field that was named is known to be as it was. Then it is passed
    /// over.
    fn is_known(&mut self, value: Same) -> bool;
    /// The value of the field that was named begins; a place for [`Sink::end_field`].
    fn begin_field(&mut self) -> usize;
    /// The value of the field that began there has ended.
    fn end_field(&mut self, begin: usize);
    /// The key of an entry.
    fn key(&mut self, key: &str);
    /// A number.
    fn number(&mut self, number: u64);
    /// A text.
    fn text(&mut self, text: &str);
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

impl<T: Eq + std::hash::Hash> Interned<T> {
    pub(crate) fn number<Q>(&mut self, thing: &Q) -> u32
    where
        T: std::borrow::Borrow<Q> + for<'a> From<&'a Q>,
        Q: Eq + std::hash::Hash + ?Sized,
    {
        if let Some(number) = self.known.get(thing) {
            return *number;
        }
        let number = self.known.len() as u32;
        self.new.push(thing.into());
        self.known.insert(thing.into(), number);
        number
    }
}
