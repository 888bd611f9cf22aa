//! CPUs of the host.

use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read,
    path::Path,
};

use tare_model::{Cache, Core};
use tare_parsers::host_facts::{parse_cache_size, parse_cpu_model, parse_index};

use crate::small_files::{entry_names, read_number, read_text};

/// CPUs of the host. `None` is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Processors {
    /// Cores with at least one CPU that is online. A core with several threads is several CPUs.
    pub physical_cores: Option<u32>,
    /// Packages with at least one CPU that is online.
    pub sockets: Option<u32>,
    /// The model name of the first CPU.
    pub model: Option<String>,
    /// The highest maximum frequency of any CPU.
    pub max_frequency_hertz: Option<u64>,
    /// Cores with a CPU that is online, by package and number.
    pub cores: Vec<Core>,
    /// Caches of these CPUs, each once.
    pub caches: Vec<Cache>,
}

impl Processors {
    pub(super) fn read(proc_root: &Path, sys_root: &Path) -> Self {
        let root = sys_root.join("devices/system/cpu");
        let (mut cores, mut caches) = (BTreeMap::new(), BTreeSet::new());
        let mut max_kilohertz = None;
        for name in entry_names(&root) {
            let Some(number) = parse_index(&name, "cpu") else { continue };
            let cpu = root.join(name);
            max_kilohertz = max_kilohertz.max(read_number(&cpu.join("cpufreq/cpuinfo_max_freq")));
            // A CPU that is offline has no topology.
            let topology = |name: &str| read_text(&cpu.join("topology").join(name));
            let (Some(socket), Some(core)) = (topology("physical_package_id"), topology("core_id"))
            else {
                continue;
            };
            let cpus: &mut Vec<_> =
                cores.entry((socket, topology("die_id"), core)).or_insert_with(Vec::new);
            cpus.push((number, read_node(&cpu)));
            caches.extend(read_caches(&cpu));
        }
        let sockets: BTreeSet<&String> = cores.keys().map(|(socket, ..)| socket).collect();
        let count = |count: usize| u32::try_from(count).ok().filter(|count| *count > 0);
        let (physical_cores, sockets) = (count(cores.len()), count(sockets.len()));
        let mut cores: Vec<Core> = cores.into_iter().filter_map(core).collect();
        cores.sort_by_key(|core| (core.socket, core.id));
        Self {
            physical_cores,
            sockets,
            model: read_model(&proc_root.join("cpuinfo")),
            max_frequency_hertz: max_kilohertz.and_then(|kilohertz| kilohertz.checked_mul(1_000)),
            cores,
            caches: caches.into_iter().collect(),
        }
    }
}

/// Package, die and number of a core, as the kernel writes them.
type CoreKey = (String, Option<String>, String);

/// A core, and its CPUs with their NUMA nodes.
fn core(((socket, _, id), mut cpus): (CoreKey, Vec<(u32, Option<u32>)>)) -> Option<Core> {
    cpus.sort_unstable();
    Some(Core {
        id: id.parse().ok()?,
        socket: socket.parse().ok()?,
        node: cpus.iter().find_map(|(_, node)| *node),
        cpus: cpus.into_iter().map(|(cpu, _)| cpu).collect(),
    })
}

/// The NUMA node of a CPU: the kernel links it by name (`drivers/base/node.c`,
/// `register_cpu_under_node`).
fn read_node(cpu: &Path) -> Option<u32> {
    entry_names(cpu).find_map(|name| parse_index(&name, "node"))
}

/// The caches of a CPU.
fn read_caches(cpu: &Path) -> Vec<Cache> {
    let root = cpu.join("cache");
    let read = |name: String| {
        parse_index(&name, "index")?;
        let cache = root.join(name);
        let text = |name: &str| read_text(&cache.join(name));
        Some(Cache {
            level: text("level")?.parse().ok()?,
            kind: text("type")?,
            size_bytes: parse_cache_size(&text("size")?)?,
            cpus: text("shared_cpu_list")?,
        })
    };
    entry_names(&root).filter_map(read).collect()
}

/// Reads only the start of the file, which is long where there are many CPUs.
fn read_model(cpuinfo: &Path) -> Option<String> {
    const START_BYTES: u64 = 4096;
    let mut start = Vec::new();
    File::open(cpuinfo).ok()?.take(START_BYTES).read_to_end(&mut start).ok()?;
    parse_cpu_model(&start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::write;

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
        let core = |socket, cpus: &[u32]| Core { socket, cpus: cpus.to_vec(), ..Core::default() };
        let expected = Processors {
            physical_cores: Some(2),
            sockets: Some(2),
            model: Some("Some CPU @ 2.40GHz".to_owned()),
            max_frequency_hertz: Some(3_600_000_000),
            cores: vec![core(0, &[0, 1]), core(1, &[2])],
            caches: Vec::new(),
        };
        assert_eq!(Processors::read(sys.path(), sys.path()), expected);
    }
    #[test]
    fn a_cache_that_cpus_share_is_listed_once() {
        let sys = tempfile::tempdir().unwrap();
        for cpu in [0, 1] {
            let cpu = format!("devices/system/cpu/cpu{cpu}");
            write(
                sys.path(),
                &[
                    (&format!("{cpu}/topology/physical_package_id"), "0"),
                    (&format!("{cpu}/topology/core_id"), "4"),
                    (&format!("{cpu}/node1/x"), ""),
                    (&format!("{cpu}/cache/index0/level"), "1\n"),
                    (&format!("{cpu}/cache/index0/type"), "Data\n"),
                    (&format!("{cpu}/cache/index0/size"), "48K\n"),
                    (&format!("{cpu}/cache/index0/shared_cpu_list"), "0-1\n"),
                    (&format!("{cpu}/cache/index3/level"), "3\n"),
                    (&format!("{cpu}/cache/uevent"), ""),
                ],
            );
        }
        let Processors { cores, caches, .. } = Processors::read(sys.path(), sys.path());
        assert_eq!(cores, [Core { id: 4, socket: 0, node: Some(1), cpus: vec![0, 1] }]);
        let (kind, cpus) = ("Data".to_owned(), "0-1".to_owned());
        assert_eq!(caches, [Cache { level: 1, kind, size_bytes: 48 << 10, cpus }]);
    }
}
