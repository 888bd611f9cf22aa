//! The measures of a container that budgets limit and comparisons show.

use serde::{Serialize, Serializer};

use self::{
    Reading::{Known, Nothing, Unknown},
    Time::{Interval, Life, Present, Total},
    Unit::{Bytes, BytesPerSecond, Count, Percent, Seconds},
};
use crate::{Change, Container, Delay, Ended, Snapshot};

/// A number of a container. The more, the worse or the more expensive.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// Its name, which ends with its unit.
    pub name: &'static str,
    /// The unit.
    pub unit: Unit,
    /// The time that it is of.
    pub time: Time,
    /// What it is, for documents.
    pub meaning: &'static str,
    of: fn(&Container, &Change) -> Reading,
}

/// What is known of a measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading {
    /// Its value; infinite if it is beyond all that can be told apart.
    Known(f64),
    /// Nothing happened that could have been measured, such as block writes.
    Nothing,
    /// It was not measured.
    Unknown,
}

/// The time that a measure is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// The end of the interval, or each second of it. It has no meaning once the container ended.
    Present,
    /// The interval; for a container that ended, its life.
    Interval,
    /// The life of the container.
    Life,
    /// The same, but it only grows.
    Total,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Per cent.
    Percent,
    /// Bytes.
    Bytes,
    /// Bytes each second.
    BytesPerSecond,
    /// Seconds.
    Seconds,
    /// Things or events.
    Count,
}

impl Measure {
    /// The measure of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        MEASURES.iter().find(|measure| measure.name == name)
    }

    /// Of a container that is alive: rates and events over the interval of the snapshot, everything
    /// else at its end.
    pub fn of(&self, snapshot: &Snapshot, row: &Container) -> Reading {
        if let Some(change) = snapshot.changes.get(&row.cgroup) {
            return (self.of)(row, change);
        }
        match (self.of)(row, &Change::default()) {
            // Without an interval nobody looked.
            Nothing => Unknown,
            reading => reading,
        }
    }

    /// Of a container that ended: its whole life. `None` if it is of the present.
    pub fn of_ended(&self, ended: &Ended) -> Option<Reading> {
        let row = &ended.container;
        (self.time != Present).then(|| (self.of)(row, &Change::so_far(row)))
    }
}

/// Its name.
impl Serialize for Measure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

/// All measures.
pub const MEASURES: &[Measure] = &[
    measure(
        "cpu_percent",
        Percent,
        Present,
        "CPU time over the interval; 100 is one CPU",
        |row, _| known(row.cpu.percent),
    ),
    measure(
        "cpu_usage_seconds",
        Seconds,
        Total,
        "CPU time since the start of the container",
        |row, _| known(row.cpu.usage_seconds),
    ),
    measure(
        "cpu_throttled_percent",
        Percent,
        Interval,
        "CFS periods with throttling, of those in which it could run",
        |row, change| match change.throttled_percent {
            // Without a quota there are no periods.
            None if row.cpu.periods.is_some() => Nothing,
            share => known(share),
        },
    ),
    measure(
        "cpu_throttled_seconds",
        Seconds,
        Interval,
        "time throttled in the interval, of all its CPUs together",
        |_, change| known(change.throttled_seconds),
    ),
    measure(
        "cpu_pressure_percent",
        Percent,
        Present,
        "share of the last 60 s in which a task waited for a CPU",
        |row, _| known(row.cpu.pressure.and_then(|it| it.some_avg60_percent)),
    ),
    measure(
        "memory_usage_bytes",
        Bytes,
        Present,
        "memory charged to the container, page cache included",
        |row, _| count(row.memory.usage_bytes),
    ),
    measure(
        "memory_working_set_bytes",
        Bytes,
        Present,
        "the same without inactive file pages: `MEM USAGE`",
        |row, _| count(row.memory.working_set_bytes),
    ),
    measure(
        "memory_peak_bytes",
        Bytes,
        Life,
        "highest usage since the start of the container",
        |row, _| count(row.memory.peak_bytes),
    ),
    measure("memory_percent", Percent, Present, "working set as a share of the limit", |row, _| {
        known(row.memory.percent)
    }),
    measure(
        "memory_pressure_percent",
        Percent,
        Present,
        "share of the last 60 s in which a task waited for memory",
        |row, _| known(row.memory.pressure.and_then(|it| it.some_avg60_percent)),
    ),
    measure(
        "memory_oom_kills",
        Count,
        Interval,
        "processes killed in the interval because memory ran out",
        |_, change| count(change.oom_kills),
    ),
    measure(
        "network_receive_bytes",
        Bytes,
        Total,
        "bytes received so far, by the rule of `NET I/O`",
        |row, _| count(row.network.io().rx_bytes),
    ),
    measure(
        "network_transmit_bytes",
        Bytes,
        Total,
        "bytes sent so far, by the rule of `NET I/O`",
        |row, _| count(row.network.io().tx_bytes),
    ),
    measure(
        "network_receive_bytes_per_second",
        BytesPerSecond,
        Present,
        "bytes received each second of the interval",
        |_, change| known(change.rx_bytes_per_second),
    ),
    measure(
        "network_transmit_bytes_per_second",
        BytesPerSecond,
        Present,
        "bytes sent each second of the interval",
        |_, change| known(change.tx_bytes_per_second),
    ),
    measure(
        "tcp_retransmits",
        Count,
        Interval,
        "TCP segments sent again in the interval",
        |_, change| count(change.retransmits),
    ),
    measure("block_read_bytes", Bytes, Total, "bytes read from block devices so far", |row, _| {
        count(row.block.total.read_bytes)
    }),
    measure(
        "block_write_bytes",
        Bytes,
        Total,
        "bytes written to block devices so far",
        |row, _| count(row.block.total.write_bytes),
    ),
    measure(
        "block_read_bytes_per_second",
        BytesPerSecond,
        Present,
        "bytes read each second of the interval",
        |_, change| known(change.read_bytes_per_second),
    ),
    measure(
        "block_write_bytes_per_second",
        BytesPerSecond,
        Present,
        "bytes written each second of the interval",
        |_, change| known(change.write_bytes_per_second),
    ),
    measure(
        "block_read_p99_seconds",
        Seconds,
        Interval,
        "99th percentile of how long block reads took, the upper bound of its bucket",
        |row, change| p99(row, change.reads),
    ),
    measure(
        "block_write_p99_seconds",
        Seconds,
        Interval,
        "99th percentile of how long block writes took, the upper bound of its bucket",
        |row, change| p99(row, change.writes),
    ),
    measure(
        "block_pressure_percent",
        Percent,
        Present,
        "share of the last 60 s in which a task waited for block I/O",
        |row, _| known(row.block.pressure.and_then(|it| it.some_avg60_percent)),
    ),
    measure("pids", Count, Present, "tasks: threads, not processes", |row, _| {
        count(row.pids.current)
    }),
    measure(
        "start_seconds",
        Seconds,
        Life,
        "from the making of the cgroup to the first TCP socket that listened",
        |row, _| {
            let start = row.startup;
            match (start.made_at, start.listen_at) {
                (Some(made), Some(listens)) => Known(listens.duration_since(made).as_secs_f64()),
                (Some(_), None) => Unknown,
                // It was made before Tare looked.
                (None, _) => Nothing,
            }
        },
    ),
];

