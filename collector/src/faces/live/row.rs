//! The short row of a container: what a list of containers shows. Pure.

use serde::{Serialize, Serializer, ser::SerializeMap};
use tare_model::{Container, Ended, Kind, NetworkIo, Pressure};

/// The value of a field.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Cell {
    #[default]
    Unknown,
    Number(f64),
    Text(Box<str>),
}

/// Defines the fields of a row: their names, and what they are made of.
macro_rules! fields {
    ($($name:ident: $value:expr),* $(,)?) => {
        /// The names of the fields.
        const FIELDS: &[&str] = &[$(stringify!($name)),*];

        fn cells(row: &Container, rates: &Rates) -> Vec<Cell> {
            vec![$({
                let value: fn(&Container, &Rates) -> Cell = $value;
                value(row, rates)
            }),*]
        }
    };
}

fields! {
    id: |row, _| row.id.as_str().into(),
    name: |row, _| row.name.as_deref().into(),
    kind: |row, _| match row.kind {
        Kind::Container => "container",
        Kind::Service => "service",
        Kind::Other => "other",
    }.into(),
    image: |row, _| row.image.as_deref().into(),
    runtime: |row, _| row.runtime.as_deref().into(),
    cgroup: |row, _| row.cgroup.as_str().into(),
    namespace: |row, _| row.pod_namespace().into(),
    pod: |row, _| row.pod_name().into(),
    pod_container: |row, _| row.pod.as_ref().and_then(|pod| pod.container.as_deref()).into(),
    compose_project: |row, _| row.compose.as_ref().map(|compose| compose.project.as_str()).into(),
    compose_service: |row, _| {
        row.compose.as_ref().and_then(|compose| compose.service.as_deref()).into()
    },
    state: |row, _| (*row.state).into(),
    health: |row, _| row.health.as_deref().into(),
    started_at: |row, _| row.started_at.or(row.startup.made_at).into(),
    restart_count: |row, _| row.restart_count.into(),
    cpu_percent: |_, rates| percent(rates.cpu_percent),
    cpu_limit_cores: |row, _| percent(row.cpu.limit_cores),
    throttled_percent: |_, rates| percent(rates.throttled_percent),
    memory_bytes: |row, _| row.memory.working_set_bytes.into(),
    memory_limit_bytes: |row, _| row.memory.limit_bytes.into(),
    memory_percent: |row, _| percent(row.memory.percent),
    oom_kills: |row, _| row.memory.oom_kills.into(),
    last_oom_kill_at: |row, _| row.memory.last_oom_kill.as_ref().map(|kill| kill.at).into(),
    last_oom_kill_command: |row, _| {
        row.memory.last_oom_kill.as_ref().map(|kill| kill.command.as_str()).into()
    },
    network_view: |row, _| match row.network.io() {
        NetworkIo { own_sockets: true, .. } => "sockets".into(),
        NetworkIo { rx_bytes: Some(_), .. } => "interfaces".into(),
        NetworkIo { .. } => Cell::Unknown,
    },
    rx_bytes_per_second: |_, rates| whole(rates.rx),
    tx_bytes_per_second: |_, rates| whole(rates.tx),
    read_bytes_per_second: |_, rates| whole(rates.read),
    write_bytes_per_second: |_, rates| whole(rates.write),
    cpu_pressure_percent: |row, _| pressure(row.cpu.pressure),
    memory_pressure_percent: |row, _| pressure(row.memory.pressure),
    io_pressure_percent: |row, _| pressure(row.block.pressure),
    pids: |row, _| row.pids.current.into(),
    pids_limit: |row, _| row.pids.limit.into(),
}

/// The further fields of a container that ended.
const ENDED_FIELDS: [&str; 9] = [
    "ended_at",
    "exit_code",
    "oom_killed",
    "cpu_usage_seconds",
    "memory_peak_bytes",
    "rx_bytes",
    "tx_bytes",
    "read_bytes",
    "write_bytes",
];

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row(Vec<Cell>);

/// What has changed in a row; without an older one, everything that is known.
pub(super) struct RowChange<'a> {
    older: Option<&'a Row>,
    newer: &'a Row,
}

/// Counters of a container, for the rates of the next message.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Totals {
    cpu_seconds: Option<f64>,
    network: NetworkIo,
    read: Option<u64>,
    write: Option<u64>,
    periods: Option<u64>,
    throttled_periods: Option<u64>,
}

