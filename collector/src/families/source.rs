//! The source of a family with typed reasons, before it is part of a report.

mod inputs;

use std::{borrow::Cow, fmt};

use tare_model::{Reconciled, Source, State};

pub use self::inputs::{Comparison, Inputs};

use crate::reason::Reason;

/// Where a family comes from, and all that it lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    /// Files or programs; `None` if there is no source.
    pub source: Option<Cow<'static, str>>,
    /// What is missing or second best; none if everything is there.
    pub gaps: Vec<Gap>,
    /// The comparison with the kernel's own count.
    pub reconciled: Option<Reconciled>,
    /// Why the numbers come from files and not from a walk over all cgroups. Files have the same
    /// numbers at a higher cost, so this is no gap.
    pub not_walked: Option<Reason>,
}

/// Something that a family lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// What is missing or second best; `None` if the reason says so itself.
    pub what: Option<&'static str>,
    /// Why.
    pub reason: Reason,
}

impl SourceStatus {
    /// A source, and what it lacks.
    pub fn new(source: impl Into<Cow<'static, str>>, gaps: Vec<Gap>) -> Self {
        Self { source: Some(source.into()), gaps, reconciled: None, not_walked: None }
    }

    /// No source.
    pub fn off(reason: impl Into<Reason>) -> Self {
        let gaps = vec![Gap::from(reason.into())];
        Self { source: None, gaps, reconciled: None, not_walked: None }
    }

    /// The same with a comparison.
    pub fn compared(self, found: Option<&Comparison>) -> Self {
        Self { reconciled: found.map(|found| found.reconciled.clone()), ..self }
    }

    /// How well it works.
    pub fn state(&self) -> State {
        match (&self.source, self.gaps.is_empty()) {
            (None, _) => State::Off,
            (Some(_), false) => State::Degraded,
            (Some(_), true) => State::On,
        }
    }
}

/// One of so many operations may be unseen before a source is degraded: a share that changes no
/// decision, and that no reader of other counters would find.
///
/// There are kernels that run no program of a tracepoint in an interrupt of a thread of process 1,
/// and do not count it as missed either. On one of them, one of 1,400 to 10,000 requests was not
/// seen (`docs/limits.md`).
const NEGLIGIBLE_ONE_OF: u64 = 1000;

/// So few unseen operations say nothing of a share.
const NEGLIGIBLE_MIN: u64 = 10;

/// Whether so many unseen operations do not make a source degraded.
fn is_negligible(lost: u64, expected: u64) -> bool {
    lost <= NEGLIGIBLE_MIN.max(expected / NEGLIGIBLE_ONE_OF)
}

impl Gap {
    /// This is missing or second best, for this reason.
    pub fn new(what: &'static str, reason: impl Into<Reason>) -> Self {
        Self { what: Some(what), reason: reason.into() }
    }

    /// What our programs did not see of what the kernel counted, if it is more than
    /// [`is_negligible`] says. The numbers are in `reconciled` in any case.
    pub fn not_seen(found: &Comparison) -> Option<Self> {
        let Reconciled { expected, lost, .. } = found.reconciled;
        let what = || found.what.as_str().into();
        (!is_negligible(lost, expected))
            .then(|| Reason::NotSeen { lost, expected, what: what() }.into())
    }
}

impl From<Reason> for Gap {
    fn from(reason: Reason) -> Self {
        Self { what: None, reason }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            Some(what) => write!(f, "{what}: {}", self.reason),
            None => self.reason.fmt(f),
        }
    }
}

impl From<&SourceStatus> for Source {
    fn from(status: &SourceStatus) -> Self {
        let (mut texts, mut codes) = (Vec::new(), Vec::new());
        for gap in &status.gaps {
            let (text, code) = (gap.to_string(), Cow::from(gap.reason.code()));
            if !texts.contains(&text) {
                texts.push(text);
            }
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
        Self {
            source: status.source.clone().map(Cow::into_owned),
            state: status.state(),
            reason: (!texts.is_empty()).then(|| texts.join("; ")),
            reason_codes: codes,
            reconciled: status.reconciled.clone(),
            not_walked: status.not_walked.as_ref().map(Reason::to_string),
        }
    }
}

#[cfg(test)]
mod tests;
