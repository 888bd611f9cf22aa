//! `cargo xtask bench micro`: instruction counts of pieces of Tare's work, by callgrind, compared
//! with a committed baseline. Unlike time, they do not depend on the machine's load.

mod baseline;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use self::baseline::{BASELINE, Baseline, Verdict};
use crate::{
    cmd,
    packages::{self, Needed},
    project,
    results::Tally,
};

const NEEDED: [Needed; 1] = [("valgrind", &["valgrind"])];

/// The package, and its program that does one piece of work.
const PROGRAM: &str = "tare-instructions";

/// Its function whose instructions are counted.
const MEASURED: &str = "tare_instructions::measured";

/// Maximum difference between two runs, in percent; hash seeds differ. Most cases stay within
/// 0.02, those that walk a tree within 2.
const REPEAT_PERCENT_MAX: f64 = 2.5;

/// The options.
#[derive(Args)]
pub(crate) struct Micro {
    /// Make these counts the baseline; each is counted twice, and both must agree
    #[arg(long)]
    bless: bool,
}

impl Micro {
    /// Counts; an error if a count is too high.
    pub(crate) fn run(self) -> Result<()> {
        if self.bless {
            return bless();
        }
        let tally = run()?;
        ensure!(tally.failed == 0, "{} of {}", tally.failed, tally.failed + tally.passed);
        Ok(())
    }
}

/// Counts and prints all cases. A case fails if it is not in the baseline, or well above it.
pub(crate) fn run() -> Result<Tally> {
    let counter = Counter::ready()?;
    let baseline = Baseline::read()?;
    let here = baseline::machine()?;
    if baseline.machine != here {
        println!("the baseline was counted elsewhere, which may explain some percent:");
        println!("  {}\n  here: {here}", baseline.machine);
    }
    let mut tally = Tally::default();
    println!("{:<32} {:>12} {:>12} {:>8}", "instructions", "baseline", "now", "%");
    for case in &counter.cases {
        let mut verdict = baseline.verdict(case, counter.count(case)?);
        if let Verdict::Worse { .. } = verdict {
            // If the machine stalls, a sample reads files that would not be due yet.
            verdict = baseline.verdict(case, counter.count(case)?);
        }
        println!("{case:<32} {verdict}");
        tally.add(if verdict.is_good() { Tally::one_passed() } else { Tally::one_failed() });
    }
    for gone in baseline.others(&counter.cases) {
        println!("{gone:<32} FAILED: only the baseline has it");
        tally.add(Tally::one_failed());
    }
    if tally.failed > 0 {
        println!("\nIf that is right: cargo xtask bench micro --bless, and commit {BASELINE}");
    }
    Ok(tally)
}

fn bless() -> Result<()> {
    let counter = Counter::ready()?;
    let mut baseline = Baseline::new(baseline::machine()?);
    for case in &counter.cases {
        let counts = [counter.count(case)?, counter.count(case)?];
        let percent = baseline::percent(counts[0], counts[1]);
        println!("{case:<32} {:>12} {:>12} {percent:>+8.3}", counts[0], counts[1]);
        if percent.abs() > REPEAT_PERCENT_MAX {
            bail!("two runs of {case} differ by {percent:.3} %: its work is not always the same");
        }
        baseline.set(case, counts[0]);
    }
    baseline.write()
}

/// Counts instructions.
struct Counter {
    program: PathBuf,
    /// Callgrind's output files, for `callgrind_annotate`.
    results: PathBuf,
    cases: Vec<String>,
}

impl Counter {
    /// Installs and builds what it needs.
    fn ready() -> Result<Self> {
        packages::install(&NEEDED)?;
        cmd::run(project::cargo().args(["build", "--release", "--package", PROGRAM]))?;
        let program = project::target().join("release").join(PROGRAM);
        let results = project::target().join("micro");
        fs::create_dir_all(&results).with_context(|| format!("cannot make {results:?}"))?;
        let cases: Vec<String> =
            cmd::capture(&mut Command::new(&program))?.lines().map(str::to_owned).collect();
        ensure!(!cases.is_empty(), "{PROGRAM} has no work");
        Ok(Self { program, results, cases })
    }

    /// The instructions of one piece of work.
    fn count(&self, case: &str) -> Result<u64> {
        let result = self.results.join(format!("{}.out", case.replace('/', "-")));
        let mut valgrind = Command::new(cmd::find("valgrind").context("no valgrind")?);
        valgrind
            .args(["--tool=callgrind", &format!("--toggle-collect={MEASURED}")])
            .arg(format!("--callgrind-out-file={}", result.display()))
            .args([self.program.as_os_str(), case.as_ref()])
            // The environment must not move the stack or choose another allocator.
            .env_clear();
        cmd::check(&mut valgrind)?;
        let count = total(&result)?;
        ensure!(count > 0, "callgrind did not see {MEASURED} of {case}");
        Ok(count)
    }
}

/// The total in a file of callgrind: `totals: 123`.
fn total(file: &Path) -> Result<u64> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {file:?}"))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    total
        .and_then(|total| total.trim().parse().ok())
        .with_context(|| format!("no total in {file:?}"))
}
