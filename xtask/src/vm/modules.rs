//! Kernel modules and their dependencies, uncompressed, in an order for plain `insmod`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use object::{Object as _, ObjectSection as _};

use super::kernel::Kernel;

/// A module, uncompressed.
pub(super) struct Module {
    pub(super) name: String,
    pub(super) contents: Vec<u8>,
}

/// These modules and their dependencies in load order, without what is built into the kernel.
pub(super) fn load_order(kernel: &Kernel, wanted: &[&str]) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    collect(&kernel.modules.join("kernel"), &mut files)?;
    // Newer packages have no such list; what they have no file for is then built in.
    let builtin = fs::read_to_string(kernel.modules.join("modules.builtin")).ok();
    let builtin =
        builtin.map(|text| text.lines().filter_map(|line| module_name(Path::new(line))).collect());
    let mut order = Order { files, builtin, done: Vec::new() };
    for name in wanted {
        order.add(&canonical(name)).with_context(|| format!("module {name}"))?;
    }
    Ok(order.done)
}

struct Order {
    files: BTreeMap<String, PathBuf>,
    builtin: Option<Vec<String>>,
    done: Vec<Module>,
}

impl Order {
    fn add(&mut self, name: &str) -> Result<()> {
        let builtin = match &self.builtin {
            Some(builtin) => builtin.iter().any(|known| known == name),
            None => !self.files.contains_key(name),
        };
        if builtin || self.done.iter().any(|known| known.name == name) {
            return Ok(());
        }
        let file = self.files.get(name).with_context(|| format!("there is no module {name}"))?;
        let contents = decompress(file)?;
        for needed in dependencies(modinfo(&contents).with_context(|| format!("{file:?}"))?) {
            self.add(&needed)?;
        }
        self.done.push(Module { name: name.to_owned(), contents });
        Ok(())
    }
}

fn collect(directory: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot list {directory:?}"))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else if let Some(name) = module_name(&entry.path()) {
            files.insert(name, entry.path());
        }
    }
    Ok(())
}

/// `virtio_blk` for `virtio-blk.ko.xz`.
fn module_name(file: &Path) -> Option<String> {
    let (name, _) = file.file_name()?.to_str()?.split_once(".ko")?;
    Some(canonical(name))
}

fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// The section `.modinfo`: strings `key=value`, each ended by a zero byte.
fn modinfo(module: &[u8]) -> Result<&[u8]> {
    let module = object::File::parse(module)?;
    let section = module.section_by_name(".modinfo").context("no section .modinfo")?;
    Ok(section.data()?)
}

/// The modules that a module needs.
fn dependencies(modinfo: &[u8]) -> Vec<String> {
    const TAG: &[u8] = b"depends=";
    let strings = modinfo.split(|byte| *byte == 0);
    let found = strings.filter_map(|string| string.strip_prefix(TAG)).next_back();
    let names = String::from_utf8_lossy(found.unwrap_or_default()).into_owned();
    names.split(',').filter(|name| !name.is_empty()).map(canonical).collect()
}

fn decompress(file: &Path) -> Result<Vec<u8>> {
    let program = match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("ko") => return fs::read(file).with_context(|| format!("cannot read {file:?}")),
        _ => bail!("{file:?} has an unknown compression"),
    };
    let mut command = Command::new(program);
    command.args(["--decompress", "--stdout"]).arg(file).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("failed to start {command:?}"))?;
    ensure!(output.status.success(), "{}: {command:?}", output.status);
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_modules_and_dependencies_have_one_spelling() {
        let file = Path::new("kernel/drivers/md/dm-mod.ko.xz");
        assert_eq!(module_name(file).as_deref(), Some("dm_mod"));
        assert_eq!(module_name(Path::new("modules.order")), None);
        let contents = b"\0license=GPL\0depends=virtio-ring,virtio\0retpoline=Y\0";
        assert_eq!(dependencies(contents), ["virtio_ring", "virtio"]);
        assert!(dependencies(b"\0depends=\0").is_empty());
    }
}
