//! What containers did between two reports.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Container, Histogram, Latency, Report};

/// What one container did in an interval. `None` is unknown.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Change {
    /// Share of the CFS periods in which it could run that it was throttled in; `None` if there
    /// were none.
    pub throttled_percent: Option<f64>,
    /// Seconds for which it was throttled, of all its CPUs together.
    pub throttled_seconds: Option<f64>,
    /// Processes that the kernel killed because memory ran out.
    pub oom_kills: Option<u64>,
    /// Bytes received each second, by the rule of NET I/O.
    pub rx_bytes_per_second: Option<f64>,
    /// Bytes sent each second, by the rule of NET I/O.
    pub tx_bytes_per_second: Option<f64>,
    /// TCP segments sent again.
    pub retransmits: Option<u64>,
    /// Bytes read from block devices each second.
    pub read_bytes_per_second: Option<f64>,
    /// Bytes written to block devices each second.
    pub write_bytes_per_second: Option<f64>,
    /// How long reads took.
    pub reads: Option<Delay>,
    /// How long writes took.
    pub writes: Option<Delay>,
}

/// How long block operations took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Delay {
    /// Operations that were timed; never 0.
    pub count: u64,
    /// Their mean.
    pub mean_seconds: f64,
    /// A time that 99 % of them did not exceed: the upper bound of a bucket, and `None` in the
    /// last one, which has none.
    pub p99_seconds: Option<f64>,
}

/// What each container did between two reports, by its cgroup's path. A container that is in the
/// newer one only is left out, unless it started in between.
pub fn changes(older: &Report, newer: &Report) -> BTreeMap<String, Change> {
    let before: HashMap<&str, &Container> =
        older.containers.iter().map(|row| (row.cgroup.as_str(), row)).collect();
    let seconds = newer.time.duration_since(older.time).as_secs_f64();
    let change = |row: &Container| {
        let before = before.get(row.cgroup.as_str()).copied();
        let known = before.is_some() || is_created_after(row, older.time);
        known.then(|| (row.cgroup.clone(), change(before, row, seconds)))
    };
    newer.containers.iter().filter_map(change).collect()
}

impl Change {
    /// What a container did since its start, as far as that is known; no rates.
    pub fn so_far(row: &Container) -> Self {
        change(None, row, 0.0)
    }
}

fn is_created_after(row: &Container, time: Timestamp) -> bool {
    row.startup.made_at.is_some_and(|made| made >= time)
}

/// Without `before`, everything is new.
fn change(before: Option<&Container>, row: &Container, seconds: f64) -> Change {
    let grown = |number: &dyn Fn(&Container) -> Option<u64>| grown(before, row, number);
    let rate = |number: &dyn Fn(&Container) -> Option<u64>| {
        grown(number).filter(|_| seconds > 0.0).map(|count| count as f64 / seconds)
    };
    let delay = |of: fn(&Latency) -> &Histogram| {
        let now = row.block.latency.as_ref()?;
        let then = match before {
            Some(before) => Some(of(before.block.latency.as_ref()?)),
            None => None,
        };
        delay(now, then, of(now))
    };
    let periods = grown(&|row| row.cpu.periods).filter(|periods| *periods > 0);
    let throttled_seconds = |row: &Container| row.cpu.throttled_seconds;
    Change {
        throttled_percent: grown(&|row| row.cpu.throttled_periods)
            .zip(periods)
            .map(|(throttled, periods)| 100.0 * throttled as f64 / periods as f64),
        throttled_seconds: match before {
            Some(before) => throttled_seconds(row)
                .zip(throttled_seconds(before))
                .map(|(now, then)| (now - then).max(0.0)),
            None => throttled_seconds(row),
        },
        oom_kills: grown(&|row| row.memory.oom_kills),
        rx_bytes_per_second: rate(&|row| row.network.io().rx_bytes),
        tx_bytes_per_second: rate(&|row| row.network.io().tx_bytes),
        retransmits: grown(&|row| row.network.tcp_events?.retransmits),
        read_bytes_per_second: rate(&|row| row.block.total.read_bytes),
        write_bytes_per_second: rate(&|row| row.block.total.write_bytes),
        reads: delay(|latency| &latency.read),
        writes: delay(|latency| &latency.write),
    }
}

/// How much a counter has grown; `None` if it fell, as when another took the same cgroup's name.
fn grown(
    before: Option<&Container>,
    row: &Container,
    number: &dyn Fn(&Container) -> Option<u64>,
) -> Option<u64> {
    match before {
        Some(before) => number(row)?.checked_sub(number(before)?),
        None => number(row),
    }
}

