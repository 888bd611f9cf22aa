//! `memory.stat` out of the words that the kernel makes it from.
//!
//! Which word is which number of the file differs from kernel to kernel and is in no type
//! information. So it is learnt from files: a number can only be one of the words that had its
//! value at the same time. A record is decoded with all words that a number can still be: where
//! they agree, it is what they say; where they do not, the file has to be read, which leaves fewer
//! of them for the next time. Nothing is taken for known that a file did not prove.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bits for so many words: more than any kernel has.
const BITS: usize = 256;
const LIMBS: usize = BITS / 64;

/// What a word may count in.
const UNITS: usize = 3;

/// A number of the file can be one of several words, which do not agree: read the file, and
/// [`StatWords::learn`] from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous;

/// What is known of the words of a hierarchy.
pub struct StatWords {
    units: [u64; UNITS],
    names: Vec<Box<str>>,
    sources: Vec<Source>,
    values: Vec<u64>,
    lessons: u64,
    revision: u64,
}

/// Where a number comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// One of these words, in one of the units.
    Words([Set; UNITS]),
    /// This very word.
    Word { word: usize, unit: usize },
    /// The sum of other numbers.
    Sum(Vec<usize>),
    /// None of the words: only the file has it.
    File,
}

/// A set of words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Set([u64; LIMBS]);

impl Set {
    fn of(count: usize, is_in: impl Fn(usize) -> bool) -> Self {
        let mut set = Self::default();
        for index in (0..count.min(BITS)).filter(|index| is_in(*index)) {
            set.0[index / 64] |= 1 << (index % 64);
        }
        set
    }

    fn and(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] & other.0[i]))
    }

    fn len(self) -> u32 {
        self.0.iter().map(|limb| limb.count_ones()).sum()
    }

    fn is_empty(self) -> bool {
        self.0 == [0; LIMBS]
    }

    fn iter(self) -> impl Iterator<Item = usize> {
        (0..LIMBS).flat_map(move |limb| {
            let mut bits = self.0[limb];
            std::iter::from_fn(move || {
                let bit = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
                bits &= bits - 1;
                Some(limb * 64 + bit)
            })
        })
    }
}

impl StatWords {
    /// Nothing is known yet.
    pub fn new(page_bytes: u64) -> Self {
        // Pages, the KiB of kernel stacks, and bytes or events.
        Self {
            units: [page_bytes, 1024, 1],
            names: Vec::new(),
            sources: Vec::new(),
            values: Vec::new(),
            lessons: 0,
            revision: 0,
        }
    }

    /// The names of the numbers, in the order of the file; none before the first lesson.
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// How many files were learnt from.
    pub fn lessons(&self) -> u64 {
        self.lessons
    }

