//! A longer look back than to the sample before: from the numbers that a history kept.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{Change, Container, Point, Snapshot};

/// What a history knows of the time between two of its samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    /// When it begins.
    pub from: Timestamp,
    /// When it ends.
    pub to: Timestamp,
    /// CPU time of all CPUs together in it, idle or not.
    pub system_nanoseconds: Option<u64>,
    /// Part of it that was used.
    pub busy_nanoseconds: Option<u64>,
    /// Containers that were alive at its end, by their cgroups' paths.
    pub rows: BTreeMap<String, Ends>,
}

/// A container at both ends of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ends {
    /// At its beginning; `None` if it was not known then.
    pub from: Option<Point>,
    /// At its end.
    pub to: Point,
}

impl Snapshot {
    /// Looks back over a window that ends with this snapshot, instead of to the sample before. How
    /// long block operations took is not in a history, and stays that of the last interval.
    pub fn look_back(&mut self, window: &Window) {
        let Self { report, changes, .. } = self;
        let seconds = window.to.duration_since(window.from).as_secs_f64();
        report.interval_seconds = Some(seconds);
        let percent = |used: Option<u64>| {
            let system = window.system_nanoseconds.filter(|system| *system > 0)?;
            let cpus = f64::from(report.host.online_cpus?);
            Some(used? as f64 / system as f64 * cpus * 100.0)
        };
        let host_percent = percent(window.busy_nanoseconds);
        let mut looked_back = BTreeMap::new();
        for row in &mut report.containers {
            let grown = window.rows.get(&row.cgroup).and_then(|ends| ends.grown(row, window.from));
            row.cpu.percent = percent(grown.and_then(|[cpu, ..]| cpu));
            if let Some(grown) = grown {
                let Change { reads, writes, .. } = changes.remove(&row.cgroup).unwrap_or_default();
                let change = Change { reads, writes, ..change(&grown, row, seconds) };
                looked_back.insert(row.cgroup.clone(), change);
            }
        }
        report.host.cpu_percent = host_percent;
        *changes = looked_back;
    }
}

impl Ends {
    /// By how much each number has grown; `None` where it fell. All of it is growth for one who
    /// came to life in between; one who only became known is left out.
    fn grown(&self, row: &Container, from: Timestamp) -> Option<Point> {
        let Self { from: before, to } = self;
        match before {
            Some(before) => Some(std::array::from_fn(|at| to[at]?.checked_sub(before[at]?))),
            None => row.startup.made_at.is_some_and(|made| made >= from).then_some(*to),
        }
    }
}

fn change(grown: &Point, row: &Container, seconds: f64) -> Change {
    let [
        _,
        _,
        device_rx,
        device_tx,
        socket_rx,
        socket_tx,
        read,
        written,
        _,
        periods,
        throttled_periods,
        throttled_nanoseconds,
        oom_kills,
        retransmits,
        ..,
    ] = *grown;
    let (rx, tx) = match row.network.io().own_sockets {
        true => (socket_rx, socket_tx),
        false => (device_rx, device_tx),
    };
    let rate =
        |count: Option<u64>| count.filter(|_| seconds > 0.0).map(|count| count as f64 / seconds);
    Change {
        throttled_percent: throttled_periods
            .zip(periods.filter(|periods| *periods > 0))
            .map(|(throttled, periods)| 100.0 * throttled as f64 / periods as f64),
        throttled_seconds: throttled_nanoseconds.map(|nanoseconds| nanoseconds as f64 / 1e9),
        oom_kills,
        retransmits,
        rx_bytes_per_second: rate(rx),
        tx_bytes_per_second: rate(tx),
        read_bytes_per_second: rate(read),
        write_bytes_per_second: rate(written),
        reads: None,
        writes: None,
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::{Delay, POINT_FIELDS, fixture};

    fn snapshot() -> Snapshot {
        let mut report = fixture::report(vec![fixture::web()]);
        report.host.online_cpus = Some(2);
        Snapshot::new(None, report)
    }

    fn window(snapshot: &Snapshot, from: Option<Point>, to: Point) -> Window {
        let report = &snapshot.report;
        Window {
            from: report.time - SignedDuration::from_secs(10),
            to: report.time,
            system_nanoseconds: Some(20_000_000_000),
            busy_nanoseconds: Some(5_000_000_000),
            rows: [(report.containers[0].cgroup.clone(), Ends { from, to })].into(),
        }
    }

    #[test]
    fn rates_are_those_of_the_whole_window() {
        let mut snapshot = snapshot();
        let cgroup = snapshot.report.containers[0].cgroup.clone();
        let reads = Some(Delay { count: 1, mean_seconds: 1.0, p99_seconds: None });
        snapshot.changes.insert(cgroup.clone(), Change { reads, ..Change::default() });
        let mut to = [Some(100); POINT_FIELDS.len()];
        // CPU time of half a CPU, and a counter that fell.
        (to[0], to[6]) = (Some(5_000_000_000), Some(1));
        let mut from = [Some(0); POINT_FIELDS.len()];
        from[6] = Some(2);
        snapshot.look_back(&window(&snapshot, Some(from), to));
        let Snapshot { report, changes, .. } = snapshot;
        assert_eq!((report.interval_seconds, report.host.cpu_percent), (Some(10.0), Some(50.0)));
        assert_eq!(report.containers[0].cpu.percent, Some(50.0));
        let change = &changes[&cgroup];
        assert_eq!((change.rx_bytes_per_second, change.oom_kills), (Some(10.0), Some(100)));
        assert_eq!((change.throttled_percent, change.throttled_seconds), (Some(100.0), Some(1e-7)));
        assert_eq!((change.read_bytes_per_second, change.reads), (None, reads));
    }

    #[test]
    fn a_new_container_counts_from_its_creation_if_that_is_known() {
        let mut unknown = snapshot();
        let window = window(&unknown, None, [Some(100); POINT_FIELDS.len()]);
        unknown.look_back(&window);
        assert_eq!((unknown.report.containers[0].cpu.percent, unknown.changes.len()), (None, 0));
        let mut known = snapshot();
        known.report.containers[0].startup.made_at = Some(window.from);
        known.look_back(&window);
        let change = known.changes.into_values().next().unwrap();
        assert_eq!(change.retransmits, Some(100));
    }
}