fn delay(latency: &Latency, then: Option<&Histogram>, now: &Histogram) -> Option<Delay> {
    let new: Histogram = match then {
        Some(then) if then.buckets.len() == now.buckets.len() => {
            let pairs = now.buckets.iter().zip(&then.buckets);
            let buckets = pairs.map(|(now, then)| now.checked_sub(*then)).collect::<Option<_>>()?;
            let sum_seconds = (now.sum_seconds - then.sum_seconds).max(0.0);
            Histogram { buckets, count: now.count.checked_sub(then.count)?, sum_seconds }
        }
        Some(_) => return None,
        None => now.clone(),
    };
    (new.count > 0).then(|| Delay {
        count: new.count,
        mean_seconds: new.sum_seconds / new.count as f64,
        p99_seconds: latency.quantile(&new, 0.99).filter(|bound| bound.is_finite()),
    })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::{Kind, Sockets, TcpEvents, fixture};

    fn busy(times: u64) -> Container {
        let mut row = fixture::web();
        row.cpu.periods = Some(10 * times);
        row.cpu.throttled_periods = Some(9 * times);
        row.cpu.throttled_seconds = Some(0.5 * times as f64);
        row.memory.oom_kills = Some(times - 1);
        row.network.tcp_events =
            Some(TcpEvents { since: None, retransmits: Some(3 * times), connections: None });
        row.block.total.read_bytes = Some(1_000 * times);
        let histogram = |buckets: [u64; 3], sum_seconds| Histogram {
            count: buckets.iter().sum(),
            buckets: buckets.into(),
            sum_seconds,
        };
        row.block.latency = Some(Latency {
            le_seconds: vec![0.001, 0.01],
            read: histogram([99 * times, 1, 0], 0.2 * times as f64),
            write: histogram([0, 0, times], 9.0 * times as f64),
        });
        row
    }

    fn reports(older: Vec<Container>, newer: Vec<Container>) -> (Report, Report) {
        let (older, mut newer) = (fixture::report(older), fixture::report(newer));
        newer.time = older.time + SignedDuration::from_secs(2);
        (older, newer)
    }

    #[test]
    fn what_grew_between_two_reports() {
        let (older, newer) = reports(vec![busy(1)], vec![busy(2)]);
        let all = changes(&older, &newer);
        let expected = Change {
            throttled_percent: Some(90.0),
            throttled_seconds: Some(0.5),
            oom_kills: Some(1),
            rx_bytes_per_second: Some(0.0),
            tx_bytes_per_second: Some(0.0),
            retransmits: Some(3),
            read_bytes_per_second: Some(500.0),
            write_bytes_per_second: Some(0.0),
            reads: Some(Delay { count: 99, mean_seconds: 0.2 / 99.0, p99_seconds: Some(0.001) }),
            writes: Some(Delay { count: 1, mean_seconds: 9.0, p99_seconds: None }),
        };
        assert_eq!(all.into_values().collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn counters_that_fell_are_unknown() {
        let (older, newer) = reports(vec![busy(2)], vec![busy(1)]);
        let change = changes(&older, &newer).into_values().next().unwrap();
        assert_eq!((change.retransmits, change.throttled_percent), (None, None));
        assert_eq!((change.reads, change.read_bytes_per_second), (None, None));
    }

    #[test]
    fn a_new_container_counts_from_its_creation_if_that_is_known() {
        let mut row = busy(1);
        let (older, mut newer) = reports(vec![], vec![row.clone()]);
        assert!(changes(&older, &newer).is_empty());
        row.startup.made_at = Some(newer.time);
        newer.containers = vec![row];
        assert_eq!(changes(&older, &newer).into_values().next().unwrap().retransmits, Some(3));
    }

    #[test]
    fn nothing_is_made_of_the_unknown() {
        let unknown = fixture::unknown(Kind::Container, "a");
        assert_eq!(Change::so_far(&unknown), Change::default());
        let (older, newer) = reports(vec![unknown.clone()], vec![unknown]);
        assert_eq!(changes(&older, &newer).into_values().next().unwrap(), Change::default());
        assert_eq!(Change::so_far(&busy(1)).rx_bytes_per_second, None);
    }

    #[test]
    fn on_the_hosts_network_only_its_own_sockets_count() {
        let mut row = busy(1);
        row.network.host_namespace = Some(true);
        assert_eq!(row.network.io().rx_bytes, None);
        row.network.sockets = Some(Sockets {
            level: crate::Level::L3,
            since: None,
            rx_bytes: 7,
            tx_bytes: 8,
            tcp: None,
            udp: None,
            rx_packets: None,
            tx_packets: None,
            loopback: None,
        });
        let io = row.network.io();
        assert_eq!((io.rx_bytes, io.tx_bytes, io.own_sockets), (Some(7), Some(8), true));
    }
}
