//! Tables of named counters, such as `memory.stat`.

use std::{cell::RefCell, collections::BTreeMap, fmt, str, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::{after_name, named_numbers};

/// The lines `name number` of a file such as `memory.stat`, in the kernel's order; as JSON, an
/// object in the order of the names.
///
/// The names are stored once and shared by all tables with the same names; as long as they
/// stay the same, reading allocates nothing.
#[derive(Default, PartialEq, Eq)]
pub struct StatTable {
    names: Arc<Names>,
    values: Vec<u64>,
}

/// The names of a table.
#[derive(Debug, Default, PartialEq, Eq)]
struct Names {
    /// As the kernel writes them.
    listed: Box<[Box<str>]>,
    /// Their places in `listed`, by name; of those that are there twice, the first.
    sorted: Box<[u32]>,
    /// Hashes of all names and their places in `listed`, by hash.
    hashed: Box<[(u32, u32)]>,
}

thread_local! {
    /// The last names of this thread: a kernel writes the same names for every cgroup.
    static LEARNT: RefCell<Arc<Names>> = RefCell::default();
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

    /// Takes the names of another table, and a value for each, in the order of the names.
    pub fn fill(&mut self, names: &Self, values: impl Iterator<Item = u64>) {
        self.names.clone_from(&names.names);
        self.values.clear();
        self.values.extend(values.take(names.values.len()));
        self.values.resize(names.values.len(), 0);
    }

    /// Forgets names and values.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The value with that name.
    pub fn get(&self, name: &str) -> Option<u64> {
        let Names { listed, hashed, .. } = &*self.names;
        let wanted = hash(name);
        let first = hashed.partition_point(|(hash, _)| *hash < wanted);
        let alike = hashed[first..].iter().take_while(|(hash, _)| *hash == wanted);
        let mut places = alike.map(|(_, at)| *at as usize);
        self.values.get(places.find(|at| *listed[*at] == *name)?).copied()
    }

    /// All names with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.names.listed.iter().map(|name| &**name).zip(self.values.iter().copied())
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
        for (known, slot) in self.names.listed.iter().zip(&mut self.values) {
            match rest.strip_prefix(known.as_bytes()).and_then(after_name) {
                Some((value, after)) => (*slot, rest) = (value, after),
                None => return false,
            }
        }
        rest.is_empty()
    }

    fn learn(&mut self, text: &[u8]) {
        let lines = named_numbers(text);
        *self =
            lines.filter_map(|(name, value)| Some((str::from_utf8(name).ok()?, value))).collect();
    }
}

impl<'a> FromIterator<(&'a str, u64)> for StatTable {
    fn from_iter<T: IntoIterator<Item = (&'a str, u64)>>(lines: T) -> Self {
        let (listed, values): (Vec<&str>, _) = lines.into_iter().unzip();
        Self { names: Names::shared(&listed), values }
    }
}

impl Names {
    /// Those of the table before, if they are the same.
    fn shared(listed: &[&str]) -> Arc<Self> {
        LEARNT.with_borrow_mut(|learnt| {
            if !learnt.listed.iter().map(|name| &**name).eq(listed.iter().copied()) {
                *learnt = Arc::new(Self::new(listed));
            }
            Arc::clone(learnt)
        })
    }

    fn new(listed: &[&str]) -> Self {
        let mut sorted: Vec<u32> = (0..).take(listed.len()).collect();
        sorted.sort_by_key(|at| listed[*at as usize]);
        sorted.dedup_by_key(|at| listed[*at as usize]);
        let mut hashed: Vec<_> = listed.iter().map(|name| hash(name)).zip(0..).collect();
        hashed.sort_unstable();
        let listed = listed.iter().map(|name| Box::from(*name)).collect();
        Self { listed, sorted: sorted.into(), hashed: hashed.into() }
    }
}

/// A number by which few names are alike: of their length, their beginnings and their ends.
#[inline]
fn hash(name: &str) -> u32 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let name = name.as_bytes();
    let word = |part: Option<&[u8; 8]>| part.map_or(0, |part| u64::from_le_bytes(*part));
    let ends = match name.len() {
        8.. => word(name.first_chunk()) ^ word(name.last_chunk()).rotate_left(29),
        _ => name.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    };
    ((ends ^ name.len() as u64).wrapping_mul(ODD) >> 32) as u32
}

impl fmt::Debug for StatTable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for StatTable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Names { listed, sorted, .. } = &*self.names;
        let at = sorted.iter().map(|at| *at as usize);
        serializer.collect_map(at.map(|at| (&listed[at], self.values.get(at))))
    }
}

impl<'de> Deserialize<'de> for StatTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let lines = BTreeMap::<String, u64>::deserialize(deserializer)?;
        Ok(lines.iter().map(|(name, value)| (name.as_str(), *value)).collect())
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
        let mut other = StatTable::default();
        other.parse_into(b"anon 5\nfile 6\n");
        for same in [&before, &other] {
            assert!(Arc::ptr_eq(&same.names, &table.names));
        }
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

    #[test]
    fn of_names_that_are_there_twice_the_first_counts() {
        let mut table = StatTable::default();
        table.parse_into(b"b 1\na 2\nb 3\n");
        assert_eq!((table.get("a"), table.get("b"), table.get("c")), (Some(2), Some(1), None));
        assert_eq!(serde_json::to_string(&table).unwrap(), r#"{"a":2,"b":1}"#);
        let back: StatTable = serde_json::from_str(r#"{"a":2,"b":1}"#).unwrap();
        assert_eq!((back.get("a"), back.get("b")), (Some(2), Some(1)));
    }

    proptest! {
        #[test]
        fn every_name_is_found(names in prop::collection::hash_set("[a-c]{1,12}", 0..40)) {
            let lines: String = names.iter().map(|name| format!("{name} {}\n", name.len())).collect();
            let mut table = StatTable::default();
            table.parse_into(lines.as_bytes());
            for name in &names {
                prop_assert_eq!(table.get(name), Some(name.len() as u64));
            }
            prop_assert_eq!(table.get("d"), None);
        }

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
