//! Budgets against what containers did. Pure.

use std::cmp::Reverse;

use serde::Serialize;
use tare_model::{Container, Kind, Measure, Reading, Snapshot};

use crate::{
    budget::file::{Budget, Limit},
    output::row::{name, ordered},
};

/// What became of all budgets.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Seconds of the interval that rates and events are of.
    pub interval_seconds: Option<f64>,
    /// The results, the worst first.
    pub results: Vec<Checked>,
}

/// A limit of one container.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// The name of the container; the pattern if no container has such a name.
    pub container: String,
    /// Its id.
    pub id: Option<String>,
    /// The measure.
    pub measure: &'static Measure,
    /// Its value in the unit that the measure's name ends with; `None` if there is none.
    pub value: Option<f64>,
    /// The most that it may be.
    pub limit: f64,
    /// The result.
    pub state: State,
    #[serde(skip)]
    rank: u64,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The value is over the limit.
    Exceeded,
    /// No container has such a name.
    NoContainer,
    /// There is no value, so nobody can tell.
    Unknown,
    /// The value is not over the limit.
    Kept,
    /// Nothing happened that could be measured.
    Nothing,
}

impl State {
    /// Whether the check failed.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Exceeded | Self::NoContainer | Self::Unknown)
    }
}

impl Outcome {
    /// How many checks failed.
    pub fn failures(&self) -> usize {
        self.results.iter().filter(|checked| checked.state.is_failure()).count()
    }
}

/// Checks the containers of a snapshot: those that are alive, and those that ended in its interval.
pub fn check(budgets: &[Budget], snapshot: &Snapshot) -> Outcome {
    let mut results: Vec<Checked> =
        budgets.iter().flat_map(|budget| results(budget, snapshot)).collect();
    results.sort_by(|a, b| {
        let key = |checked: &Checked| (checked.state, Reverse(checked.rank));
        (key(a), &a.container, a.measure.name).cmp(&(key(b), &b.container, b.measure.name))
    });
    Outcome { interval_seconds: snapshot.report.interval_seconds, results }
}

fn results(budget: &Budget, snapshot: &Snapshot) -> Vec<Checked> {
    let report = &snapshot.report;
    let fits =
        |row: &Container| row.kind == Kind::Container && budget.containers.matches(name(row));
    let age_max = report.interval_seconds.unwrap_or_default();
    let ended = report.ended.iter().filter(|ended| {
        fits(&ended.container)
            && report.time.duration_since(ended.ended_at).as_secs_f64() <= age_max
    });
    let alive = report.containers.iter().filter(|row| fits(row));
    let mut results = Vec::new();
    for row in alive {
        let result = |limit: &Limit| checked(row, *limit, limit.measure.of(snapshot, row));
        results.extend(budget.limits.iter().map(result));
    }
    for ended in ended {
        let result =
            |limit: &Limit| Some(checked(&ended.container, *limit, limit.measure.of_ended(ended)?));
        results.extend(budget.limits.iter().filter_map(result));
    }
    if results.is_empty() && !budget.optional {
        results.extend(budget.limits.iter().map(|limit| Checked {
            container: budget.containers.to_string(),
            id: None,
            measure: limit.measure,
            value: None,
            limit: limit.most,
            state: State::NoContainer,
            rank: 0,
        }));
    }
    results
}

fn checked(row: &Container, limit: Limit, reading: Reading) -> Checked {
    let (value, state) = match reading {
        Reading::Known(value) if value > limit.most => (Some(value), State::Exceeded),
        Reading::Known(value) => (Some(value), State::Kept),
        Reading::Nothing => (None, State::Nothing),
        Reading::Unknown => (None, State::Unknown),
    };
    Checked {
        container: name(row).to_owned(),
        id: Some(row.id.clone()),
        measure: limit.measure,
        value,
        limit: limit.most,
        state,
        rank: value.map_or(0, |value| ordered(value / limit.most.max(f64::MIN_POSITIVE))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::SignedDuration;
    use tare_model::{Change, Ended};

    use super::*;
    use crate::{budget::file::parse, output::fixture};

    fn check(text: &str, snapshot: &Snapshot) -> Vec<(String, &'static str, State)> {
        let outcome = super::check(&parse(text).unwrap(), snapshot);
        let results = outcome.results.into_iter();
        results.map(|it| (it.container, it.measure.name, it.state)).collect()
    }

    fn snapshot() -> Snapshot {
        let mut row = fixture::web();
        row.memory.peak_bytes = Some(10 << 20);
        row.cpu.periods = Some(0);
        let mut job = fixture::web();
        (job.id, job.name) = ("b".repeat(64), Some("job".to_owned()));
        job.memory.oom_kills = Some(1);
        let mut report = fixture::report(vec![row.clone()]);
        let ended = |seconds| Ended {
            container: job.clone(),
            ended_at: report.time - SignedDuration::from_millis(seconds),
            finality: BTreeMap::new(),
        };
        report.ended = vec![ended(900), ended(1_100)];
        let mut snapshot = Snapshot::new(None, report);
        snapshot.changes.insert(row.cgroup, Change::default());
        snapshot
    }

    #[test]
    fn the_worst_comes_first() {
        let text = r#"
            [[budget]]
            containers = "w?b"
            cpu_percent = 12
            memory_peak_bytes = "1MiB"
            cpu_throttled_percent = 5
            pids = 3
            tcp_retransmits = 1
            [[budget]]
            containers = "db"
            pids = 1
            [[budget]]
            containers = "cache"
            optional = true
            pids = 1"#;
        let expected = [
            ("web", "memory_peak_bytes", State::Exceeded),
            ("web", "cpu_percent", State::Exceeded),
            ("db", "pids", State::NoContainer),
            ("web", "tcp_retransmits", State::Unknown),
            ("web", "pids", State::Kept),
            ("web", "cpu_throttled_percent", State::Nothing),
        ];
        let expected = expected.map(|(name, measure, state)| (name.to_owned(), measure, state));
        assert_eq!(check(text, &snapshot()), expected);
    }

    #[test]
    fn who_ended_in_the_interval_counts_too() {
        let text = "[[budget]]\ncontainers = 'job'\nmemory_oom_kills = 0\ncpu_percent = 1";
        let expected = [("job".to_owned(), "memory_oom_kills", State::Exceeded)];
        assert_eq!(check(text, &snapshot()), expected);
    }
}
