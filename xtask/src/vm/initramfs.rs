//! The user space of the virtual machine: one cpio archive
//! (`Documentation/driver-api/early-userspace`), not compressed, because the emulated CPU unpacks
//! slowly.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use cpio::{
    NewcBuilder,
    newc::{self, ModeFileType},
};

use super::{
    kernel::Kernel,
    modules::{Module, load_order},
};

/// What an archive holds.
pub(super) struct Content {
    /// The script that is process 1.
    pub(super) init: &'static [u8],
    /// Kernel modules; those that they need come along.
    pub(super) modules: &'static [&'static str],
    /// Names of programs and other files, with the directory, and where they are.
    pub(super) files: Vec<(&'static str, PathBuf)>,
}

/// Writes the archive for a kernel; `args` are for the test program.
pub(super) fn write(
    kernel: &Kernel,
    content: &Content,
    args: &[String],
    file: &Path,
) -> Result<()> {
    let output = File::create(file).with_context(|| format!("cannot make {file:?}"))?;
    let mut archive = Archive(BufWriter::new(output));
    for name in ["bin", "modules", "package", "proc", "sys", "dev", "tmp", "data"] {
        archive.add(name, ModeFileType::Directory, 0o755, &[])?;
    }
    archive.add("init", ModeFileType::Regular, 0o755, content.init)?;
    for (name, from) in &content.files {
        let contents = fs::read(from).with_context(|| format!("cannot read {from:?}"))?;
        archive.add(name, ModeFileType::Regular, 0o755, &contents)?;
    }
    let modules = load_order(kernel, content.modules)?;
    let names: Vec<&str> = modules.iter().map(|module| module.name.as_str()).collect();
    archive.add("modules/order", ModeFileType::Regular, 0o644, names.join("\n").as_bytes())?;
    for Module { name, contents } in &modules {
        archive.add(&format!("modules/{name}.ko"), ModeFileType::Regular, 0o644, contents)?;
    }
    let lines: String = args.iter().map(|arg| format!("{arg}\n")).collect();
    archive.add("arguments", ModeFileType::Regular, 0o644, lines.as_bytes())?;
    archive.finish().with_context(|| format!("cannot write {file:?}"))
}

struct Archive(BufWriter<File>);

impl Archive {
    fn add(&mut self, name: &str, kind: ModeFileType, mode: u32, contents: &[u8]) -> Result<()> {
        let size = u32::try_from(contents.len()).with_context(|| format!("{name} is too large"))?;
        let entry = NewcBuilder::new(name).mode(mode).set_mode_file_type(kind);
        let mut entry = entry.write(&mut self.0, size);
        entry.write_all(contents).with_context(|| format!("cannot write {name}"))?;
        entry.finish().with_context(|| format!("cannot write {name}"))?;
        Ok(())
    }

    fn finish(self) -> Result<()> {
        newc::trailer(self.0)?.flush()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use cpio::NewcReader;

    use super::*;
    use crate::project;

    #[test]
    fn entries_have_types_permissions_and_contents() {
        let file = project::target().join("initramfs-of-a-test");
        let mut archive = Archive(BufWriter::new(File::create(&file).unwrap()));
        archive.add("bin", ModeFileType::Directory, 0o755, &[]).unwrap();
        archive.add("init", ModeFileType::Regular, 0o755, b"#!/bin/sh\n").unwrap();
        archive.finish().unwrap();
        let bytes = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();

        let directory = NewcReader::new(&bytes[..]).unwrap();
        assert_eq!((directory.entry().name(), directory.entry().mode()), ("bin", 0o040_755));
        let mut init = NewcReader::new(directory.finish().unwrap()).unwrap();
        assert_eq!((init.entry().name(), init.entry().mode()), ("init", 0o100_755));
        let mut contents = String::new();
        init.read_to_string(&mut contents).unwrap();
        assert_eq!(contents, "#!/bin/sh\n");
        assert!(NewcReader::new(init.finish().unwrap()).unwrap().entry().is_trailer());
    }
}
