//! Pressure from the files of a cgroup, or of the host as a whole.

use std::{io, path::Path};

use nix::errno::Errno;
use tare_parsers::pressure::{Pressure, Pressures, Stall, parse_pressure};

use crate::{
    cgroup::{Hierarchies, KeptFile, ReadError, below},
    families::{
        readers::{CgroupReader, ReadContext},
        walked::{Found, WalkLayout},
    },
    kernel::walk,
};

/// The open pressure files of one cgroup or of the host.
#[derive(Debug)]
pub struct PressureFiles {
    cpu: Option<KeptFile>,
    memory: Option<KeptFile>,
    io: Option<KeptFile>,
}

impl CgroupReader for PressureFiles {
    type Reading = Pressures;

    fn is_known(reading: &Self::Reading) -> bool {
        *reading != Pressures::default()
    }

    /// They are in the unified hierarchy whichever hierarchy the controllers are in, since Linux
    /// 4.20, unless the kernel was started with `psi=0`.
    fn open(hierarchies: &Hierarchies, path: &str) -> Result<Option<Self>, ReadError> {
        let Some(root) = hierarchies.unified.as_deref() else { return Ok(None) };
        let directory = below(root, path);
        let open = |name| open(&directory.join(name));
        Self::of(["cpu.pressure", "memory.pressure", "io.pressure"].map(open))
    }

    fn is_due(context: &ReadContext<'_>) -> bool {
        context.due.pressure
    }

    fn read(
        &mut self,
        context: &mut ReadContext<'_>,
        latest: &mut Pressures,
    ) -> Result<(), ReadError> {
        *latest = Pressures::default();
        *latest = self.read_all(context.buffer)?;
        Ok(())
    }

    fn files(&self) -> impl Iterator<Item = &KeptFile> {
        [&self.cpu, &self.memory, &self.io].into_iter().flatten()
    }

    fn opens_on_demand(layout: &WalkLayout) -> bool {
        layout.pressure.is_walked()
    }

    /// A record has totals as the kernel added them up last: every 2 s while tasks run or wait
    /// (`kernel/sched/psi.c`, `psi_avgs_work`). Without a section in the record the kernel does not
    /// account for pressure here, and the files say nothing either.
    fn from_record(
        _: Option<&mut Self>,
        context: &mut ReadContext<'_>,
        latest: &mut Pressures,
    ) -> Result<bool, ReadError> {
        let Some(walked) = &context.walked else { return Ok(false) };
        if !walked.records.layout().pressure.is_walked() {
            return Ok(false);
        }
        *latest = match walked.records.unified() {
            Found::NotWalked => return Ok(false),
            Found::Absent => Pressures::default(),
            Found::Record(record) => match record.pressures() {
                Some(found) if has_averages(&found) => {
                    context.is_fading = is_fading(&found);
                    Pressures {
                        cpu: Some(found.cpu.into()),
                        memory: Some(found.memory.into()),
                        io: Some(found.io.into()),
                    }
                }
                Some(_) => return Ok(false),
                None => Pressures::default(),
            },
        };
        Ok(true)
    }
}

impl PressureFiles {
    /// Opens those of the host as a whole, which a `/proc` has; `None` if there are none. One that
    /// cannot be opened is unknown, and the others are read.
    pub fn open_host(proc_root: &Path) -> Option<Self> {
        let open = |name| Ok(open(&proc_root.join("pressure").join(name)).ok().flatten());
        Self::of(["cpu", "memory", "io"].map(open)).ok().flatten()
    }

    /// Reads all of them.
    ///
    /// # Errors
    ///
    /// [`ReadError::Vanished`] when the cgroup was removed.
    pub fn read_all(&self, buffer: &mut Vec<u8>) -> Result<Pressures, ReadError> {
        Ok(Pressures {
            cpu: read(self.cpu.as_ref(), buffer)?,
            memory: read(self.memory.as_ref(), buffer)?,
            io: read(self.io.as_ref(), buffer)?,
        })
    }

    fn of(
        [cpu, memory, io]: [Result<Option<KeptFile>, ReadError>; 3],
    ) -> Result<Option<Self>, ReadError> {
        let files = Self { cpu: cpu?, memory: memory?, io: io? };
        let any = files.files().next().is_some();
        Ok(any.then_some(files))
    }
}

/// Whether the clock of pressure could be read.
fn has_averages(found: &walk::Pressures) -> bool {
    found.cpu.some.averages.is_some()
}

/// Whether an average is above 0: it will fade, although its record stays the same.
fn is_fading(found: &walk::Pressures) -> bool {
    let all = [found.cpu, found.memory, found.io].map(|one| [one.some, one.full]);
    all.iter().flatten().any(|stall| stall.averages != Some([0; 3]))
}

impl From<walk::Pressure> for Pressure {
    fn from(found: walk::Pressure) -> Self {
        let stall = |stall: walk::Stall| {
            let averages = stall.averages.map(|all| all.map(|average| average.try_into().ok()));
            let [avg10, avg60, avg300] = averages.unwrap_or_default();
            let total_microseconds = Some(stall.total_microseconds);
            Stall { total_microseconds, avg10, avg60, avg300 }
        };
        Self { some: stall(found.some), full: stall(found.full) }
    }
}

fn open(path: &Path) -> Result<Option<KeptFile>, ReadError> {
    known(KeptFile::open(path)).map(Option::flatten)
}

fn read(file: Option<&KeptFile>, buffer: &mut Vec<u8>) -> Result<Option<Pressure>, ReadError> {
    let Some(file) = file else { return Ok(None) };
    known(file.read(buffer).map(parse_pressure))
}

/// `None` where pressure is not accounted: on the whole host (`psi=0`) or in this cgroup
/// (`cgroup.pressure`).
fn known<T>(result: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(ReadError::Io { source, .. }) if is_unsupported(&source) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32)
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Instant};

    use super::*;
    use crate::cgroup::find_hierarchies;

    #[test]
    fn a_resource_without_a_file_is_unknown() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("abc")).unwrap();
        fs::write(tree.path().join("cgroup.controllers"), "").unwrap();
        fs::write(tree.path().join("abc/io.pressure"), "some total=1\n").unwrap();
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
        let mut files = PressureFiles::open(&hierarchies, "/abc").unwrap().unwrap();
        let (mut buffer, mut pressures) = (Vec::new(), Pressures::default());
        files.read(&mut ReadContext::new(Instant::now(), &mut buffer), &mut pressures).unwrap();
        assert_eq!((pressures.cpu, pressures.memory), (None, None));
        assert_eq!(pressures.io.unwrap().some.total_microseconds, Some(1));
        assert!(PressureFiles::open(&hierarchies, "/gone").unwrap().is_none());
    }
}
