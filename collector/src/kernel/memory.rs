//! Kernel memory of the maps that this process holds.

use std::{collections::BTreeMap, fs};

/// The sum over all maps that this process has open, as their descriptors tell it
/// (`kernel/bpf/syscall.c`, `bpf_map_show_fdinfo`); `None` if there are none or it is not told.
pub(super) fn map_bytes() -> Option<u64> {
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fdinfo").ok()?.flatten() {
        // A descriptor may be closed meanwhile; it is none of the maps then.
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        if let Some((id, bytes)) = parse(&text) {
            maps.insert(id, bytes);
        }
    }
    (!maps.is_empty()).then(|| maps.values().sum())
}

/// A map's id and its memory.
fn parse(fdinfo: &str) -> Option<(u64, u64)> {
    let field = |name: &str| {
        let value = fdinfo.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim().parse().ok()
    };
    Some((field("map_id:")?, field("memlock:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_and_what_is_none() {
        let map = "pos:\t0\nflags:\t02\nmap_type:\t2\nmemlock:\t4096\nmap_id:\t7\nfrozen:\t0\n";
        assert_eq!(parse(map), Some((7, 4096)));
        assert_eq!(parse("pos:\t0\nprog_id:\t7\nmemlock:\t4096\n"), None);
        assert_eq!(parse("map_id:\nmemlock:\tx\n"), None);
    }
}