    /// Changes when a file contradicts what was known.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The numbers that no word has, only the file.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
        let all = self.names.iter().zip(&self.sources);
        all.filter(|(_, source)| **source == Source::File).map(|(name, _)| &**name)
    }

    /// Learns from a file that said the same before and after the walk that found these words.
    /// Hierarchical limits, which are no words, are to be left out of it.
    pub fn learn<'a>(
        &mut self,
        words: &[AtomicU64],
        numbers: impl Iterator<Item = (&'a str, u64)> + Clone,
    ) {
        let same = self.names.iter().map(|name| &**name).eq(numbers.clone().map(|(name, _)| name));
        if !same {
            self.start(words.len(), numbers.clone().map(|(name, _)| name));
        }
        self.lessons += 1;
        let Self { units, sources, revision, .. } = self;
        let said: Vec<u64> = numbers.map(|(_, value)| value).collect();
        for index in 0..sources.len() {
            let value = said[index];
            let holds = |word: usize, unit: usize| {
                words.get(word).is_some_and(|word| shown(word) * units[unit] == value)
            };
            let next = match &sources[index] {
                Source::Words(sets) => {
                    let left: [Set; UNITS] = std::array::from_fn(|unit| {
                        sets[unit].and(Set::of(words.len(), |word| holds(word, unit)))
                    });
                    narrow(left)
                }
                Source::Word { word, unit } if !holds(*word, *unit) => Source::File,
                Source::Sum(parts) => {
                    let sum: u64 = parts.iter().filter_map(|part| said.get(*part)).sum();
                    if sum == value { continue } else { Source::File }
                }
                _ => continue,
            };
            *revision += u64::from(next == Source::File);
            sources[index] = next;
        }
    }

    /// Calls `each` with the numbers of a record, in the order of [`StatWords::names`]; `None` is
    /// for those that only the file has. Nothing is called if there is an error.
    ///
    /// # Errors
    ///
    /// If the words that a number can be do not agree, or nothing has been learnt.
    pub fn decode(
        &mut self,
        words: &[AtomicU64],
        mut each: impl FnMut(usize, Option<u64>),
    ) -> Result<(), Ambiguous> {
        if self.names.is_empty() {
            return Err(Ambiguous);
        }
        let used = Set::of(words.len(), |word| shown(&words[word]) != 0);
        let Self { units, sources, values, .. } = self;
        let value = |word: usize, unit: usize| {
            words.get(word).map_or(0, |word| shown(word).saturating_mul(units[unit]))
        };
        for (place, source) in values.iter_mut().zip(sources.iter()) {
            *place = match source {
                Source::Word { word, unit } => value(*word, *unit),
                Source::Words(sets) => agreed(sets, used, value)?,
                Source::Sum(_) | Source::File => 0,
            };
        }
        for (index, source) in sources.iter().enumerate() {
            each(
                index,
                match source {
                    Source::File => None,
                    Source::Sum(parts) => parts
                        .iter()
                        .map(|part| (sources[*part] != Source::File).then(|| values[*part]))
                        .sum(),
                    _ => Some(values[index]),
                },
            );
        }
        Ok(())
    }

    fn start<'a>(&mut self, words: usize, names: impl Iterator<Item = &'a str>) {
        self.names = names.map(Box::from).collect();
        self.values = vec![0; self.names.len()];
        self.lessons = 0;
        self.revision += 1;
        let any = if words <= BITS { Set::of(words, |_| true) } else { Set::default() };
        self.sources = self
            .names
            .iter()
            .map(|name| {
                let parts = self.parts(name);
                if parts.is_empty() { narrow([any; UNITS]) } else { Source::Sum(parts) }
            })
            .collect();
    }

    /// The numbers whose sum one is (`mm/memcontrol.c`, `memcg_stat_format`); none if it is no sum.
    fn parts(&self, name: &str) -> Vec<usize> {
        if !["slab", "pgscan", "pgsteal"].contains(&name) {
            return Vec::new();
        }
        let is_part =
            |part: &str| part.strip_prefix(name).is_some_and(|rest| rest.starts_with('_'));
        let all = self.names.iter().enumerate();
        all.filter(|(_, part)| is_part(part)).map(|(index, _)| index).collect()
    }
}

/// What the file says of a word: sums of what each CPU has counted can be below zero for a while.
fn shown(word: &AtomicU64) -> u64 {
    let word = word.load(Ordering::Relaxed);
    if word > i64::MAX as u64 { 0 } else { word }
}

fn narrow(left: [Set; UNITS]) -> Source {
    match left.iter().map(|set| set.len()).sum() {
        0 => Source::File,
        1 => {
            let found = (0..UNITS).find_map(|unit| Some((left[unit].iter().next()?, unit)));
            found.map_or(Source::File, |(word, unit)| Source::Word { word, unit })
        }
        2.. => Source::Words(left),
    }
}

