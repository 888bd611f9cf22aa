//! Named counters whose names seldom change.

use std::str;
use std::sync::Arc;

use crate::cgroup::text::{after_name, named_numbers};

/// The lines `name number` of a file such as `memory.stat`, in the kernel's order.
///
/// The names are learnt once; as long as they stay the same, reading allocates nothing, and copies
/// of the table share them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct StatTable {
    names: Arc<[Arc<str>]>,
    values: Vec<u64>,
}

impl Clone for StatTable {
    fn clone(&self) -> Self {
        Self { names: Arc::clone(&self.names), values: self.values.clone() }
    }

    /// Without allocation where there is room.
    fn clone_from(&mut self, source: &Self) {
        self.names.clone_from(&source.names);
        self.values.clone_from(&source.values);
    }
}

impl StatTable {
    /// Takes over the content of a file. Lines of another form are ignored.
    pub fn parse_into(&mut self, text: &[u8]) {
        if !self.update(text) {
            self.learn(text);
        }
    }

    /// Forgets names and values.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The value with that name.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.iter().find(|(found, _)| ***found == *name).map(|(_, value)| value)
    }

    /// All names with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.names.iter().zip(self.values.iter().copied())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether nothing was read yet.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Overwrites the values if the lines are those known, and all as the kernel writes them.
    fn update(&mut self, text: &[u8]) -> bool {
        let mut rest = text;
        for (known, slot) in self.names.iter().zip(&mut self.values) {
            match rest.strip_prefix(known.as_bytes()).and_then(after_name) {
                Some((value, after)) => (*slot, rest) = (value, after),
                None => return false,
            }
        }
        rest.is_empty()
    }

    fn learn(&mut self, text: &[u8]) {
        let mut names = Vec::new();
        self.values.clear();
        for (name, value) in named_numbers(text) {
            if let Ok(name) = str::from_utf8(name) {
                names.push(name.into());
                self.values.push(value);
            }
        }
        self.names = names.into();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_shared_while_they_stay_the_same() {
        let mut table = StatTable::default();
        table.parse_into(b"anon 1\nfile 2\n");
        let before = table.clone();
        table.parse_into(b"anon 3\nfile 4\n");
        assert!(Arc::ptr_eq(&before.names, &table.names));
        assert_eq!(
            (table.get("anon"), table.get("file"), table.get("swap")),
            (Some(3), Some(4), None)
        );
        assert_eq!((before.get("anon"), before.get("file")), (Some(1), Some(2)));
    }

    #[test]
    fn more_fewer_and_other_names_are_learnt() {
        let mut table = StatTable::default();
        for text in ["a 1\nb 2", "a 1\nb 2\nc 3", "a 1", "b 5", "", "b 5\na 6"] {
            table.parse_into(text.as_bytes());
            let read: Vec<_> =
                table.iter().map(|(name, value)| format!("{name} {value}")).collect();
            assert_eq!(read.join("\n"), text);
        }
        assert_eq!((table.len(), table.is_empty()), (2, false));
        table.clear();
        assert_eq!((table.len(), table.is_empty()), (0, true));
    }

    proptest! {
        #[test]
        fn the_last_content_does_not_matter(first: Vec<u8>, second in "([ab]{1,2} [0-9]{1,2}\n)*") {
            let mut used = StatTable::default();
            used.parse_into(&first);
            used.parse_into(second.as_bytes());
            let mut fresh = StatTable::default();
            fresh.parse_into(second.as_bytes());
            prop_assert_eq!(used, fresh);
        }
    }
}
