//! The committed counts, one per line, and the comparison with new ones.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    fs,
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{cmd, project};

/// Its path in the project.
pub(super) const BASELINE: &str = "tests/instructions/baseline.txt";

/// Maximum excess over the baseline, in percent.
const WORSE_PERCENT_MAX: f64 = 5.0;

/// Counts by case.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Baseline {
    /// The machine and the tools that they were counted with.
    pub(super) machine: String,
    counts: BTreeMap<String, u64>,
}

/// A count compared with the baseline.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Good { before: u64, now: u64 },
    Worse { before: u64, now: u64 },
    New { now: u64 },
}

impl Baseline {
    pub(super) fn new(machine: String) -> Self {
        Self { machine, counts: BTreeMap::new() }
    }

    pub(super) fn read() -> Result<Self> {
        let path = path();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path:?}"))?;
        Self::parse(&text).with_context(|| format!("cannot understand {path:?}"))
    }

    pub(super) fn write(&self) -> Result<()> {
        let path = path();
        fs::write(&path, self.to_string()).with_context(|| format!("cannot write {path:?}"))
    }

    pub(super) fn set(&mut self, case: &str, count: u64) {
        self.counts.insert(case.to_owned(), count);
    }

    pub(super) fn verdict(&self, case: &str, now: u64) -> Verdict {
        match self.counts.get(case).copied() {
            None => Verdict::New { now },
            Some(before) if percent(before, now) > WORSE_PERCENT_MAX => {
                Verdict::Worse { before, now }
            }
            Some(before) => Verdict::Good { before, now },
        }
    }

    /// Cases of the baseline that are not among these.
    pub(super) fn others<'a>(&'a self, cases: &'a [String]) -> impl Iterator<Item = &'a String> {
        self.counts.keys().filter(|case| !cases.contains(case))
    }

    fn parse(text: &str) -> Result<Self> {
        let (first, rest) = text.split_once('\n').context("it is empty")?;
        let machine = first.strip_prefix("# ").context("the first line is no comment")?;
        let mut baseline = Self::new(machine.to_owned());
        for line in rest.lines() {
            let count = line.split_once(' ').and_then(|(case, count)| {
                baseline.set(case, count.trim_start().parse().ok()?);
                Some(())
            });
            count.with_context(|| format!("no name and count: {line:?}"))?;
        }
        Ok(baseline)
    }
}

impl Display for Baseline {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "# {}", self.machine)?;
        self.counts.iter().try_for_each(|(case, count)| writeln!(f, "{case:<32} {count:>10}"))
    }
}

impl Verdict {
    pub(super) fn is_good(&self) -> bool {
        matches!(self, Self::Good { .. })
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (before, now) = match self {
            Self::New { now } => {
                return write!(f, "{:>12} {now:>12} FAILED: not in the baseline", "");
            }
            Self::Good { before, now } | Self::Worse { before, now } => (*before, *now),
        };
        write!(f, "{before:>12} {now:>12} {:>+8.2}", percent(before, now))?;
        if self.is_good() { Ok(()) } else { f.write_str(" FAILED") }
    }
}

/// The excess of a count over another one, in percent.
pub(super) fn percent(before: u64, now: u64) -> f64 {
    (now as f64 - before as f64) / before.max(1) as f64 * 100.0
}

/// What counts depend on besides Tare: the architecture, the compiler, and valgrind, which decides
/// what CPU features programs see.
pub(super) fn machine() -> Result<String> {
    let rustc = cmd::capture(Command::new("rustc").arg("--version").current_dir(project::root()))?;
    let valgrind = cmd::capture(Command::new("valgrind").arg("--version"))?;
    Ok([std::env::consts::ARCH, rustc.trim(), valgrind.trim()].join(", "))
}

fn path() -> PathBuf {
    project::root().join(BASELINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline() -> Baseline {
        let mut baseline = Baseline::new("a machine".to_owned());
        baseline.set("parse/one", 1000);
        baseline.set("sample/a-hundred", 2_000_000);
        baseline
    }

    #[test]
    fn a_baseline_is_read_back() {
        assert_eq!(Baseline::parse(&baseline().to_string()).unwrap(), baseline());
        for text in ["", "parse/one 1\n", "# here\nparse/one\n", "# here\nparse/one many\n"] {
            assert!(Baseline::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_a_known_case_near_its_count_passes() {
        let is_good = |case, now| baseline().verdict(case, now).is_good();
        assert!(is_good("parse/one", 1050) && is_good("parse/one", 1));
        assert!(!is_good("parse/one", 1051) && !is_good("parse/two", 1));
        let worse = baseline().verdict("parse/one", 1100).to_string();
        assert!(worse.ends_with("+10.00 FAILED"), "{worse}");
    }

    #[test]
    fn cases_that_only_the_baseline_has_are_listed() {
        let cases = ["parse/one".to_owned(), "parse/two".to_owned()];
        assert_eq!(baseline().others(&cases).collect::<Vec<_>>(), ["sample/a-hundred"]);
    }
}
