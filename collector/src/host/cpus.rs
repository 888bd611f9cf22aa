//! CPUs, NUMA nodes and huge pages.

use std::{collections::BTreeSet, fs::File, io::Read, path::Path};

use tare_model::{HostHugePages as HugePages, NumaNode};

use tare_parsers::text::{lines, number as digits, words};

use crate::host::facts::{names, number, text};

/// The host's CPUs. `None` is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processors {
    /// Cores that are online; those of them with several threads are several CPUs.
    pub physical_cores: Option<u32>,
    /// Packages that are online.
    pub sockets: Option<u32>,
    /// The first CPU's name.
    pub model: Option<String>,
    /// The highest frequency of any CPU.
    pub max_frequency_hertz: Option<u64>,
}

impl Processors {
    pub(super) fn read(proc_root: &Path, sys_root: &Path) -> Self {
        let root = sys_root.join("devices/system/cpu");
        let (mut cores, mut sockets) = (BTreeSet::new(), BTreeSet::new());
        let mut max_kilohertz = None;
        for cpu in names(&root).filter(|name| index(name, "cpu").is_some()) {
            let cpu = root.join(cpu);
            // A CPU that is offline has no topology.
            let topology = |name: &str| text(&cpu.join("topology").join(name));
            if let (Some(socket), Some(core)) =
                (topology("physical_package_id"), topology("core_id"))
            {
                cores.insert((socket.clone(), topology("die_id"), core));
                sockets.insert(socket);
            }
            max_kilohertz = max_kilohertz.max(number(&cpu.join("cpufreq/cpuinfo_max_freq")));
        }
        let count = |count: usize| u32::try_from(count).ok().filter(|count| *count > 0);
        Self {
            physical_cores: count(cores.len()),
            sockets: count(sockets.len()),
            model: read_model(&proc_root.join("cpuinfo")),
            max_frequency_hertz: max_kilohertz.and_then(|kilohertz| kilohertz.checked_mul(1_000)),
        }
    }
}

/// The NUMA nodes of a `/sys`, in order.
pub(super) fn numa_nodes(sys_root: &Path) -> Vec<NumaNode> {
    let root = sys_root.join("devices/system/node");
    let mut nodes: Vec<NumaNode> = names(&root)
        .filter_map(|name| {
            let node = root.join(&name);
            Some(NumaNode {
                id: index(&name, "node")?,
                cpus: text(&node.join("cpulist")).unwrap_or_default(),
                memory_bytes: text(&node.join("meminfo"))
                    .and_then(|text| parse_node_memory(text.as_bytes())),
            })
        })
        .collect();
    nodes.sort_by_key(|node| node.id);
    nodes
}

/// Huge pages of a `/sys` by size, small ones first.
pub(super) fn huge_pages(sys_root: &Path) -> Vec<HugePages> {
    let root = sys_root.join("kernel/mm/hugepages");
    let mut all: Vec<HugePages> = names(&root)
        .filter_map(|name| {
            let kibibytes = name.strip_prefix("hugepages-")?.strip_suffix("kB")?;
            let pages = root.join(&name);
            Some(HugePages {
                size_bytes: digits(kibibytes.as_bytes())?.checked_mul(1024)?,
                total: number(&pages.join("nr_hugepages")),
                free: number(&pages.join("free_hugepages")),
            })
        })
        .collect();
    all.sort_by_key(|pages| pages.size_bytes);
    all
}

/// The number after a name: 12 for `cpu12`, none for `cpufreq`.
fn index(name: &str, stem: &str) -> Option<u32> {
    u32::try_from(digits(name.strip_prefix(stem)?.as_bytes())?).ok()
}

/// Only the start is read: the file is long where there are many CPUs.
fn read_model(cpuinfo: &Path) -> Option<String> {
    const START: u64 = 4096;
    let mut start = Vec::new();
    File::open(cpuinfo).ok()?.take(START).read_to_end(&mut start).ok()?;
    parse_model(&start)
}

/// The first `model name` of a `/proc/cpuinfo`; not every architecture tells one.
fn parse_model(text: &[u8]) -> Option<String> {
    let value = lines(text).find_map(|line| line.strip_prefix(b"model name"))?;
    let value = value.trim_ascii_start().strip_prefix(b":")?.trim_ascii();
    (!value.is_empty()).then(|| String::from_utf8_lossy(value).into_owned())
}

/// `Node 0 MemTotal:       24684084 kB` (`drivers/base/node.c`, `node_read_meminfo`).
fn parse_node_memory(text: &[u8]) -> Option<u64> {
    lines(text).find_map(|line| {
        let mut words = words(line).skip(2);
        let found = words.next()? == b"MemTotal:";
        found.then(|| digits(words.next()?)?.checked_mul(1024))?
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn cores_are_counted_once_and_offline_cpus_not() {
        let sys = tempfile::tempdir().unwrap();
        let cpu = |cpu: u32, socket: &str, core: &str| {
            let topology = format!("devices/system/cpu/cpu{cpu}/topology");
            write(
                sys.path(),
                &[
                    (&format!("{topology}/physical_package_id"), socket),
                    (&format!("{topology}/core_id"), core),
                ],
            );
        };
        cpu(0, "0", "0");
        cpu(1, "0", "0");
        cpu(2, "1", "0");
        write(
            sys.path(),
            &[
                ("devices/system/cpu/cpu3/online", "0"),
                ("devices/system/cpu/cpufreq/boost", "1"),
                ("devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "2400000"),
                ("devices/system/cpu/cpu2/cpufreq/cpuinfo_max_freq", "3600000"),
                ("cpuinfo", "processor\t: 0\nmodel name\t: Some CPU @ 2.40GHz\n"),
            ],
        );
        let expected = Processors {
            physical_cores: Some(2),
            sockets: Some(2),
            model: Some("Some CPU @ 2.40GHz".to_owned()),
            max_frequency_hertz: Some(3_600_000_000),
        };
        assert_eq!(Processors::read(sys.path(), sys.path()), expected);
    }

    #[test]
    fn nodes_and_huge_pages_are_in_order() {
        let sys = tempfile::tempdir().unwrap();
        write(
            sys.path(),
            &[
                ("devices/system/node/node10/cpulist", "\n"),
                ("devices/system/node/node2/cpulist", "0-3\n"),
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
        let node =
            |id, cpus: &str, memory_bytes| NumaNode { id, cpus: cpus.to_owned(), memory_bytes };
        assert_eq!(numa_nodes(sys.path()), [node(2, "0-3", Some(1 << 20)), node(10, "", None)]);
        let pages = |size_bytes, total, free| HugePages { size_bytes, total: Some(total), free };
        assert_eq!(huge_pages(sys.path()), [pages(2 << 20, 8, Some(3)), pages(1 << 30, 1, None)]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(text: Vec<u8>, value: u64) {
            parse_model(&text);
            parse_node_memory(&text);
            parse_node_memory(format!("Node 0 MemTotal: {value} kB").as_bytes());
        }
    }
}