/// What all words say that a number can be.
fn agreed(
    sets: &[Set; UNITS],
    used: Set,
    value: impl Fn(usize, usize) -> u64,
) -> Result<u64, Ambiguous> {
    let nonzero: [Set; UNITS] = std::array::from_fn(|unit| sets[unit].and(used));
    if nonzero.iter().all(|set| set.is_empty()) {
        return Ok(0);
    }
    // A word that is zero disagrees with one that is not.
    if nonzero != *sets {
        return Err(Ambiguous);
    }
    let all = (0..UNITS).flat_map(|unit| sets[unit].iter().map(move |word| (word, unit)));
    let mut values = all.map(|(word, unit)| value(word, unit));
    let first = values.next().unwrap_or_default();
    if values.all(|value| value == first) { Ok(first) } else { Err(Ambiguous) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(values: &[i64]) -> Vec<AtomicU64> {
        values.iter().map(|value| AtomicU64::new(*value as u64)).collect()
    }

    fn decode(known: &mut StatWords, values: &[i64]) -> Result<Vec<Option<u64>>, Ambiguous> {
        let mut out = Vec::new();
        known.decode(&words(values), |_, value| out.push(value))?;
        Ok(out)
    }

    fn learn(known: &mut StatWords, values: &[i64], numbers: &[(&str, u64)]) {
        known.learn(&words(values), numbers.iter().copied());
    }

    #[test]
    fn numbers_are_decoded_once_they_can_be_no_other_words() {
        let mut known = StatWords::new(4096);
        assert_eq!(decode(&mut known, &[1]), Err(Ambiguous));
        learn(&mut known, &[3, 3, 7], &[("anon", 3 * 4096), ("pgfault", 7)]);
        assert_eq!(decode(&mut known, &[5, 5, 9]), Ok(vec![Some(5 * 4096), Some(9)]));
        assert_eq!(decode(&mut known, &[5, 6, 9]), Err(Ambiguous), "either may be it");
        assert_eq!(decode(&mut known, &[5, 0, 9]), Err(Ambiguous));
        learn(&mut known, &[5, 6, 9], &[("anon", 6 * 4096), ("pgfault", 9)]);
        assert_eq!(decode(&mut known, &[1, 2, 3]), Ok(vec![Some(2 * 4096), Some(3)]));
        assert_eq!(decode(&mut known, &[1, -2, 3]), Ok(vec![Some(0), Some(3)]));
        assert_eq!(known.lessons(), 2);
    }

    #[test]
    fn the_unit_is_learnt_too() {
        let mut known = StatWords::new(4096);
        learn(&mut known, &[4096, 1], &[("a", 4096)]);
        assert_eq!(decode(&mut known, &[8192, 2]), Ok(vec![Some(8192)]));
        assert_eq!(decode(&mut known, &[8192, 1]), Err(Ambiguous));
        learn(&mut known, &[8192, 1], &[("a", 4096)]);
        assert_eq!(decode(&mut known, &[0, 3]), Ok(vec![Some(12288)]));
    }

    #[test]
    fn what_is_no_word_is_left_to_the_file() {
        let mut known = StatWords::new(4096);
        learn(&mut known, &[1, 2], &[("odd", 77), ("even", 2)]);
        assert_eq!(decode(&mut known, &[1, 4]), Ok(vec![None, Some(4)]));
        assert_eq!(known.unknown().collect::<Vec<_>>(), ["odd"]);
    }

    #[test]
    fn a_word_that_lies_is_never_believed_again() {
        let mut known = StatWords::new(4096);
        learn(&mut known, &[1, 2], &[("a", 2)]);
        let before = known.revision();
        learn(&mut known, &[1, 5], &[("a", 3)]);
        assert_ne!(known.revision(), before);
        assert_eq!(decode(&mut known, &[1, 2]), Ok(vec![None]));
    }

    #[test]
    fn sums_are_added_up() {
        let mut known = StatWords::new(4096);
        let lesson = [("slab_reclaimable", 5), ("slab_unreclaimable", 6), ("slab", 11)];
        learn(&mut known, &[5, 6], &lesson);
        assert_eq!(decode(&mut known, &[7, 8]), Ok(vec![Some(7), Some(8), Some(15)]));
    }

    #[test]
    fn other_names_are_learnt_anew() {
        let mut known = StatWords::new(4096);
        learn(&mut known, &[1, 2], &[("a", 2)]);
        learn(&mut known, &[1, 2], &[("a", 2), ("b", 1)]);
        assert_eq!(known.names().len(), 2);
        assert_eq!(decode(&mut known, &[3, 4]), Ok(vec![Some(4), Some(3)]));
    }
}