/// What a container did since the last message. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    cpu_percent: Option<f64>,
    throttled_percent: Option<f64>,
    rx: Option<f64>,
    tx: Option<f64>,
    read: Option<f64>,
    write: Option<f64>,
}

impl Row {
    /// The row of a container that is alive.
    pub(super) fn new(row: &Container, rates: &Rates) -> Self {
        Self(cells(row, rates))
    }

    /// The row of a container that ended, with its totals.
    pub(super) fn ended(ended: &Ended) -> Self {
        let Ended { container: row, ended_at, .. } = ended;
        let NetworkIo { rx_bytes, tx_bytes, .. } = row.network.io();
        let mut cells = cells(row, &Rates::default());
        let further: [Cell; ENDED_FIELDS.len()] = [
            Some(*ended_at).into(),
            row.exit_code.map_or(Cell::Unknown, |code| Cell::Number(code as f64)),
            row.oom_killed.map(u64::from).into(),
            percent(row.cpu.usage_seconds),
            row.memory.peak_bytes.into(),
            rx_bytes.into(),
            tx_bytes.into(),
            row.block.total.read_bytes.into(),
            row.block.total.write_bytes.into(),
        ];
        cells.extend(further);
        Self(cells)
    }

    /// What is different from an older row.
    pub(super) fn since<'a>(&'a self, older: Option<&'a Self>) -> RowChange<'a> {
        RowChange { older, newer: self }
    }
}

impl Serialize for RowChange<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let names = FIELDS.iter().chain(&ENDED_FIELDS);
        for (index, (name, cell)) in names.zip(&self.newer.0).enumerate() {
            let before = self.older.and_then(|older| older.0.get(index)).unwrap_or(&Cell::Unknown);
            if before != cell {
                map.serialize_entry(name, cell)?;
            }
        }
        map.end()
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// Up to here whole numbers are exact.
        const EXACT_MAX: f64 = (1_u64 << 53) as f64;
        match self {
            Self::Unknown => serializer.serialize_none(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) if number.fract() == 0.0 && number.abs() < EXACT_MAX => {
                serializer.serialize_i64(*number as i64)
            }
            Self::Number(number) => serializer.serialize_f64(*number),
        }
    }
}

impl Totals {
    /// The counters of a container.
    pub(super) fn of(row: &Container) -> Self {
        Self {
            cpu_seconds: row.cpu.usage_seconds,
            network: row.network.io(),
            read: row.block.total.read_bytes,
            write: row.block.total.write_bytes,
            periods: row.cpu.periods,
            throttled_periods: row.cpu.throttled_periods,
        }
    }

    /// What happened since an earlier reading, so many seconds ago.
    pub(super) fn since(&self, before: &Self, seconds: f64) -> Rates {
        let rate = |before: Option<u64>, now: Option<u64>| Some(grown(before, now)? / seconds);
        let is_same_view = self.network.own_sockets == before.network.own_sockets;
        let network = |before, now| rate(before, now).filter(|_| is_same_view);
        let cpu = self.cpu_seconds.zip(before.cpu_seconds).map(|(now, before)| now - before);
        let periods = grown(before.periods, self.periods).filter(|periods| *periods > 0.0);
        let throttled = grown(before.throttled_periods, self.throttled_periods);
        Rates {
            cpu_percent: cpu.filter(|used| *used >= 0.0).map(|used| used / seconds * 100.0),
            throttled_percent: throttled.zip(periods).map(|(part, all)| part / all * 100.0),
            rx: network(before.network.rx_bytes, self.network.rx_bytes),
            tx: network(before.network.tx_bytes, self.network.tx_bytes),
            read: rate(before.read, self.read),
            write: rate(before.write, self.write),
        }
    }
}

impl Rates {
    /// The same with this share of CPU, which the report has more exactly.
    pub(super) fn with_cpu(self, cpu_percent: Option<f64>) -> Self {
        Self { cpu_percent, ..self }
    }
}

/// Growth; `None` if the counter fell, because then it is another counter.
fn grown(before: Option<u64>, now: Option<u64>) -> Option<f64> {
    Some(now?.checked_sub(before?)? as f64)
}

