//! A part of the history of one container, as clients get it.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use tare_model::{POINT_FIELDS, Point};

use crate::{
    families::block::{BlockOperations, latency_bounds},
    report::{block_operations, point},
    sample::Sample,
};

/// The history of one container, one column per number.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Excerpt {
    id: String,
    name: Option<String>,
    step_seconds: f64,
    times: Vec<Timestamp>,
    series: BTreeMap<&'static str, Vec<Option<u64>>>,
    /// If it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    block_latency: Option<Latency>,
    /// How many of the first rows are from the recording. `None` if it was not looked at: all that
    /// is asked for is in memory, or nothing is recorded.
    recorded_rows: Option<usize>,
    /// Why the recording could not be read to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Operations by the time that they took, a row for each sample.
#[derive(Debug, Default, PartialEq)]
struct Latency(Vec<Option<BlockOperations>>);

/// The wanted part of a history.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    pub(crate) from: Option<Timestamp>,
    pub(crate) to: Option<Timestamp>,
    /// The least time between two rows.
    pub(crate) step: Duration,
    /// Whether the latencies of block I/O are wanted.
    pub(crate) latency: bool,
}

/// Why there is no history.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// No container has this name or id.
    Unknown,
    /// The beginning of several ids.
    Ambiguous,
}

impl Excerpt {
    /// Without a row.
    pub(crate) fn new(id: &str, name: Option<&str>, span: Span) -> Self {
        Self {
            id: id.to_owned(),
            name: name.map(str::to_owned),
            step_seconds: span.step.as_secs_f64(),
            times: Vec::new(),
            series: POINT_FIELDS.iter().map(|name| (*name, Vec::new())).collect(),
            block_latency: span.latency.then(Latency::default),
            recorded_rows: None,
            problem: None,
        }
    }

    /// The times of its rows, the oldest first.
    pub(crate) fn times(&self) -> &[Timestamp] {
        &self.times
    }

    /// Adds what is later than all the others.
    pub(crate) fn push(
        &mut self,
        time: Timestamp,
        row: Point,
        operations: Option<BlockOperations>,
    ) {
        self.times.push(time);
        for (name, number) in POINT_FIELDS.iter().zip(row) {
            self.series.entry(name).or_default().push(number);
        }
        if let Some(latency) = &mut self.block_latency {
            latency.0.push(operations);
        }
    }

    /// Adds recorded samples of the same container before the others, and why there are not more.
    pub(crate) fn prepend(&mut self, samples: &[Sample], problem: Option<String>) {
        let first = self.times.first().copied();
        let earlier = || samples.iter().filter(|sample| first.is_none_or(|at| sample.time < at));
        let rows = earlier().filter_map(|sample| Some((sample, sample.usages.first()?)));
        let rows: Vec<Point> = rows.map(|(sample, usage)| point(usage, sample, None)).collect();
        self.times.splice(..0, earlier().map(|sample| sample.time));
        for (at, name) in POINT_FIELDS.iter().enumerate() {
            let column = self.series.entry(name).or_default();
            column.splice(..0, rows.iter().map(|row| row.get(at).copied().flatten()));
        }
        if let Some(latency) = &mut self.block_latency {
            let operations = |sample: &Sample| block_operations(sample.usages.first()?, sample);
            latency.0.splice(..0, earlier().map(operations));
        }
        self.recorded_rows = Some(rows.len());
        self.problem = problem;
    }

    #[cfg(test)]
    pub(super) fn column(&self, name: &str) -> &[Option<u64>] {
        &self.series[name]
    }

    #[cfg(test)]
    pub(super) fn operations(&self) -> &[Option<BlockOperations>] {
        self.block_latency.as_ref().map_or(&[], |latency| &latency.0)
    }
}

impl Serialize for Latency {
    /// The bounds of the buckets, and for reads and writes a column for each bucket, which is
    /// empty if it had no operation.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let columns = |of: fn(&BlockOperations) -> &[u64]| -> Vec<Vec<Option<u64>>> {
            let column = |bucket: usize| -> Vec<Option<u64>> {
                let rows = self.0.iter();
                rows.map(|row| of(row.as_ref()?).get(bucket).copied()).collect()
            };
            let has_operations =
                |column: &Vec<Option<u64>>| column.iter().any(|one| *one > Some(0));
            let buckets = (0..=latency_bounds().count()).map(column);
            buckets.map(|one| if has_operations(&one) { one } else { Vec::new() }).collect()
        };
        let mut latency = serializer.serialize_struct("Latency", 3)?;
        latency.serialize_field("le_seconds", &latency_bounds().collect::<Vec<_>>())?;
        latency.serialize_field("read", &columns(|operations| &operations.read))?;
        latency.serialize_field("write", &columns(|operations| &operations.write))?;
        latency.end()
    }
}
