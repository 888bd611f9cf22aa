//! How much is measured.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// How many of the processes do work each second.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) enum Load {
    Idle,
    Tenth,
    All,
}

impl Load {
    pub(crate) const EVERY: [Self; 3] = [Self::Idle, Self::Tenth, Self::All];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Tenth => "10 % busy",
            Self::All => "all busy",
        }
    }

    /// For `--busy-every`: every nth process is busy.
    pub(crate) fn every(self) -> &'static str {
        match self {
            Self::Idle => "0",
            Self::Tenth => "10",
            Self::All => "1",
        }
    }
}

/// Sizes and counts of a run.
pub(crate) struct Plan {
    pub(crate) sizes: Vec<usize>,
    /// Rounds of each measurement; see [`Plan::rounds`].
    pub(crate) repeat: usize,
    /// Duration of one measurement.
    pub(crate) window: Duration,
    /// Scrapes of each kind.
    pub(crate) scrapes: u32,
    /// New containers whose events are timed.
    pub(crate) detections: u32,
    /// Short-lived containers.
    pub(crate) lives: u32,
    /// Runs of each program that prints one report.
    pub(crate) snapshots: u32,
    /// Rounds of work with and without Tare.
    pub(crate) pairs: usize,
    /// Numbers of real containers, ascending.
    pub(crate) containers: Vec<usize>,
    pub(crate) quick: bool,
}

impl Plan {
    /// Minimum number of cgroups for other tools and loads: with fewer, differences are noise.
    pub(crate) const MANY: usize = 500;

    /// The default: everything, in under 25 minutes.
    pub(crate) fn full() -> Self {
        Self {
            sizes: vec![10, 100, 1_000, 10_000],
            repeat: 2,
            window: Duration::from_secs(3),
            scrapes: 5,
            detections: 200,
            lives: 150,
            snapshots: 5,
            pairs: 3,
            containers: vec![10, 50],
            quick: false,
        }
    }

    /// In under 5 minutes.
    pub(crate) fn quick() -> Self {
        Self {
            sizes: vec![500],
            repeat: 1,
            window: Duration::from_secs(3),
            scrapes: 2,
            detections: 50,
            lives: 100,
            snapshots: 3,
            pairs: 1,
            containers: vec![10],
            quick: true,
        }
    }

    /// Rounds at a number of cgroups.
    pub(crate) fn rounds(&self, size: usize) -> usize {
        if size < 10_000 { self.repeat } else { 1 }
    }

    /// All loads at medium sizes, where tools can keep all files open. With more cgroups a machine
    /// of two CPUs is saturated unless they are idle.
    pub(crate) fn loads(&self, size: usize) -> Vec<Load> {
        match size {
            0..Self::MANY => vec![Load::Idle],
            Self::MANY..=1_000 if self.quick => vec![Load::Idle, Load::All],
            Self::MANY..=1_000 => Load::EVERY.to_vec(),
            _ => vec![Load::Idle],
        }
    }

    /// Whether the more expensive tools are measured.
    pub(crate) fn others(size: usize, load: Load) -> bool {
        load == Load::Idle && size >= Self::MANY
    }
}

/// The same items in random order.
pub(crate) fn shuffle<T>(mut all: Vec<T>) -> Vec<T> {
    // The standard library seeds its hashers randomly.
    let random = RandomState::new();
    for last in (1..all.len()).rev() {
        let mut hasher = random.build_hasher();
        hasher.write_usize(last);
        let below = u64::try_from(last + 1).unwrap_or(u64::MAX);
        all.swap(last, usize::try_from(hasher.finish() % below).unwrap_or(last));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffling_loses_nothing_and_changes_the_order() {
        let sorted: Vec<u32> = (0..100).collect();
        let mut shuffled = shuffle(sorted.clone());
        assert_ne!(shuffled, sorted);
        shuffled.sort_unstable();
        assert_eq!(shuffled, sorted);
    }
}
