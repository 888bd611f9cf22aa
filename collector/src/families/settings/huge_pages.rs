//! Huge pages of a cgroup (the controller `hugetlb`).

use serde::{Deserialize, Serialize};
use std::{cell::RefCell, fs, path::Path, sync::Arc};

use tare_parsers::text::{named_number, number};

use crate::cgroup::{Directory, Hierarchies, ReadError, Version, read_once};

/// The most sizes of huge pages that are read; no architecture has more than a few.
const MAX_SIZES: usize = 16;

/// Huge pages of one size. `None` is unknown, and for a limit also none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct HugePages {
    /// The size of a page as the kernel writes it, such as `2MB`.
    pub size: Arc<str>,
    /// In use now.
    pub usage_bytes: Option<u64>,
    /// The most that may be used.
    pub limit_bytes: Option<u64>,
    /// The most that was in use (v1).
    pub peak_bytes: Option<u64>,
    /// How often the limit refused a page.
    pub limit_hits: Option<u64>,
}

/// The files of one cgroup with its huge pages.
#[derive(Debug)]
pub(super) struct HugePagesFiles {
    version: Version,
    directory: Directory,
    /// `None` until the first reading.
    sizes: Option<Arc<[Files]>>,
}

/// The names of the files of one size; on v1 `hits` holds a number, on v2 a line `max N`.
#[derive(Debug, PartialEq)]
struct Files {
    size: Arc<str>,
    usage: String,
    limit: String,
    peak: Option<String>,
    hits: String,
}

thread_local! {
    /// The last sizes of this thread: all cgroups of a host have the same.
    static SIZES: RefCell<Arc<[Files]>> = RefCell::default();
}

impl HugePagesFiles {
    /// The files of the cgroup at a path such as `/docker/abc`; `None` without the controller.
    pub(super) fn new(hierarchies: &Hierarchies, path: &str) -> Option<Self> {
        let controller = hierarchies.controller("hugetlb")?;
        let directory = Directory::new(controller.root, path);
        Some(Self { version: controller.version, directory, sizes: None })
    }

    /// Reads all sizes into `out`, which keeps its memory.
    ///
    /// # Errors
    ///
    /// If a file is there and cannot be read; `out` may then lack numbers.
    pub(super) fn read_huge_pages(
        &mut self,
        buffer: &mut Vec<u8>,
        out: &mut Vec<HugePages>,
    ) -> Result<(), ReadError> {
        let Self { version, directory, sizes } = self;
        let find = || shared(directory.with("", |directory| find(*version, directory)));
        let sizes = sizes.get_or_insert_with(find);
        let mut read = |file: &str, parse: &dyn Fn(&[u8]) -> Option<u64>| {
            directory.with(file, |file| read(file, buffer, parse))
        };
        out.reserve_exact(sizes.len().saturating_sub(out.len()));
        out.resize_with(sizes.len(), HugePages::default);
        for (files, out) in sizes.iter().zip(out) {
            out.size.clone_from(&files.size);
            out.usage_bytes = read(&files.usage, &number)?;
            out.limit_bytes = read(&files.limit, &number)?.filter(|l| *l < NO_LIMIT);
            out.peak_bytes = match &files.peak {
                Some(peak) => read(peak, &number)?,
                None => None,
            };
            out.limit_hits = read(&files.hits, &|text| match version {
                Version::V1 => number(text),
                Version::V2 => named_number(text, "max"),
            })?;
        }
        Ok(())
    }
}

/// The sizes that a cgroup has files for: none where the controller is not enabled.
fn find(version: Version, directory: &Path) -> Vec<Files> {
    let usage = match version {
        Version::V1 => ".usage_in_bytes",
        Version::V2 => ".current",
    };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut sizes: Vec<Files> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let size = name.to_str()?.strip_prefix("hugetlb.")?.strip_suffix(usage)?;
            // `rsvd` counts reservations, not use.
            (!size.contains('.')).then(|| Files::new(version, size))
        })
        .take(MAX_SIZES)
        .collect();
    sizes.sort_by(|one, other| one.size.cmp(&other.size));
    sizes
}

