//! Maps and sets by numbers that the kernel or this process gives out. They are looked at for each
//! container in each sample, so they are hashed faster than the standard library does; nobody else
//! chooses the numbers, and the seed is random.

/// A map by such a number.
pub type HashMap<K, V> = foldhash::HashMap<K, V>;

/// A set of such numbers.
pub type HashSet<K> = foldhash::HashSet<K>;
