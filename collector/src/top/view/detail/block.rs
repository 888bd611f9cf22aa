//! Block I/O: by device, and how long operations took.

use ratatui::text::{Line, Span};
use tare_model::{Count, Device, Histogram, Latency};

use super::{
    resources::per_second,
    section::{Section, Subject, entry, styled, wrapped},
};
use crate::{
    output::{
        columns::cells::{UNKNOWN, known, pair},
        text::printable,
        units::human_size,
    },
    top::{figures::rate, view::graph::bar},
};

/// Characters of a bar of the histogram.
const BAR_WIDTH: usize = 16;

/// The percentiles that are shown.
const PERCENTILES: [u64; 3] = [50, 90, 99];

pub(super) fn section(subject: &Subject<'_>) -> Section {
    let block = &subject.row.block;
    let before = subject.before.map(|(row, _)| &row.block);
    let mut lines = Vec::new();
    if block.source.is_none() {
        lines.push(entry("I/O", UNKNOWN));
    } else {
        let last = before.map(|before| &before.total);
        lines.extend(transfers(subject, "all devices", &block.total, last));
        lines.extend(in_flight_and_errors(subject, &block.total));
        for (number, device) in &block.devices {
            let last = before.and_then(|before| before.devices.get(number));
            let name = device_name(number, device);
            lines.extend(transfers(subject, &name, &device.count, last.map(|last| &last.count)));
        }
    }
    if let Some(reason) = &block.reason {
        lines.extend(wrapped(reason, subject));
    }
    if let Some(latency) = &block.latency {
        lines.extend(latencies(subject, latency));
    }
    Section { title: "Block I/O", lines }
}

fn device_name(number: &str, device: &Device) -> String {
    let name = device.name.as_deref().unwrap_or(number);
    let stacked = if device.stacked { " (stacked)" } else { "" };
    format!("{}{stacked}", printable(name))
}

/// Two lines: bytes and operations.
fn transfers(
    subject: &Subject<'_>,
    name: &str,
    now: &Count,
    before: Option<&Count>,
) -> Vec<Line<'static>> {
    let seconds = subject.before.map_or(0.0, |(_, seconds)| seconds);
    let speed = |of: fn(&Count) -> Option<u64>| {
        let rate = rate(before.and_then(of), of(now), seconds);
        known(rate, |rate| format!("{}/s", human_size(rate as u64)))
    };
    let ops = |of: fn(&Count) -> Option<u64>| per_second(before.and_then(of), of(now), seconds);
    let number = |count: Option<u64>| known(count, |count| count.to_string());
    vec![
        entry(
            name,
            format!(
                "read {}, write {}; total {}",
                speed(|count| count.read_bytes),
                speed(|count| count.write_bytes),
                pair(now.read_bytes, now.write_bytes, human_size)
            ),
        ),
        entry(
            " operations",
            format!(
                "read {}, write {}; total {} / {}",
                ops(|count| count.read_ops),
                ops(|count| count.write_ops),
                number(now.read_ops),
                number(now.write_ops)
            ),
        ),
    ]
}

