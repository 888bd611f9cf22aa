//! What is measured, and for how long.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use super::sampling::Load;

/// How much of everything.
pub(crate) struct Plan {
    pub(crate) sizes: Vec<usize>,
    /// Rounds of all tools; see [`Plan::rounds`].
    pub(crate) repeat: usize,
    /// How long a tool is watched.
    pub(crate) window: Duration,
    /// Answers of each kind.
    pub(crate) scrapes: u32,
    /// Containers of which somebody is to hear.
    pub(crate) detections: u32,
    /// Containers that live for a moment.
    pub(crate) lives: u32,
    /// Pictures that each program takes.
    pub(crate) snapshots: u32,
    /// Pairs with and without Tare.
    pub(crate) pairs: usize,
    /// Numbers of real containers, growing.
    pub(crate) containers: Vec<usize>,
    pub(crate) quick: bool,
}

impl Plan {
    /// From here on other tools are measured, and loads: of fewer they are within the noise.
    pub(crate) const MANY: usize = 500;

    /// The default: everything, in less than 25 minutes.
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

    /// In less than 5 minutes.
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

    /// Rounds of so many cgroups.
    pub(crate) fn rounds(&self, size: usize) -> usize {
        if size < 10_000 { self.repeat } else { 1 }
    }

    /// All loads where each tool may have all its files open, and the ends of fewer; of more, only the idle
    /// ones leave a machine of two CPUs the time to measure anything.
    pub(crate) fn loads(&self, size: usize) -> Vec<Load> {
        match size {
            0..Self::MANY => vec![Load::Idle],
            Self::MANY..=1_000 if self.quick => vec![Load::Idle, Load::All],
            Self::MANY..=1_000 => Load::EVERY.to_vec(),
            _ => vec![Load::Idle],
        }
    }

    /// Whether tools are measured that cost much more than the floor.
    pub(crate) fn others(&self, size: usize, load: Load) -> bool {
        load == Load::Idle && size >= Self::MANY
    }
}

/// The same in an order of chance.
pub(crate) fn shuffle<T>(mut all: Vec<T>) -> Vec<T> {
    // The standard library's hashers are seeded by chance.
    let chance = RandomState::new();
    for last in (1..all.len()).rev() {
        let mut hasher = chance.build_hasher();
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
