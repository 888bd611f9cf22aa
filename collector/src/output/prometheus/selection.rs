//! Which metrics a scrape has.

use std::str::FromStr;

use strsim::osa_distance;
use wildmatch::WildMatch;

use crate::output::prometheus::{METRICS, groups};

/// A known group within this edit distance of an unknown one is suggested.
const EDITS_MAX: usize = 3;

/// One or several metrics: the name of a group, or a metric's name, in which `*` stands for any
/// text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricPattern(String);

impl MetricPattern {
    fn matches(&self, group: &str, name: &str) -> bool {
        self.0 == group || WildMatch::new(&self.0).matches(name)
    }
}

impl FromStr for MetricPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pattern = Self(text.to_owned());
        if METRICS.iter().any(|(group, metric)| pattern.matches(group, metric.name)) {
            return Ok(pattern);
        }
        let names = || groups().map(|group| group.name);
        let near = names().map(|name| (osa_distance(name, text), name)).min();
        Err(match near.filter(|(edits, _)| *edits <= EDITS_MAX) {
            Some((_, near)) => format!("there is no metric `{text}`; did you mean `{near}`?"),
            None => {
                let names: Vec<_> = names().collect();
                format!("there is no metric `{text}`, and no such group: {}", names.join(", "))
            }
        })
    }
}

/// Groups that a scrape has only if they are asked for: cAdvisor has them by option only, or not.
const BY_OPTION: [&str; 1] = ["sched"];

/// The metrics of a scrape. The default is all of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selection {
    /// Whether the metric is selected, by its position in the list of all.
    selected: Vec<bool>,
}

impl Default for Selection {
    fn default() -> Self {
        Self { selected: vec![true; METRICS.len()] }
    }
}

impl Selection {
    /// All but the groups that are there by option only; of those, the metrics of the patterns.
    pub fn usual_and(patterns: &[MetricPattern]) -> Self {
        Self::default().keep(|group, name| {
            !BY_OPTION.contains(&group) || patterns.iter().any(|all| all.matches(group, name))
        })
    }

    /// These metrics without those of the patterns.
    #[must_use]
    pub fn without(self, patterns: &[MetricPattern]) -> Self {
        self.keep(|group, name| !patterns.iter().any(|pattern| pattern.matches(group, name)))
    }

    /// Only those of these metrics that a pattern names.
    #[must_use]
    pub fn only(self, patterns: &[MetricPattern]) -> Self {
        self.keep(|group, name| patterns.iter().any(|pattern| pattern.matches(group, name)))
    }

    fn keep(mut self, keep: impl Fn(&str, &str) -> bool) -> Self {
        for (selected, (group, metric)) in self.selected.iter_mut().zip(METRICS.iter()) {
            *selected &= keep(group, metric.name);
        }
        self
    }

    /// Whether the metric at this position in the list of all is selected.
    pub(super) fn has(&self, position: usize) -> bool {
        self.selected.get(position) == Some(&true)
    }
}
