//! Memory modules of the host.

use std::{collections::BTreeMap, path::Path};

use tare_model::MemoryModules;
use tare_parsers::host_facts::parse_index;

use crate::small_files::{entry_names, read_number, read_text};

/// Memory controllers and modules beyond this number are not read.
const MODULES_MAX: usize = 1024;

/// Reads the memory modules of a `/sys` by type. None are found without an EDAC driver for the
/// memory controller, as in most virtual machines (`drivers/edac/edac_mc_sysfs.c`, since Linux
/// 3.6).
pub(super) fn read(sys_root: &Path) -> BTreeMap<String, MemoryModules> {
    let root = sys_root.join("devices/system/edac/mc");
    let controllers = entry_names(&root).filter(|name| parse_index(name, "mc").is_some());
    let modules = controllers.flat_map(|controller| {
        let controller = root.join(controller);
        let names: Vec<_> = entry_names(&controller).collect();
        // Drivers that know ranks only name them `rank0`: a module may have several.
        let modules = names.into_iter().filter(|name| parse_index(name, "dimm").is_some());
        modules.map(move |name| controller.join(name))
    });
    let mut types = BTreeMap::new();
    for module in modules.take(MODULES_MAX) {
        let kind = read_text(&module.join("dimm_mem_type"));
        let mebibytes = read_number(&module.join("size")).filter(|size| *size > 0);
        if let Some((kind, mebibytes)) = kind.zip(mebibytes) {
            let modules: &mut MemoryModules = types.entry(kind).or_default();
            modules.count += 1;
            let bytes = mebibytes.saturating_mul(1 << 20);
            modules.capacity_bytes = modules.capacity_bytes.saturating_add(bytes);
        }
    }
    types
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::write;

    #[test]
    fn modules_are_added_up_by_type() {
        let sys = tempfile::tempdir().unwrap();
        let module = |path: &str, kind: &str, size: &str| {
            let path = format!("devices/system/edac/mc/{path}");
            let files = [(format!("{path}/dimm_mem_type"), kind), (format!("{path}/size"), size)];
            write(sys.path(), &files.each_ref().map(|(path, text)| (path.as_str(), *text)));
        };
        module("mc0/dimm0", "Registered-DDR4\n", "16384\n");
        module("mc0/dimm1", "Registered-DDR4\n", "0\n");
        module("mc1/dimm4", "Registered-DDR4\n", "16384\n");
        module("mc1/rank4", "Registered-DDR4\n", "16384\n");
        module("mc1/dimm2", "Non-volatile-RAM\n", "131072\n");
        module("mc1/csrow0", "Registered-DDR4\n", "16384\n");
        let expected = [
            ("Non-volatile-RAM", MemoryModules { count: 1, capacity_bytes: 128 << 30 }),
            ("Registered-DDR4", MemoryModules { count: 2, capacity_bytes: 32 << 30 }),
        ];
        assert_eq!(read(sys.path()), expected.map(|(kind, it)| (kind.to_owned(), it)).into());
        assert!(read(&sys.path().join("nothing")).is_empty());
    }
}
