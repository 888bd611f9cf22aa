//! Reads libtest's output, and repeats tests that failed.
//!
//! Tests with real kernels, daemons and terminals run on shared machines, where other work can
//! exceed a test's time limit. If a few tests fail, they are run once more, alone. The summary
//! names those that passed at the second try. A test that fails twice stays failed, and if more
//! than a few fail, none is repeated.

use anyhow::Result;

/// More failures than this are not repeated: they have a common cause.
const SECOND_TRIES_MAX: usize = 3;

/// Passed and failed tests; a step without tests counts as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Names of passed tests that failed at the first try.
    pub(crate) at_second_try: Vec<String>,
}

impl Tally {
    pub(crate) fn one_passed() -> Self {
        Self { passed: 1, ..Self::default() }
    }

    pub(crate) fn one_failed() -> Self {
        Self { failed: 1, ..Self::default() }
    }

    pub(crate) fn add(&mut self, other: Self) {
        let Self { passed, failed, at_second_try } = other;
        self.passed += passed;
        self.failed += failed;
        self.at_second_try.extend(at_second_try);
    }
}

/// Results read from the output of test programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Results {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Names of failed tests; incomplete if a program ended before it listed them.
    names: Vec<String>,
    /// The list that is being read. The output of failed tests has the same heading; it is dropped
    /// when the list begins.
    list: Option<Vec<String>>,
}

impl Results {
    /// Reads a line. Other output of the same terminal may precede a result.
    pub(crate) fn line(&mut self, line: &str) {
        if let Some((passed, failed)) = counts(line) {
            self.passed += passed;
            self.failed += failed;
            self.names.extend(self.list.take().unwrap_or_default());
        } else if line == "failures:" {
            self.list = Some(Vec::new());
        } else if let (Some(list), Some(name)) = (&mut self.list, line.strip_prefix("    ")) {
            list.push(name.to_owned());
        }
    }

    /// Whether any test program ended.
    pub(crate) fn is_any(&self) -> bool {
        self.passed + self.failed > 0
    }
}

/// Runs tests, and repeats a few failed ones. `run` gets the names of the tests, or none for all;
/// it returns an error for what is no test result, such as a failed build.
pub(crate) fn with_second_try(run: impl Fn(&[String]) -> Result<Results>) -> Result<Tally> {
    let Results { passed, failed, names, .. } = run(&[])?;
    let mut tally = Tally { passed, failed, at_second_try: Vec::new() };
    let is_known = u64::try_from(names.len()) == Ok(failed);
    if failed == 0 || !is_known || names.len() > SECOND_TRIES_MAX {
        return Ok(tally);
    }
    println!("\nsecond try: {}", names.join(", "));
    let again = run(&names)?;
    let is_good = |name: &String| !again.names.contains(name);
    // A second try counts only if it ran all of them.
    if again.passed + again.failed == failed {
        tally.at_second_try = names.into_iter().filter(is_good).collect();
        tally.passed += again.passed;
        tally.failed = again.failed;
    }
    Ok(tally)
}

/// The counts of libtest's last line: `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
fn counts(line: &str) -> Option<(u64, u64)> {
    let (_, line) = line.split_once("test result: ")?;
    let (_, counts) = line.split_once(". ")?;
    let count = |word: &str| {
        counts.split("; ").find_map(|part| part.strip_suffix(word)?.trim_end().parse().ok())
    };
    Some((count("passed")?, count("failed")?))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn results_of(text: &str) -> Results {
        let mut results = Results::default();
        text.lines().for_each(|line| results.line(line));
        results
    }

    const TWO_FAILED: &str = "\
failures:

---- some::first stdout ----
    a line of its own
failures: these are not all

failures:
    some::first
    other::second

[ 1.2] noise test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured
";

    #[test]
    fn only_result_lines_are_counted() {
        let good = "test result: ok. 12 passed; 0 failed; 1 ignored; 3 filtered out; in 0.01s";
        assert_eq!(counts(good), Some((12, 0)));
        assert_eq!(counts("test counts ... ok"), None);
        assert_eq!(counts("test result: unknown"), None);
    }

    #[test]
    fn failed_tests_are_listed_by_name() {
        let results = results_of(&format!("test result: ok. 3 passed; 0 failed\n{TWO_FAILED}"));
        assert_eq!((results.passed, results.failed), (7, 2));
        assert_eq!(results.names, ["some::first", "other::second"]);
    }

    #[test]
    fn tests_that_pass_at_the_second_try_are_named() {
        let asked = RefCell::new(Vec::new());
        let tally = with_second_try(|names| {
            asked.borrow_mut().push(names.to_vec());
            Ok(results_of(match names {
                [] => TWO_FAILED,
                _ => "failures:\n    some::first\ntest result: FAILED. 1 passed; 1 failed",
            }))
        });
        let second = ["some::first".to_owned(), "other::second".to_owned()];
        assert_eq!(*asked.borrow(), [vec![], second.to_vec()]);
        let at_second_try = vec!["other::second".to_owned()];
        assert_eq!(tally.unwrap(), Tally { passed: 5, failed: 1, at_second_try });
    }

    #[test]
    fn a_second_try_that_runs_nothing_changes_nothing() {
        let tally = with_second_try(|names| {
            let none = "test result: ok. 0 passed; 0 failed";
            Ok(results_of(if names.is_empty() { TWO_FAILED } else { none }))
        });
        assert_eq!(tally.unwrap(), Tally { passed: 4, failed: 2, at_second_try: Vec::new() });
    }

    #[test]
    fn many_or_unnamed_failures_are_not_repeated() {
        let names = ["a", "b", "c", "d"].map(|name| format!("    {name}\n")).concat();
        let many = format!("failures:\n{names}test result: FAILED. 0 passed; 4 failed");
        for text in [&many, "test result: FAILED. 0 passed; 1 failed"] {
            let tally = with_second_try(|names| {
                assert!(names.is_empty(), "{text}");
                Ok(results_of(text))
            });
            assert!(tally.unwrap().failed > 0, "{text}");
        }
    }
}