/// Requests in flight, and errors.
fn in_flight_and_errors(subject: &Subject<'_>, total: &Count) -> Vec<Line<'static>> {
    let number = |count: Option<u64>| known(count, |count| count.to_string());
    let text = format!("{}; {} errors", number(total.in_flight), number(total.errors));
    vec![match total.errors {
        Some(1..) => styled(" in flight", text, subject.theme.alarm()),
        _ => entry(" in flight", text),
    }]
}

/// The percentiles and the histograms of reads and writes, side by side.
fn latencies(subject: &Subject<'_>, latency: &Latency) -> Vec<Line<'static>> {
    let (read, write) = (&latency.read, &latency.write);
    if read.count + write.count == 0 {
        return vec![entry("latency", "no requests yet")];
    }
    let mut lines = vec![percentiles("read", latency, read), percentiles("write", latency, write)];
    let used = |bucket: &usize| counts(read, *bucket) + counts(write, *bucket) > 0;
    let count = read.buckets.len().max(write.buckets.len());
    let first = (0..count).find(used).unwrap_or(0);
    let last = (0..count).rev().find(used).unwrap_or(0);
    let highest = [read, write].iter().flat_map(|side| &side.buckets).max().copied().unwrap_or(0);
    lines.push(Line::styled(
        format!("{:>10}  {:<27}{}", "up to", "reads", "writes"),
        subject.theme.faint(),
    ));
    for bucket in first..=last {
        let bound = bound(latency, bucket);
        let side = |count: u64| {
            let bar = bar(count as f64 / highest.max(1) as f64, BAR_WIDTH);
            (format!("{bar:<BAR_WIDTH$} "), format!("{count:<10}"))
        };
        let (read_bar, reads) = side(counts(read, bucket));
        let (write_bar, writes) = side(counts(write, bucket));
        lines.push(Line::from(vec![
            Span::raw(format!("{bound:>10}  ")),
            Span::styled(read_bar, subject.theme.graph()),
            Span::raw(reads),
            Span::styled(write_bar, subject.theme.graph()),
            Span::raw(writes),
        ]));
    }
    lines
}

fn percentiles(name: &str, latency: &Latency, side: &Histogram) -> Line<'static> {
    if side.count == 0 {
        return entry(name, "no requests yet");
    }
    let all = PERCENTILES.map(|percent| {
        let bound = percentile(side, percent).map(|bucket| bound(latency, bucket));
        format!("p{percent} {}", known(bound, |bound| format!("≤ {bound}")))
    });
    let mean = side.sum_seconds / side.count as f64;
    entry(name, format!("{}; mean {}", all.join(", "), time(mean)))
}

/// The bucket of a percentile.
fn percentile(side: &Histogram, percent: u64) -> Option<usize> {
    let rank = (u128::from(side.count) * u128::from(percent)).div_ceil(100);
    let mut below = 0u128;
    side.buckets.iter().position(|count| {
        below += u128::from(*count);
        below >= rank && rank > 0
    })
}

fn counts(side: &Histogram, bucket: usize) -> u64 {
    side.buckets.get(bucket).copied().unwrap_or(0)
}

/// The upper bound of a bucket; the last one has none.
fn bound(latency: &Latency, bucket: usize) -> String {
    match (latency.le_seconds.get(bucket), latency.le_seconds.last()) {
        (Some(bound), _) => time(*bound),
        (None, Some(last)) => format!("> {}", time(*last)),
        (None, None) => UNKNOWN.to_owned(),
    }
}

/// A duration with three digits.
fn time(seconds: f64) -> String {
    let (value, unit) = match seconds {
        ..0.000_001 => (seconds * 1e9, "ns"),
        ..0.001 => (seconds * 1e6, "µs"),
        ..1.0 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    let decimals = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(buckets: &[u64]) -> Histogram {
        Histogram { buckets: buckets.to_vec(), count: buckets.iter().sum(), sum_seconds: 1.0 }
    }

    #[test]
    fn percentiles_are_the_buckets_that_hold_them() {
        let side = histogram(&[50, 40, 9, 1]);
        assert_eq!([50, 51, 90, 99, 100].map(|p| percentile(&side, p)), [0, 1, 1, 2, 3].map(Some));
        assert_eq!(percentile(&histogram(&[0, 0]), 50), None);
        assert_eq!(percentile(&histogram(&[0, 1]), 50), Some(1));
    }

    #[test]
    fn the_last_bucket_has_no_bound() {
        let le_seconds = vec![0.000_001, 0.000_002];
        let latency = Latency { le_seconds, read: histogram(&[]), write: histogram(&[]) };
        assert_eq!(bound(&latency, 1), "2.00 µs");
        assert_eq!(bound(&latency, 2), "> 2.00 µs");
    }

    #[test]
    fn short_times_have_three_digits() {
        let table = [
            (0.000_000_5, "500 ns"),
            (0.000_012_34, "12.3 µs"),
            (0.131_072, "131 ms"),
            (0.009_999, "10.0 ms"),
            (2.5, "2.50 s"),
        ];
        for (seconds, text) in table {
            assert_eq!(time(seconds), text);
        }
    }
}
