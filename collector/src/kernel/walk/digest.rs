//! Whether records still say the same.

use std::{
    hash::{BuildHasher as _, Hasher as _},
    sync::atomic::{AtomicU64, Ordering},
};

use foldhash::{
    SharedSeed,
    fast::{FoldHasher, SeedableRandomState},
};
use tare_ebpf::{
    ABSENT,
    walk_record::{bandwidth, base, memory},
};

use crate::kernel::walk::Record;

/// All that numbers are made from, as one number: hashed with a seed that nobody knows. The chance
/// that it stays the same when something has changed is about one in 2⁶⁴.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

/// Makes a [`Fingerprint`].
pub struct Digest(FoldHasher<'static>);

impl Digest {
    /// Of a number and of what is added.
    pub fn new(first: u64) -> Self {
        let state = SeedableRandomState::with_seed(0, SharedSeed::global_random());
        let mut hasher = state.build_hasher();
        hasher.write_u128(first.into());
        Self(hasher)
    }

    /// Adds a number.
    pub fn add_number(&mut self, number: u64) {
        self.0.write_u128(number.into());
    }

    /// Adds words.
    pub fn add_words(&mut self, words: &[AtomicU64]) {
        let load = |word: &AtomicU64| u128::from(word.load(Ordering::Relaxed));
        let (pairs, rest) = words.as_chunks::<2>();
        pairs.iter().for_each(|[one, other]| self.0.write_u128(load(one) | load(other) << 64));
        rest.iter().for_each(|word| self.0.write_u128(load(word)));
    }

    /// Adds a record, with those numbers of the records above it that its own depend on: limits of
    /// memory and CPU time hold for all below.
    pub fn add(&mut self, record: &Record<'_>) {
        /// Bit in the flags of a record, and words of the section.
        const LIMITS: [(u64, &[usize]); 2] = [
            (base::HAS_BANDWIDTH, &[bandwidth::QUOTA, bandwidth::PERIOD]),
            (base::HAS_MEMORY, &[memory::MAX, memory::SWAP_MAX]),
        ];
        self.add_words(record.words);
        let holes = &record.tree.plan().holes;
        let sections = [holes.at_bandwidth, holes.at_memory];
        if sections == [ABSENT; 2] {
            return;
        }
        for above in std::iter::successors(record.parent(), Record::parent) {
            self.add_number(above.id());
            for (at, (bit, words)) in sections.iter().zip(LIMITS) {
                let Some(section) = above.section(*at, bit) else { continue };
                words.iter().for_each(|word| self.add_number(section.word(*word)));
            }
        }
    }

    /// The number.
    pub fn finish(self) -> Fingerprint {
        Fingerprint(self.0.finish())
    }
}
