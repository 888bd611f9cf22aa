//! `/proc/meminfo` and `meminfo` of a NUMA node.

use crate::text::{lines, number, words};
use serde::{Deserialize, Serialize};

/// Memory of the host, in bytes. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct HostMemory {
    /// `MemTotal`: physical memory without what the kernel reserved at boot.
    pub total_bytes: Option<u64>,
    /// `MemAvailable`: the kernel's estimate of what programs can allocate without swapping.
    pub available_bytes: Option<u64>,
    /// `MemFree`: unused memory.
    pub free_bytes: Option<u64>,
    /// `Buffers`: cached blocks of block devices.
    pub buffers_bytes: Option<u64>,
    /// `Cached`: the page cache, shared memory included.
    pub cached_bytes: Option<u64>,
    /// `SwapCached`: pages that are both in memory and in swap.
    pub swap_cached_bytes: Option<u64>,
    /// `Inactive(file)`: the part of the page cache that is reclaimed first.
    pub inactive_file_bytes: Option<u64>,
    /// `Mapped`: the part of the page cache that is mapped by processes.
    pub mapped_bytes: Option<u64>,
    /// `AnonPages`: anonymous memory of processes.
    pub anonymous_bytes: Option<u64>,
    /// `SwapTotal`: size of all swap areas.
    pub swap_bytes: Option<u64>,
    /// `SwapFree`: unused swap.
    pub swap_free_bytes: Option<u64>,
}

/// Parses `/proc/meminfo` (`fs/proc/meminfo.c`, `meminfo_proc_show`). Its `kB` are KiB.
pub fn parse_meminfo(text: &[u8]) -> HostMemory {
    let mut memory = HostMemory::default();
    for line in lines(text) {
        let mut words = words(line);
        let field = match words.next() {
            Some(b"MemTotal:") => &mut memory.total_bytes,
            Some(b"MemAvailable:") => &mut memory.available_bytes,
            Some(b"MemFree:") => &mut memory.free_bytes,
            Some(b"Buffers:") => &mut memory.buffers_bytes,
            Some(b"Cached:") => &mut memory.cached_bytes,
            Some(b"SwapCached:") => &mut memory.swap_cached_bytes,
            Some(b"Inactive(file):") => &mut memory.inactive_file_bytes,
            Some(b"Mapped:") => &mut memory.mapped_bytes,
            Some(b"AnonPages:") => &mut memory.anonymous_bytes,
            Some(b"SwapTotal:") => &mut memory.swap_bytes,
            Some(b"SwapFree:") => &mut memory.swap_free_bytes,
            _ => continue,
        };
        *field = kibibytes(words.next());
    }
    memory
}

/// Parses the memory of a NUMA node, in bytes, from its `meminfo`:
/// `Node 0 MemTotal:       24684084 kB` (`drivers/base/node.c`, `node_read_meminfo`).
pub fn parse_node_meminfo(text: &[u8]) -> Option<u64> {
    lines(text).find_map(|line| {
        let mut words = words(line).skip(2);
        let found = words.next()? == b"MemTotal:";
        found.then(|| kibibytes(words.next()))?
    })
}

fn kibibytes(word: Option<&[u8]>) -> Option<u64> {
    word.and_then(number).and_then(|kibibytes| kibibytes.checked_mul(1024))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_is_in_kibibytes() {
        let text =
            b"MemTotal:       24684084 kB\nMemFree:        23597184 kB\nMemAvailable: 3 kB\n\
            Buffers: 4 kB\nCached: 5 kB\nSwapCached: 6 kB\nSwapTotal: 7 kB\nSwapFree: x kB\n\
            Inactive: 1 kB\nInactive(file): 8 kB\nAnonPages: 9 kB\nMapped: 10 kB\n";
        let expected = HostMemory {
            total_bytes: Some(24_684_084 << 10),
            available_bytes: Some(3 << 10),
            free_bytes: Some(23_597_184 << 10),
            buffers_bytes: Some(4 << 10),
            cached_bytes: Some(5 << 10),
            swap_bytes: Some(7 << 10),
            swap_free_bytes: None,
            swap_cached_bytes: Some(6 << 10),
            inactive_file_bytes: Some(8 << 10),
            anonymous_bytes: Some(9 << 10),
            mapped_bytes: Some(10 << 10),
        };
        assert_eq!(parse_meminfo(text), expected);
    }

    #[test]
    fn the_memory_of_a_node_is_its_total() {
        let text = b"Node 2 MemFree: 1 kB\nNode 2 MemTotal:  1024 kB\n";
        assert_eq!(parse_node_meminfo(text), Some(1 << 20));
        assert_eq!(parse_node_meminfo(b"Node 2 MemFree: 1 kB\n"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted(text: Vec<u8>, value: u64) {
            parse_meminfo(&text);
            parse_meminfo(format!("MemTotal: {value} kB").as_bytes());
            parse_node_meminfo(&text);
            parse_node_meminfo(format!("Node 0 MemTotal: {value} kB").as_bytes());
        }
    }
}
