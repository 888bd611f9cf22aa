//! What receivers give back.

use anyhow::{Context as _, Result};
use serde_json::Value;
use tare_tests::docker::Container;

use crate::servers::{Servers, ask, encoded, json};

/// A number of a container.
pub(crate) struct Metric {
    /// Where a snapshot has it.
    pub(crate) pointer: &'static str,
    /// The name in `/metrics`.
    pub(crate) name: &'static str,
    family: &'static str,
    /// The name in OpenTelemetry.
    otel: &'static str,
    /// An attribute that tells two numbers of one name apart.
    attribute: Option<(&'static str, &'static str)>,
}

/// Times in the receiver's unit, and values.
type Values = Vec<(i64, f64)>;

/// A way into a receiver, and how to read from there.
pub(crate) struct Source {
    pub(crate) name: &'static str,
    /// The receiver's unit of time, in nanoseconds.
    pub(crate) unit: i64,
    /// Times in that unit, and values, of a metric of a container.
    pub(crate) read: fn(&Servers, &Metric, &Container) -> Result<Values>,
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

pub(crate) const INFLUXDB: &str = "InfluxDB 1, line protocol";

pub(crate) const SOURCES: [Source; 6] = [
    Source { name: INFLUXDB, unit: 1, read: influxdb },
    Source {
        name: "Prometheus, remote write",
        unit: MILLISECOND,
        read: |servers, metric, container| {
            let label = format!("name=\"{}\"", container.name());
            prometheus(servers, metric.name, &label)
        },
    },
    Source {
        name: "VictoriaMetrics, remote write",
        unit: MILLISECOND,
        read: |servers, metric, container| {
            let labels = [("way", "remote_write"), ("name", container.name())];
            victoria(servers, metric.name, &labels)
        },
    },
    Source {
        name: "VictoriaMetrics, OTLP",
        unit: MILLISECOND,
        read: |servers, metric, container| {
            let mut labels = vec![("way", "otlp"), ("container.name", container.name())];
            labels.extend(metric.attribute);
            victoria(servers, metric.otel, &labels)
        },
    },
    Source {
        name: "VictoriaMetrics, line protocol of InfluxDB 2",
        unit: MILLISECOND,
        read: |servers, metric, container| {
            let labels = [("way", "influx"), ("name", container.name())];
            victoria(servers, &format!("tare_{}_{}", metric.family, metric.name), &labels)
        },
    },
    Source {
        name: "VictoriaMetrics, Graphite",
        unit: 1_000 * MILLISECOND,
        read: |servers, metric, container| {
            let labels = [("way", "graphite"), ("container", container.name())];
            let found = victoria(servers, metric.name, &labels)?;
            Ok(found.into_iter().map(|(millis, value)| (millis / 1000, value)).collect())
        },
    },
];

fn influxdb(servers: &Servers, metric: &Metric, container: &Container) -> Result<Values> {
    let Metric { name: field, family, .. } = metric;
    let name = container.name();
    let query = format!("SELECT \"{field}\" FROM \"tare_{family}\" WHERE \"name\" = '{name}'");
    let request = format!("GET /query?db=tare&epoch=ns&q={}", encoded(&query));
    let answer = json(&servers.influxdb.address, &request)?;
    let values = answer.pointer("/results/0/series/0/values").and_then(Value::as_array);
    let row = |row: &Value| Some((row[0].as_i64()?, row[1].as_f64()?));
    Ok(values.into_iter().flatten().filter_map(row).collect())
}

fn prometheus(servers: &Servers, name: &str, labels: &str) -> Result<Values> {
    let query = encoded(&format!("{name}{{{labels}}}[1h]"));
    let answer = json(&servers.prometheus, &format!("GET /api/v1/query?query={query}"))?;
    let values = answer.pointer("/data/result/0/values").and_then(Value::as_array);
    let row = |row: &Value| {
        let millis = (row[0].as_f64()? * 1e3).round() as i64;
        Some((millis, row[1].as_str()?.parse().ok()?))
    };
    Ok(values.into_iter().flatten().filter_map(row).collect())
}

/// A line of JSON for each series.
fn victoria(servers: &Servers, name: &str, labels: &[(&str, &str)]) -> Result<Values> {
    ask(&servers.victoria, "GET /internal/force_flush")?;
    let selector = encoded(&format!("{{__name__=\"{name}\"}}"));
    let text = ask(&servers.victoria, &format!("GET /api/v1/export?match[]={selector}"))?;
    let mut found = Vec::new();
    for line in text.lines() {
        let series: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        if labels.iter().all(|(label, value)| series["metric"][*label] == *value) {
            let all = |key: &str| series[key].as_array().cloned().unwrap_or_default();
            for (time, value) in all("timestamps").iter().zip(all("values")) {
                found.push((time.as_i64().context("a time")?, value.as_f64().unwrap_or(f64::NAN)));
            }
        }
    }
    Ok(found)
}
