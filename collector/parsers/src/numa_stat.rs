//! `memory.numa_stat`: the memory of a cgroup by NUMA node.

use crate::text::{lines, number, words};
use serde::{Deserialize, Serialize};

/// Memory of a cgroup, with all its descendants, on one NUMA node. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct NumaUsage {
    /// The number of the node.
    pub node: u32,
    /// Anonymous memory.
    pub anon_bytes: Option<u64>,
    /// Page cache.
    pub file_bytes: Option<u64>,
    /// Memory that cannot be reclaimed, such as locked memory.
    pub unevictable_bytes: Option<u64>,
}

/// Reads a `memory.numa_stat` into `nodes`, in the order of the file; other lines than those of
/// [`NumaUsage`] are left out.
///
/// v2 counts bytes of the subtree (since Linux 5.10; `mm/memcontrol.c`, `memory_numa_stat_show`).
/// v1 counts pages of `page_bytes`, of the cgroup alone and, in lines that begin with
/// `hierarchical_`, of the subtree (`mm/memcontrol-v1.c`, `memcg_numa_stat_show`).
pub fn parse_numa_stat(text: &[u8], page_bytes: u64, nodes: &mut Vec<NumaUsage>) {
    nodes.clear();
    for line in lines(text) {
        let (name, values, unit_bytes) = match line.strip_prefix(b"hierarchical_") {
            Some(line) => (until(line, b'='), line, page_bytes),
            None => (until(line, b' '), line, 1),
        };
        let field: fn(&mut NumaUsage) -> &mut Option<u64> = match name {
            b"anon" => |node| &mut node.anon_bytes,
            b"file" => |node| &mut node.file_bytes,
            b"unevictable" => |node| &mut node.unevictable_bytes,
            _ => continue,
        };
        for (node, value) in words(values).skip(1).filter_map(on_node) {
            *field(entry(nodes, node)) = value.checked_mul(unit_bytes);
        }
    }
}

fn until(line: &[u8], end: u8) -> &[u8] {
    line.split(|byte| *byte == end).next().unwrap_or(line)
}

/// Reads `N1=4096`.
fn on_node(word: &[u8]) -> Option<(u32, u64)> {
    let rest = word.strip_prefix(b"N")?;
    let equals = rest.iter().position(|byte| *byte == b'=')?;
    Some((number(&rest[..equals])?.try_into().ok()?, number(&rest[equals + 1..])?))
}

fn entry(nodes: &mut Vec<NumaUsage>, node: u32) -> &mut NumaUsage {
    let at = nodes.iter().position(|usage| usage.node == node).unwrap_or_else(|| {
        nodes.reserve_exact(1);
        nodes.push(NumaUsage { node, ..NumaUsage::default() });
        nodes.len() - 1
    });
    &mut nodes[at]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Vec<NumaUsage> {
        let mut nodes = vec![NumaUsage { node: 9, ..NumaUsage::default() }];
        parse_numa_stat(text.as_bytes(), 4096, &mut nodes);
        nodes
    }

    fn usage(node: u32, anon: u64, file: u64, unevictable: u64) -> NumaUsage {
        NumaUsage {
            node,
            anon_bytes: Some(anon),
            file_bytes: Some(file),
            unevictable_bytes: Some(unevictable),
        }
    }

    #[test]
    fn v2_counts_bytes_of_the_subtree() {
        let text = "anon N0=4096 N1=8192\nfile N0=0 N1=12288\nkernel_stack N0=7 N1=7\n\
                    inactive_anon N0=1 N1=1\nunevictable N0=5 N1=6\n";
        assert_eq!(parse(text), [usage(0, 4096, 0, 5), usage(1, 8192, 12288, 6)]);
    }

    #[test]
    fn v1_counts_pages_and_the_subtree_has_lines_of_its_own() {
        let text = "total=30 N0=30 N1=0\nfile=9 N0=9 N1=0\nanon=9 N0=9 N1=0\n\
                    unevictable=9 N0=9 N1=0\nhierarchical_total=6 N0=3 N2=3\n\
                    hierarchical_file=3 N0=1 N2=2\nhierarchical_anon=5 N0=2 N2=3\n\
                    hierarchical_unevictable=0 N0=0 N2=0\n";
        assert_eq!(parse(text), [usage(0, 8192, 4096, 0), usage(2, 12288, 8192, 0)]);
    }

    #[test]
    fn what_is_malformed_is_unknown() {
        assert_eq!(parse("anon\nfile N0\nanon Nx=1 N1=-1 N1=\nfile N99999999999=1"), []);
        let too_large = parse("hierarchical_anon=0 N0=18446744073709551615\n");
        assert_eq!(too_large, [NumaUsage::default()]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(text: Vec<u8>, page_bytes: u64) {
            parse_numa_stat(&text, page_bytes, &mut Vec::new());
        }
    }
}
