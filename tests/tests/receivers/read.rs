//! What receivers give back.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tare_tests::{
    stores::{Stored, Values},
    tcp::{ask, encoded},
};

use crate::servers::Servers;

/// A number of a container.
pub(crate) struct Metric {
    /// Where a snapshot has it.
    pub(crate) pointer: &'static str,
    /// The name in `/metrics`.
    pub(crate) name: &'static str,
    /// The name of its family.
    pub(crate) family: &'static str,
    /// The name in OpenTelemetry.
    pub(crate) otel: &'static str,
    /// An attribute that tells two numbers of one name apart.
    attribute: Option<(&'static str, &'static str)>,
}

/// A way into a receiver, and how to read from there.
pub(crate) struct Source {
    pub(crate) name: &'static str,
    /// The receiver's unit of time, in nanoseconds.
    pub(crate) unit: i64,
    /// What it has of a metric.
    pub(crate) read: fn(&Servers, &Metric) -> Result<Stored>,
}

pub(crate) const METRICS: [Metric; 4] = [
    Metric {
        pointer: "/cpu/usage_seconds",
        name: "container_cpu_usage_seconds_total",
        family: "cpu",
        otel: "tare.container_cpu_usage_seconds",
        attribute: None,
    },
    Metric {
        pointer: "/cpu/user_seconds",
        name: "container_cpu_user_seconds_total",
        family: "cpu",
        otel: "container.cpu.time",
        attribute: Some(("cpu.mode", "user")),
    },
    Metric {
        pointer: "/memory/usage_bytes",
        name: "container_memory_usage_bytes",
        family: "memory",
        otel: "container.memory.usage",
        attribute: None,
    },
    Metric {
        pointer: "/pids/current",
        name: "container_threads",
        family: "pids",
        otel: "tare.container_threads",
        attribute: None,
    },
];

const MILLISECOND: i64 = 1_000_000;

pub(crate) const INFLUXDB: Source = Source {
    name: "InfluxDB 1, line protocol",
    unit: 1,
    read: |servers, metric| servers.influxdb.stored(metric.name, metric.family),
};

pub(crate) const SOURCES: [Source; 7] = [
    INFLUXDB,
    Source {
        name: "Prometheus, remote write",
        unit: MILLISECOND,
        read: |servers, metric| servers.prometheus.stored(metric.name),
    },
    Source {
        name: "VictoriaMetrics, remote write",
        unit: MILLISECOND,
        read: |servers, metric| victoria(servers, metric.name, "name", &[("way", "remote_write")]),
    },
    Source {
        name: "VictoriaMetrics, OTLP",
        unit: MILLISECOND,
        read: |servers, metric| {
            let mut labels = vec![("way", "otlp")];
            labels.extend(metric.attribute);
            victoria(servers, metric.otel, "container.name", &labels)
        },
    },
    Source { name: "grpcio, OTLP", unit: 1, read: grpc },
    Source {
        name: "VictoriaMetrics, line protocol of InfluxDB 2",
        unit: MILLISECOND,
        read: |servers, metric| {
            let name = format!("tare_{}_{}", metric.family, metric.name);
            victoria(servers, &name, "name", &[("way", "influx")])
        },
    },
    Source {
        name: "VictoriaMetrics, Graphite",
        unit: 1_000 * MILLISECOND,
        read: |servers, metric| {
            let mut stored = victoria(servers, metric.name, "container", &[("way", "graphite")])?;
            for (time, _) in stored.values_mut().flatten() {
                *time = time.div_euclid(1_000);
            }
            Ok(stored)
        },
    },
];

/// A line of JSON for each series. `key` is the label with the container's name.
fn victoria(servers: &Servers, name: &str, key: &str, labels: &[(&str, &str)]) -> Result<Stored> {
    ask(&servers.victoria, "GET /internal/force_flush")?;
    let selector = encoded(&format!("{{__name__=\"{name}\"}}"));
    let text = ask(&servers.victoria, &format!("GET /api/v1/export?match[]={selector}"))?;
    let mut stored = Stored::new();
    for line in text.lines() {
        let series: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let is_it = labels.iter().all(|(label, value)| series["metric"][*label] == *value);
        let Some(container) = series["metric"][key].as_str().filter(|_| is_it) else { continue };
        let all = |key: &str| series[key].as_array().cloned().unwrap_or_default();
        let values: Values = all("timestamps")
            .iter()
            .zip(all("values"))
            .filter_map(|(time, value)| Some((time.as_i64()?, value.as_f64()?)))
            .collect();
        stored.entry(container.to_owned()).or_default().extend(values);
    }
    Ok(stored)
}

/// A line of JSON for each point. A sum has a start, which is before the
/// time of the point.
fn grpc(servers: &Servers, metric: &Metric) -> Result<Stored> {
    let mut stored = Stored::new();
    for line in fs::read_to_string(&servers.grpc_points)?.lines() {
        let point: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let has = |(key, value): (&str, &str)| point["attributes"][key] == value;
        if point["metric"] != metric.otel || !metric.attribute.is_none_or(has) {
            continue;
        }
        let number = |key: &str| point[key].as_i64().with_context(|| format!("{key} of {line}"));
        let (start, time) = (number("start")?, number("time")?);
        let is_sum = point["kind"] == "sum";
        ensure!(if is_sum { 0 < start && start < time } else { start == 0 }, "{line}");
        let container = point["container"].as_str().context("no container")?;
        let value = point["value"].as_f64().context("no value")?;
        stored.entry(container.to_owned()).or_default().push((time, value));
    }
    Ok(stored)
}
