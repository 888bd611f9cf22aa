//! Packages of other Debian suites.
//!
//! They come from the mirror that the machine's apt uses. Sources, lists and cache are separate,
//! so the machine's own apt is not changed. Apt verifies the signature of each suite's index; the
//! package is then checked against the SHA-256 in that index.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{cmd, project};

/// The keys of all Debian suites, from the package `debian-archive-keyring`.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Debian's archives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Archive {
    Main,
    Security,
}

/// A suite and its archive.
pub(crate) type Suite = (Archive, &'static str);

/// Apt, limited to some suites.
pub(crate) struct Apt {
    directory: PathBuf,
    /// Debian's name of the architecture of the packages.
    arch: &'static str,
}

impl Apt {
    /// Fetches the indices of these suites, for `x86_64`.
    pub(crate) fn open(suites: &BTreeSet<Suite>) -> Result<Self> {
        Self::open_for("amd64", suites)
    }

    /// The same for an architecture.
    pub(crate) fn open_for(arch: &'static str, suites: &BTreeSet<Suite>) -> Result<Self> {
        for program in ["apt-get", "apt-cache", "dpkg-deb"] {
            if cmd::find(program).is_none() {
                bail!("there is no {program} to get Debian packages with");
            }
        }
        ensure!(
            Path::new(KEYRING).is_file(),
            "no {KEYRING}: install the package debian-archive-keyring"
        );
        let apt = Self { directory: project::target().join("apt"), arch };
        for directory in ["lists/partial", "cache/archives/partial"] {
            let directory = apt.directory.join(directory);
            fs::create_dir_all(&directory).with_context(|| format!("cannot make {directory:?}"))?;
        }
        let sources = sources(&mirrors()?, arch, suites)?;
        let file = apt.sources_list();
        fs::write(&file, sources).with_context(|| format!("cannot write {file:?}"))?;
        println!("Fetching the indices of {} Debian suites", suites.len());
        cmd::run(apt.call("apt-get").args(["--quiet=2", "update"]))
            .context("cannot fetch the indices of Debian's suites")?;
        Ok(apt)
    }

    /// The suites, in the format of apt's `sources.list`.
    pub(crate) fn sources_list(&self) -> PathBuf {
        self.directory.join("sources.list")
    }

    /// The package with the highest version in its name, among names with this start and end.
    pub(crate) fn newest(&self, start: &str, end: &str) -> Result<String> {
        let pattern = format!("^{}", start.replace('.', "\\."));
        let found =
            cmd::capture(self.call("apt-cache").args(["search", "--names-only", &pattern]))?;
        let names = found.lines().filter_map(|line| line.split(' ').next());
        newest(names, start, end)
            .with_context(|| format!("this machine's mirror has no package {start}…{end}"))
    }

    /// Fetches a package, checks it and unpacks it into a directory. An error if its version does
    /// not start with `version`.
    pub(crate) fn unpack(&self, package: &str, version: &str, into: &Path) -> Result<()> {
        let about =
            cmd::capture(self.call("apt-cache").args(["show", "--no-all-versions", package]))
                .with_context(|| format!("this machine's mirror has no package {package}"))?;
        let found = field(&about, "Version").context("a package without a version")?;
        ensure!(found.starts_with(version), "{package} is {found} and not {version}…");
        let sum = field(&about, "SHA256").context("a package without a checksum")?;

        let packages = self.directory.join("packages");
        fs::create_dir_all(&packages).with_context(|| format!("cannot make {packages:?}"))?;
        println!("Fetching {package} {found}");
        let exact = format!("{package}={found}");
        let mut download = self.call("apt-get");
        download.args(["--quiet=2", "download", &exact]).current_dir(&packages);
        cmd::run(&mut download).with_context(|| format!("cannot fetch {package}"))?;

        let file = only_file(&packages)?;
        check_sum(&file, sum)?;
        fs::create_dir_all(into).with_context(|| format!("cannot make {into:?}"))?;
        cmd::run(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(into))?;
        fs::remove_file(&file).with_context(|| format!("cannot remove {file:?}"))
    }

    /// An apt command that knows these suites only.
    fn call(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let directory = self.directory.display();
        for option in [
            format!("Dir::Etc::SourceList={directory}/sources.list"),
            "Dir::Etc::SourceParts=-".to_owned(),
            format!("Dir::State::Lists={directory}/lists"),
            format!("Dir::Cache={directory}/cache"),
            // What is installed here says nothing about another architecture.
            "Dir::State::Status=/dev/null".to_owned(),
            format!("APT::Architecture={}", self.arch),
            format!("APT::Architectures::={}", self.arch),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            // Apt's default, the user `_apt`, cannot write here.
            "APT::Sandbox::User=root".to_owned(),
            "APT::Update::Error-Mode=any".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }
}

/// The addresses of the archives that the machine's apt uses.
struct Mirrors {
    main: String,
    security: Option<String>,
}

fn mirrors() -> Result<Mirrors> {
    let mut list = Command::new("apt-get");
    let found = cmd::capture(list.args(["indextargets", "--format", "$(REPO_URI) $(LABEL)"]))?;
    parse_mirrors(&found).context("the machine's apt uses no mirror of Debian")
}

/// By label, or by path while apt has no indices and so no labels.
fn parse_mirrors(targets: &str) -> Option<Mirrors> {
    let find = |label: &str, path: &str| {
        targets.lines().find_map(|line| {
            let (uri, found) = line.split_once(' ')?;
            let uri = uri.trim_end_matches('/');
            (found == label || uri.ends_with(path)).then(|| uri.to_owned())
        })
    };
    let main = find("Debian", "/debian")?;
    Some(Mirrors { main, security: find("Debian-Security", "/debian-security") })
}

fn sources(mirrors: &Mirrors, arch: &str, suites: &BTreeSet<Suite>) -> Result<String> {
    let mut text = String::new();
    for (archive, suite) in suites {
        let uri = match archive {
            Archive::Main => &mirrors.main,
            Archive::Security => mirrors.security.as_ref().with_context(|| {
                format!("the machine's apt uses no mirror of Debian's security archive for {suite}")
            })?,
        };
        text += &format!("deb [arch={arch} signed-by={KEYRING}] {uri} {suite} main\n");
    }
    Ok(text)
}

fn newest<'a>(names: impl Iterator<Item = &'a str>, start: &str, end: &str) -> Option<String> {
    let numbers = |name: &str| -> Option<Vec<u64>> {
        let version = name.strip_prefix(start)?.strip_suffix(end)?;
        let parts = version.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
        version.starts_with(|c: char| c.is_ascii_digit()).then_some(())?;
        parts.map(|part| part.parse().ok()).collect()
    };
    let all = names.filter_map(|name| Some((numbers(name)?, name)));
    all.max().map(|(_, name)| name.to_owned())
}

fn field<'a>(about: &'a str, name: &str) -> Option<&'a str> {
    about.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn only_file(directory: &Path) -> Result<PathBuf> {
    let mut files = fs::read_dir(directory)?;
    let file = files.next().with_context(|| format!("{directory:?} is empty"))??;
    // An interrupted run may have left another package.
    if files.next().is_some() {
        fs::remove_dir_all(directory)?;
        bail!("{directory:?} held more than one package and is removed; please try again");
    }
    Ok(file.path())
}

