//! Memory of the host.

use tare_parsers::text::{lines, number, words};

use crate::host::HostUsage;

/// Where the host's memory is; `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostMemory {
    /// `MemFree`: used for nothing at all.
    pub free_bytes: Option<u64>,
    /// `Buffers`: cached blocks of devices.
    pub buffers_bytes: Option<u64>,
    /// `Cached`: the page cache, memory shared between processes included.
    pub cached_bytes: Option<u64>,
    /// `SwapCached`: pages that are in swap as well.
    pub swap_cached_bytes: Option<u64>,
    /// `Inactive(file)`: the part of the page cache that the kernel would take back first.
    pub inactive_file_bytes: Option<u64>,
    /// `Mapped`: the part of the page cache that processes have mapped.
    pub mapped_bytes: Option<u64>,
    /// `AnonPages`: memory of processes that no file stands behind.
    pub anonymous_bytes: Option<u64>,
    /// `SwapTotal`.
    pub swap_bytes: Option<u64>,
    /// `SwapFree`.
    pub swap_free_bytes: Option<u64>,
}

/// Reads a `/proc/meminfo` (`fs/proc/meminfo.c`), whose `kB` are KiB.
pub fn parse_meminfo(text: &[u8], usage: &mut HostUsage) {
    for line in lines(text) {
        let mut words = words(line);
        let field = match words.next() {
            Some(b"MemTotal:") => &mut usage.memory_bytes,
            Some(b"MemAvailable:") => &mut usage.memory_available_bytes,
            Some(b"MemFree:") => &mut usage.memory.free_bytes,
            Some(b"Buffers:") => &mut usage.memory.buffers_bytes,
            Some(b"Cached:") => &mut usage.memory.cached_bytes,
            Some(b"SwapCached:") => &mut usage.memory.swap_cached_bytes,
            Some(b"Inactive(file):") => &mut usage.memory.inactive_file_bytes,
            Some(b"Mapped:") => &mut usage.memory.mapped_bytes,
            Some(b"AnonPages:") => &mut usage.memory.anonymous_bytes,
            Some(b"SwapTotal:") => &mut usage.memory.swap_bytes,
            Some(b"SwapFree:") => &mut usage.memory.swap_free_bytes,
            _ => continue,
        };
        *field = words.next().and_then(number).and_then(|kibibytes| kibibytes.checked_mul(1024));
    }
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
        let mut usage = HostUsage::default();
        parse_meminfo(text, &mut usage);
        assert_eq!(usage.memory_bytes, Some(24_684_084 << 10));
        assert_eq!(usage.memory_available_bytes, Some(3 << 10));
        let expected = HostMemory {
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
        assert_eq!(usage.memory, expected);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(text: Vec<u8>, value: u64) {
            let mut usage = HostUsage::default();
            parse_meminfo(&text, &mut usage);
            parse_meminfo(format!("MemTotal: {value} kB").as_bytes(), &mut usage);
        }
    }
}
