//! CPUs of the host.

use std::{collections::BTreeSet, fs::File, io::Read, path::Path};

use tare_parsers::host_facts::{parse_cpu_model, parse_index};

use crate::small_files::{entry_names, read_number, read_text};

/// CPUs of the host. `None` is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processors {
    /// Cores with at least one CPU that is online. A core with several threads is several CPUs.
    pub physical_cores: Option<u32>,
    /// Packages with at least one CPU that is online.
    pub sockets: Option<u32>,
    /// The model name of the first CPU.
    pub model: Option<String>,
    /// The highest maximum frequency of any CPU.
    pub max_frequency_hertz: Option<u64>,
}

impl Processors {
    pub(super) fn read(proc_root: &Path, sys_root: &Path) -> Self {
        let root = sys_root.join("devices/system/cpu");
        let (mut cores, mut sockets) = (BTreeSet::new(), BTreeSet::new());
        let mut max_kilohertz = None;
        for cpu in entry_names(&root).filter(|name| parse_index(name, "cpu").is_some()) {
            let cpu = root.join(cpu);
            // A CPU that is offline has no topology.
            let topology = |name: &str| read_text(&cpu.join("topology").join(name));
            if let (Some(socket), Some(core)) =
                (topology("physical_package_id"), topology("core_id"))
            {
                cores.insert((socket.clone(), topology("die_id"), core));
                sockets.insert(socket);
            }
            max_kilohertz = max_kilohertz.max(read_number(&cpu.join("cpufreq/cpuinfo_max_freq")));
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
        let expected = Processors {
            physical_cores: Some(2),
            sockets: Some(2),
            model: Some("Some CPU @ 2.40GHz".to_owned()),
            max_frequency_hertz: Some(3_600_000_000),
        };
        assert_eq!(Processors::read(sys.path(), sys.path()), expected);
    }
}