fn check_sum(file: &Path, expected: &str) -> Result<()> {
    let said = cmd::capture(Command::new("sha256sum").arg("--binary").arg(file))?;
    let sum = said.split(' ').next().unwrap_or_default();
    if sum != expected {
        fs::remove_file(file).with_context(|| format!("cannot remove {file:?}"))?;
        bail!("{file:?} has the SHA-256 {sum}; the index says {expected}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_package_is_found_by_numbers_and_not_by_letters() {
        let names = [
            "linux-image-6.12.95+deb12-cloud-amd64",
            "linux-image-6.12.107+deb12-cloud-amd64-unsigned",
            "linux-image-6.12.100+deb12-cloud-amd64",
            "linux-image-6.12-cloud-amd64",
        ];
        let found = newest(names.into_iter(), "linux-image-6.12.", "+deb12-cloud-amd64");
        assert_eq!(found.as_deref(), Some("linux-image-6.12.100+deb12-cloud-amd64"));
        assert_eq!(newest(names.into_iter(), "linux-image-5.10.0-", "-cloud-amd64"), None);
    }

    #[test]
    fn mirrors_are_found_by_label_or_by_path() {
        let fresh = "http://mirror.test/pub/debian/ \nhttp://mirror.test/debian-security/ \n";
        let found = parse_mirrors(fresh).unwrap();
        assert_eq!(found.main, "http://mirror.test/pub/debian");
        assert_eq!(found.security.as_deref(), Some("http://mirror.test/debian-security"));
        let labelled = "http://other.test/x/ \nhttp://mirror.test/a/ Debian\n";
        assert_eq!(parse_mirrors(labelled).unwrap().main, "http://mirror.test/a");
        assert!(parse_mirrors("http://mirror.test/ubuntu/ Ubuntu\n").is_none());
    }
}
