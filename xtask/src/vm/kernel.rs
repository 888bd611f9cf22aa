//! The kernels: Debian packages, unpacked once under `target/vm/kernels`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::{
    apt::{Apt, Archive, Suite},
    dist::Arch,
    project,
};

/// A kernel series that Tare supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Series {
    /// Debian 11
    #[value(name = "5.10")]
    V5_10,
    /// Debian 12
    #[value(name = "6.1")]
    V6_1,
    /// Debian 12 with backports
    #[value(name = "6.12")]
    V6_12,
    /// Debian 13 with older backports
    #[value(name = "6.19")]
    V6_19,
    /// Debian 13 with backports
    #[value(name = "7.2")]
    V7_2,
    /// Debian 13 with newer backports
    #[value(name = "7.3")]
    V7_3,
}

/// The packages of a series.
struct Origin {
    /// All suites that may hold the newest one.
    suites: &'static [Suite],
    /// First parts of package names; the first is the package with the kernel.
    kinds: &'static [&'static str],
    /// Start and end of the release; a version is between them, and the architecture follows.
    release: (&'static str, &'static str),
    /// Start of the packages' version.
    version: &'static str,
}

/// The kernels that Debian's releases have, whose behaviour the tests know.
pub(super) const RELEASED: [Series; 4] = [Series::V5_10, Series::V6_1, Series::V6_12, Series::V7_2];

impl Series {
    /// The name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V5_10 => "5.10",
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::V6_19 => "6.19",
            Self::V7_2 => "7.2",
            Self::V7_3 => "7.3",
        }
    }

    const fn origin(self) -> Origin {
        match self {
            Self::V5_10 => Origin {
                suites: &[(Archive::Main, "bullseye"), (Archive::Security, "bullseye-security")],
                kinds: &["linux-image"],
                release: ("5.10.0-", "-cloud-"),
                version: "5.10.",
            },
            Self::V6_1 => Origin {
                suites: &[(Archive::Main, "bookworm"), (Archive::Security, "bookworm-security")],
                kinds: &["linux-image"],
                release: ("6.1.0-", "-cloud-"),
                version: "6.1.",
            },
            Self::V6_12 => Origin {
                suites: &[
                    (Archive::Main, "bookworm-backports"),
                    (Archive::Security, "bookworm-security"),
                ],
                kinds: &["linux-image"],
                release: ("6.12.", "+deb12-cloud-"),
                version: "6.12.",
            },
            Self::V6_19 => Origin {
                suites: &[(Archive::Main, "trixie-backports")],
                kinds: &["linux-binary", "linux-modules"],
                release: ("6.19.", "+deb13-cloud-"),
                version: "6.19.",
            },
            Self::V7_2 => Origin {
                suites: &[(Archive::Main, "trixie-backports")],
                kinds: &["linux-binary", "linux-modules"],
                release: ("7.2.", "+deb13-cloud-"),
                version: "7.2.",
            },
            Self::V7_3 => Origin {
                suites: &[(Archive::Main, "trixie-backports")],
                kinds: &["linux-binary", "linux-modules"],
                release: ("7.3.", "+deb13-cloud-"),
                version: "7.3.",
            },
        }
    }
}

/// A kernel that is ready to boot.
pub(super) struct Kernel {
    pub(super) series: Series,
    pub(super) arch: Arch,
    /// The release, as in `uname -r`.
    pub(super) release: String,
    pub(super) image: PathBuf,
    /// Directory of its modules.
    pub(super) modules: PathBuf,
}

/// A static busybox: the rest of the machine's user space.
const BUSYBOX: &str = "busybox-static";
const BUSYBOX_SUITE: Suite = (Archive::Main, "bookworm");

/// All that a virtual machine needs from packages.
pub(super) struct Parts {
    /// In the requested order; an error if the package could not be fetched.
    pub(super) kernels: Vec<(Series, Result<Kernel>)>,
    pub(super) busybox: PathBuf,
}

/// Fetches what was not fetched before.
pub(super) fn ready(arch: Arch, wanted: &[Series]) -> Result<Parts> {
    let missing: Vec<Series> =
        wanted.iter().copied().filter(|series| kept(*series, arch).is_none()).collect();
    let mut apt = None;
    if !missing.is_empty() || kept_busybox(arch).is_none() {
        let suites = missing.iter().flat_map(|series| series.origin().suites).copied();
        let suites: BTreeSet<Suite> = suites.chain([BUSYBOX_SUITE]).collect();
        apt = Some(Apt::open_for(arch.debian(), &suites)?);
    }
    if let (None, Some(apt)) = (kept_busybox(arch), &apt) {
        apt.unpack(BUSYBOX, "1:", &busybox_directory(arch))?;
    }
    let kernel = |&series: &Series| (series, kernel(series, arch, apt.as_ref()));
    let kernels = wanted.iter().map(kernel).collect();
    let busybox = kept_busybox(arch).with_context(|| format!("no program in {BUSYBOX}"))?;
    Ok(Parts { kernels, busybox })
}

fn kernel(series: Series, arch: Arch, apt: Option<&Apt>) -> Result<Kernel> {
    if let Some(kernel) = kept(series, arch) {
        return Ok(kernel);
    }
    let apt = apt.context("no apt to fetch it with")?;
    let Origin { kinds, release: (start, end), version, .. } = series.origin();
    let first = kinds.first().context("no package to look for")?;
    let end = format!("{end}{}", arch.debian());
    let newest = apt.newest(&format!("{first}-{start}"), &end)?;
    let release = newest.replacen(&format!("{first}-"), "", 1);
    let directory = directory(series, arch);
    if directory.exists() {
        // From an interrupted run.
        fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {directory:?}"))?;
    }
    for kind in kinds {
        apt.unpack(&format!("{kind}-{release}"), version, &directory.join("root"))?;
    }
    let marker = marker(series, arch);
    fs::write(&marker, release).with_context(|| format!("cannot write {marker:?}"))?;
    kept(series, arch).with_context(|| format!("no kernel or no modules in {directory:?}"))
}

/// The kernel that an earlier run unpacked. The marker is written last, so it is complete.
fn kept(series: Series, arch: Arch) -> Option<Kernel> {
    let release = fs::read_to_string(marker(series, arch)).ok()?;
    let root = directory(series, arch).join("root");
    let first = |choices: [PathBuf; 2]| choices.into_iter().find(|path| path.exists());
    let modules = first(["lib/modules", "usr/lib/modules"].map(|at| root.join(at).join(&release)))?;
    let image = first([root.join(format!("boot/vmlinuz-{release}")), modules.join("vmlinuz")])?;
    Some(Kernel { series, arch, release, image, modules })
}

fn directory(series: Series, arch: Arch) -> PathBuf {
    project::target().join("vm/kernels").join(arch.suffixed(series.name()))
}

fn marker(series: Series, arch: Arch) -> PathBuf {
    directory(series, arch).join("release")
}

fn busybox_directory(arch: Arch) -> PathBuf {
    project::target().join("vm").join(arch.suffixed("busybox"))
}

fn kept_busybox(arch: Arch) -> Option<PathBuf> {
    let places = ["bin/busybox", "usr/bin/busybox"];
    places.iter().map(|at| busybox_directory(arch).join(at)).find(|path: &PathBuf| is_file(path))
}

fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file())
}
