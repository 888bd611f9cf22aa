//! Means, maxima and percentiles of the last minute, hour and day, from history.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    Cadvisor,
    catalog::{Catalog, Item},
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// CPU time in thousandths of a CPU, and the working set in bytes.
#[derive(Serialize)]
pub(super) struct Summary {
    timestamp: Timestamp,
    latest_usage: Latest,
    minute_usage: Usage,
    hour_usage: Usage,
    day_usage: Usage,
}

#[derive(Serialize)]
struct Latest {
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Usage {
    /// How much of the time there is a history of.
    percent_complete: u64,
    cpu: Percentiles,
    memory: Percentiles,
}

/// All zero if none are present.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Percentiles {
    present: bool,
    mean: u64,
    std: u64,
    max: u64,
    fifty: u64,
    ninety: u64,
    ninetyfive: u64,
    count: u64,
}

/// CPU time in nanoseconds and the working set at an instant.
type Moment = (Timestamp, Option<u64>, Option<u64>);

impl Cadvisor {
    pub(super) fn summary(&self, catalog: &Catalog, item: &Item) -> Summary {
        let now = item.newer.at;
        let since = now.checked_sub(DAY).unwrap_or(Timestamp::UNIX_EPOCH);
        let history = self.context.shared.history();
        let moments: Vec<Moment> = match item.instance {
            Some(instance) => {
                let points = history.points(instance, Some(since)).into_iter();
                points.map(|(at, [cpu, memory, ..])| (at, cpu, memory)).collect()
            }
            None if item.name() == "/" => history.host(since),
            None => Vec::new(),
        };
        drop(history);
        let row = &item.newer.row;
        let cpus = catalog.published.pair.newer.host.online_cpus;
        let percent = match item.name() {
            "/" => catalog.host.cpu_percent.filter(|_| cpus.is_some()),
            _ => row.cpu.percent,
        };
        Summary {
            timestamp: now,
            latest_usage: Latest {
                cpu: percent.map(|percent| (percent * 10.0).round() as u64),
                memory: row.memory.working_set_bytes,
            },
            minute_usage: Usage::of(&moments, now, MINUTE),
            hour_usage: Usage::of(&moments, now, HOUR),
            day_usage: Usage::of(&moments, now, DAY),
        }
    }
}

impl Usage {
    fn of(moments: &[Moment], now: Timestamp, length: Duration) -> Self {
        let is_old = |moment: &Moment| now.duration_since(moment.0).unsigned_abs() > length;
        let moments = &moments[moments.partition_point(is_old)..];
        let rate = |pair: &[Moment]| {
            let [(from, before, _), (to, after, _)] = *pair else { return None };
            let nanoseconds = to.duration_since(from).as_nanos();
            let used = after?.checked_sub(before?)?;
            (nanoseconds > 0).then(|| (1000.0 * used as f64 / nanoseconds as f64) as u64)
        };
        let covered = moments.first().map(|(from, ..)| now.duration_since(*from).unsigned_abs());
        let covered = covered.unwrap_or_default();
        // The first sample in it may be almost an interval younger than its beginning.
        let interval = covered.checked_div(moments.len().saturating_sub(1) as u32);
        let covered = covered + interval.unwrap_or_default();
        let percent = covered.as_secs_f64() / length.as_secs_f64() * 100.0;
        Self {
            percent_complete: (percent.round() as u64).min(100),
            cpu: Percentiles::of(moments.windows(2).filter_map(rate).collect()),
            memory: Percentiles::of(moments.iter().filter_map(|moment| moment.2).collect()),
        }
    }
}

impl Percentiles {
    fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        let Some(max) = values.last().copied() else { return Self::default() };
        let count = values.len() as f64;
        let mean = values.iter().map(|value| *value as f64).sum::<f64>() / count;
        let off = values.iter().map(|value| (*value as f64 - mean).powi(2)).sum::<f64>();
        // The value that this share does not exceed.
        let rank = |share: f64| (share * count).ceil().max(1.0) as usize - 1;
        let at = |share: f64| values.get(rank(share)).copied().unwrap_or(max);
        Self {
            present: true,
            mean: mean as u64,
            std: (off / count).sqrt() as u64,
            max,
            fifty: at(0.5),
            ninety: at(0.9),
            ninetyfive: at(0.95),
            count: values.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        assert_eq!(Percentiles::of(Vec::new()), Percentiles::default());
        let found = Percentiles::of((1..=100).rev().collect());
        let expected = Percentiles {
            present: true,
            mean: 50,
            std: 28,
            max: 100,
            fifty: 50,
            ninety: 90,
            ninetyfive: 95,
            count: 100,
        };
        assert_eq!(found, expected);
        let one = Percentiles::of(vec![7]);
        assert_eq!((one.fifty, one.ninetyfive, one.std), (7, 7, 0));
    }

    #[test]
    fn a_minute_has_the_rates_and_gauges_of_its_samples() {
        let at = |second| Timestamp::from_second(second).unwrap();
        // A quarter of a CPU, after a time of none.
        let moment = |second: i64| {
            let used = (second - 1_000).max(0) as u64 * 250_000_000;
            (at(second), Some(used), Some(second as u64))
        };
        let moments: Vec<Moment> = (900..=1_060).map(moment).collect();
        let minute = Usage::of(&moments, at(1_060), MINUTE);
        assert_eq!((minute.percent_complete, minute.cpu.count, minute.memory.count), (100, 60, 61));
        assert_eq!((minute.cpu.mean, minute.cpu.std, minute.cpu.max), (250, 0, 250));
        assert_eq!((minute.memory.max, minute.memory.fifty), (1_060, 1_030));
        let hour = Usage::of(&moments, at(1_060), HOUR);
        assert_eq!((hour.percent_complete, hour.cpu.fifty, hour.cpu.ninety), (4, 0, 250));
        let none = Usage::of(&[], at(1_060), DAY);
        assert_eq!((none.percent_complete, none.cpu.present), (0, false));
    }
}
