//! The head of a metric in the text formats.

use crate::exposition::{Metric, MetricKind};

/// `# HELP` and `# TYPE` of Prometheus' text format.
pub(super) fn head(metric: &Metric) -> Vec<u8> {
    let kind = match metric.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
        MetricKind::Untyped => "untyped",
    };
    lines(metric.name, kind, metric.help)
}

/// `# HELP` and `# TYPE` of `OpenMetrics`. There a counter is declared without `_total`.
pub(super) fn open_metrics_head(metric: &Metric) -> Vec<u8> {
    let (name, kind) = match metric.kind {
        MetricKind::Counter => {
            (metric.name.strip_suffix("_total").unwrap_or(metric.name), "counter")
        }
        MetricKind::Gauge => (metric.name, "gauge"),
        MetricKind::Histogram => (metric.name, "histogram"),
        MetricKind::Untyped => (metric.name, "unknown"),
    };
    lines(name, kind, metric.help)
}

fn lines(name: &str, kind: &str, help: &str) -> Vec<u8> {
    format!("# HELP {name} {help}\n# TYPE {name} {kind}\n").into_bytes()
}