type Of = fn(&Container, &Change) -> Reading;

const fn measure(
    name: &'static str,
    unit: Unit,
    time: Time,
    meaning: &'static str,
    of: Of,
) -> Measure {
    Measure { name, unit, time, meaning, of }
}

fn known(value: Option<f64>) -> Reading {
    value.map_or(Unknown, Known)
}

fn count(count: Option<u64>) -> Reading {
    known(count.map(|count| count as f64))
}

/// There is no bound above the last bucket.
fn p99(row: &Container, delay: Option<Delay>) -> Reading {
    match delay {
        Some(delay) => Known(delay.p99_seconds.unwrap_or(f64::INFINITY)),
        None if row.block.latency.is_some() => Nothing,
        None => Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Histogram, Latency, fixture};

    #[test]
    fn every_name_is_there_once_and_ends_with_its_unit() {
        let names: BTreeSet<&str> = MEASURES.iter().map(|measure| measure.name).collect();
        assert_eq!(names.len(), MEASURES.len());
        for measure in MEASURES {
            let ending = match measure.unit {
                Percent => "_percent",
                Bytes => "_bytes",
                BytesPerSecond => "_bytes_per_second",
                Seconds => "_seconds",
                Count => "s",
            };
            assert!(measure.name.ends_with(ending), "{}", measure.name);
        }
    }

    #[test]
    fn what_is_unknown_has_no_number() {
        let row = fixture::unknown(crate::Kind::Container, "a");
        let snapshot = Snapshot::new(None, fixture::report(vec![row.clone()]));
        assert!(MEASURES.iter().all(|measure| measure.of(&snapshot, &row) == Unknown));
    }

    #[test]
    fn nothing_that_could_be_measured_is_not_unknown() {
        let mut row = fixture::web();
        row.cpu.periods = Some(0);
        let none = Histogram { buckets: Vec::new(), count: 0, sum_seconds: 0.0 };
        row.block.latency =
            Some(Latency { le_seconds: Vec::new(), read: none.clone(), write: none });
        let mut snapshot = Snapshot::new(None, fixture::report(vec![row.clone()]));
        let measures = ["cpu_throttled_percent", "block_read_p99_seconds"]
            .map(|it| Measure::named(it).unwrap());
        assert_eq!(measures.map(|measure| measure.of(&snapshot, &row)), [Unknown; 2]);
        snapshot.changes.insert(row.cgroup.clone(), Change::default());
        assert_eq!(measures.map(|measure| measure.of(&snapshot, &row)), [Nothing; 2]);
    }

    #[test]
    fn a_delay_beyond_the_last_bucket_is_over_every_limit() {
        let row = fixture::web();
        let mut snapshot = Snapshot::new(None, fixture::report(vec![row.clone()]));
        let writes = Some(Delay { count: 1, mean_seconds: 9.0, p99_seconds: None });
        snapshot.changes.insert(row.cgroup.clone(), Change { writes, ..Change::default() });
        let measure = Measure::named("block_write_p99_seconds").unwrap();
        assert_eq!(measure.of(&snapshot, &row), Known(f64::INFINITY));
    }
}