/// The same as those of the cgroup before, if they are.
fn shared(sizes: Vec<Files>) -> Arc<[Files]> {
    SIZES.with_borrow_mut(|known| {
        if **known != *sizes {
            *known = sizes.into();
        }
        Arc::clone(known)
    })
}

/// A v1 limit from here on is none: the greatest is `PAGE_COUNTER_MAX` in whole huge pages
/// (`mm/hugetlb_cgroup.c`, `hugetlb_cgroup_init`), and no huge page has more than 16 GiB.
const NO_LIMIT: u64 = i64::MAX as u64 & !((16 << 30) - 1);

impl Files {
    fn new(version: Version, size: &str) -> Self {
        let file = |name: &str| format!("hugetlb.{size}.{name}");
        let (usage, limit, peak, hits) = match version {
            Version::V1 => {
                ("usage_in_bytes", "limit_in_bytes", Some("max_usage_in_bytes"), "failcnt")
            }
            Version::V2 => ("current", "max", None, "events"),
        };
        Self {
            size: size.into(),
            usage: file(usage),
            limit: file(limit),
            peak: peak.map(file),
            hits: file(hits),
        }
    }
}

fn read(
    path: &Path,
    buffer: &mut Vec<u8>,
    parse: impl Fn(&[u8]) -> Option<u64>,
) -> Result<Option<u64>, ReadError> {
    Ok(read_once(path, buffer)?.and_then(|text| parse(text.trim_ascii())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::find_hierarchies;

    fn read(root: &Path) -> Vec<HugePages> {
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(root)).unwrap();
        let mut files = HugePagesFiles::new(&hierarchies, "/abc").unwrap();
        let mut pages = vec![HugePages::default(); 3];
        files.read_huge_pages(&mut Vec::new(), &mut pages).unwrap();
        pages
    }

    fn write(directory: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(directory).unwrap();
        for (name, text) in files {
            fs::write(directory.join(format!("hugetlb.{name}")), text).unwrap();
        }
    }

    #[test]
    fn v2_has_every_size() {
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join("cgroup.controllers"), "hugetlb\n").unwrap();
        assert_eq!(read(tree.path()), []);
        let files = [
            ("2MB.current", "4194304\n"),
            ("2MB.rsvd.current", "8388608\n"),
            ("2MB.max", "max\n"),
            ("2MB.events", "max 3\n"),
            ("1GB.current", "0\n"),
            ("1GB.max", "1073741824\n"),
        ];
        write(&tree.path().join("abc"), &files);
        let large = HugePages {
            size: "1GB".into(),
            usage_bytes: Some(0),
            limit_bytes: Some(1 << 30),
            ..HugePages::default()
        };
        let small = HugePages {
            size: "2MB".into(),
            usage_bytes: Some(4 << 20),
            limit_hits: Some(3),
            ..HugePages::default()
        };
        assert_eq!(read(tree.path()), [large, small]);
    }

    #[test]
    fn v1_has_the_peak_too() {
        let tree = tempfile::tempdir().unwrap();
        let files = [
            ("2MB.usage_in_bytes", "2097152\n"),
            ("2MB.limit_in_bytes", "9223372036852678656\n"),
            ("2MB.max_usage_in_bytes", "6291456\n"),
            ("2MB.failcnt", "5\n"),
        ];
        write(&tree.path().join("hugetlb/abc"), &files);
        let pages = HugePages {
            size: "2MB".into(),
            usage_bytes: Some(2 << 20),
            limit_bytes: None,
            peak_bytes: Some(6 << 20),
            limit_hits: Some(5),
        };
        assert_eq!(read(tree.path()), [pages]);
    }
}
