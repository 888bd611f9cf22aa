//! NUMA nodes and huge pages of the host.

use std::{collections::BTreeMap, path::Path};

use tare_model::{HostHugePages, NumaNode};
use tare_parsers::{
    host_facts::{parse_distances, parse_huge_page_size, parse_index},
    meminfo::parse_node_meminfo,
};

use crate::small_files::{entry_names, read_number, read_text};

/// Reads the NUMA nodes of a `/sys`, sorted by number.
pub(super) fn read_numa_nodes(sys_root: &Path) -> Vec<NumaNode> {
    let root = sys_root.join("devices/system/node");
    let mut nodes: Vec<NumaNode> = entry_names(&root)
        .filter_map(|name| {
            let node = root.join(&name);
            Some(NumaNode {
                id: parse_index(&name, "node")?,
                cpus: read_text(&node.join("cpulist")).unwrap_or_default(),
                memory_bytes: read_text(&node.join("meminfo"))
                    .and_then(|text| parse_node_meminfo(text.as_bytes())),
                distances: BTreeMap::new(),
                huge_pages: read_sizes(&node.join("hugepages")),
            })
        })
        .collect();
    nodes.sort_by_key(|node| node.id);
    let ids: Vec<u32> = nodes.iter().map(|node| node.id).collect();
    for node in &mut nodes {
        let text = read_text(&root.join(format!("node{}/distance", node.id)));
        let distances = parse_distances(&text.unwrap_or_default());
        // The kernel lists the nodes that are online, in order (`drivers/base/node.c`,
        // `node_read_distance`).
        if distances.len() == ids.len() {
            node.distances = ids.iter().map(u32::to_string).zip(distances).collect();
        }
    }
    nodes
}

/// Reads the huge pages of a `/sys`, sorted by size.
pub(super) fn read_huge_pages(sys_root: &Path) -> Vec<HostHugePages> {
    read_sizes(&sys_root.join("kernel/mm/hugepages"))
}

fn read_sizes(root: &Path) -> Vec<HostHugePages> {
    let mut all: Vec<HostHugePages> = entry_names(root)
        .filter_map(|name| {
            let pages = root.join(&name);
            Some(HostHugePages {
                size_bytes: parse_huge_page_size(&name)?,
                total: read_number(&pages.join("nr_hugepages")),
                free: read_number(&pages.join("free_hugepages")),
            })
        })
        .collect();
    all.sort_by_key(|pages| pages.size_bytes);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::write;

    #[test]
    fn nodes_and_huge_pages_are_in_order() {
        let sys = tempfile::tempdir().unwrap();
        write(
            sys.path(),
            &[
                ("devices/system/node/node10/cpulist", "\n"),
                ("devices/system/node/node2/cpulist", "0-3\n"),
                ("devices/system/node/node2/distance", "10 21\n"),
                ("devices/system/node/node10/distance", "21\n"),
                ("devices/system/node/node2/hugepages/hugepages-2048kB/nr_hugepages", "5\n"),
                (
                    "devices/system/node/node2/meminfo",
                    "Node 2 MemTotal:  1024 kB\nNode 2 MemFree: 1 kB\n",
                ),
                ("devices/system/node/online", "2,10\n"),
                ("kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "1\n"),
                ("kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "8\n"),
                ("kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "3\n"),
            ],
        );
        let node = |id, cpus: &str, memory_bytes| NumaNode {
            id,
            cpus: cpus.to_owned(),
            memory_bytes,
            distances: BTreeMap::new(),
            huge_pages: Vec::new(),
        };
        let near = NumaNode {
            distances: BTreeMap::from([("2".to_owned(), 10), ("10".to_owned(), 21)]),
            huge_pages: vec![HostHugePages { size_bytes: 2 << 20, total: Some(5), free: None }],
            ..node(2, "0-3", Some(1 << 20))
        };
        assert_eq!(read_numa_nodes(sys.path()), [near, node(10, "", None)]);
        let pages =
            |size_bytes, total, free| HostHugePages { size_bytes, total: Some(total), free };
        assert_eq!(
            read_huge_pages(sys.path()),
            [pages(2 << 20, 8, Some(3)), pages(1 << 30, 1, None)]
        );
    }
}