/// In hundredths: more digits would only make messages longer.
fn percent(value: Option<f64>) -> Cell {
    value.map_or(Cell::Unknown, |value| Cell::Number((value * 100.0).round() / 100.0))
}

fn whole(value: Option<f64>) -> Cell {
    value.map_or(Cell::Unknown, |value| Cell::Number(value.round()))
}

fn pressure(pressure: Option<Pressure>) -> Cell {
    percent(pressure.and_then(|pressure| pressure.some_avg10_percent))
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<Option<&str>> for Cell {
    fn from(text: Option<&str>) -> Self {
        text.map_or(Self::Unknown, Self::from)
    }
}

impl From<Option<u64>> for Cell {
    fn from(number: Option<u64>) -> Self {
        number.map_or(Self::Unknown, |number| Self::Number(number as f64))
    }
}

impl From<Option<jiff::Timestamp>> for Cell {
    fn from(time: Option<jiff::Timestamp>) -> Self {
        time.map_or(Self::Unknown, |time| Self::Text(time.to_string().into()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::output::fixture;

    fn written(older: Option<&Row>, newer: &Row) -> Value {
        serde_json::to_value(newer.since(older)).unwrap()
    }

    #[test]
    fn a_first_row_has_all_that_is_known_and_a_further_one_what_changed() {
        let mut web = fixture::web();
        let first = Row::new(&web, &Rates::default().with_cpu(web.cpu.percent));
        let whole = written(None, &first);
        assert_eq!(whole["name"], "web");
        assert_eq!(whole["cpu_percent"], 12.35);
        assert_eq!(whole["memory_bytes"].to_string(), "1265664");
        assert_eq!(whole["network_view"], "interfaces");
        assert!(whole.get("rx_bytes_per_second").is_none(), "unknown is absent: {whole}");
        assert_eq!(written(Some(&first), &first), json!({}));
        web.pids.current = Some(4);
        web.memory.limit_bytes = None;
        let second = Row::new(&web, &Rates::default().with_cpu(web.cpu.percent));
        let change = written(Some(&first), &second);
        assert_eq!(change, json!({"pids": 4, "memory_limit_bytes": null}));
    }

    #[test]
    fn nothing_is_known_of_an_unknown_container_but_its_id() {
        let row = Row::new(&fixture::unknown(Kind::Container, "7"), &Rates::default());
        let expected = json!({"id": "7", "kind": "container", "cgroup": "/7", "state": "running"});
        assert_eq!(written(None, &row), expected);
    }

    #[test]
    fn rates_are_growth_per_second_and_unknown_after_a_fall() {
        let before = Totals::of(&fixture::web());
        let mut web = fixture::web();
        web.block.total.write_bytes = Some(8_096);
        web.block.total.read_bytes = None;
        (web.cpu.periods, web.cpu.throttled_periods) = (Some(10), Some(5));
        let rates = Totals::of(&web).since(&before, 2.0);
        assert_eq!((rates.write, rates.read, rates.rx), (Some(2_000.0), None, Some(0.0)));
        assert_eq!(rates.throttled_percent, None, "it was not known before");
        let earlier = Totals { periods: Some(6), throttled_periods: Some(4), ..before };
        assert_eq!(Totals::of(&web).since(&earlier, 2.0).throttled_percent, Some(25.0));
        assert_eq!(before.since(&Totals::of(&web), 2.0).write, None);
        let sockets =
            Totals { network: NetworkIo { own_sockets: true, ..before.network }, ..before };
        assert_eq!(before.since(&sockets, 2.0).rx, None, "devices and sockets do not compare");
    }

    #[test]
    fn a_row_of_an_ended_container_has_its_totals() {
        let mut web = fixture::web();
        web.exit_code = Some(-1);
        let ended = Ended {
            container: web,
            ended_at: jiff::Timestamp::UNIX_EPOCH,
            finality: std::collections::BTreeMap::new(),
        };
        let row = written(None, &Row::ended(&ended));
        assert_eq!(row["ended_at"], "1970-01-01T00:00:00Z");
        assert_eq!((&row["exit_code"], &row["rx_bytes"]), (&json!(-1), &json!(10_500_000)));
        assert!(row.get("oom_killed").is_none() && row.get("cpu_percent").is_none(), "{row}");
    }
}
