//! Samples as numbers, for encoders that are not of Prometheus' scrapes.

use std::ops::Range;

use tare_model::Histogram;

use crate::exposition::Number;

/// The samples of one container, or of the host, without the labels that all of them share.
///
/// Texts lie one after the other in one buffer, so that filling it again allocates nothing.
#[derive(Default)]
pub(crate) struct PointBuffer {
    points: Vec<StoredPoint>,
    labels: Vec<(Range<u32>, Range<u32>)>,
    text: String,
    histograms: Vec<(Vec<f64>, Histogram)>,
}

/// A sample.
#[derive(Clone)]
pub(crate) struct StoredPoint {
    /// What [`Samples::points`](crate::exposition::Samples::points) was given.
    pub(crate) metric: u16,
    labels: Range<u32>,
    value: StoredValue,
}

#[derive(Clone, Copy)]
enum StoredValue {
    Number(Number),
    Histogram(u32),
}

/// The value of a sample.
#[derive(Clone, Copy)]
pub(crate) enum PointValue<'a> {
    Number(Number),
    /// Upper bounds of all buckets but the last, and the counts.
    Histogram(&'a [f64], &'a Histogram),
}

impl PointBuffer {
    /// Forgets all samples.
    pub(crate) fn clear(&mut self) {
        self.points.clear();
        self.labels.clear();
        self.text.clear();
        self.histograms.clear();
    }

    /// The samples, in the order in which they were added.
    pub(crate) fn points(&self) -> &[StoredPoint] {
        &self.points
    }

    /// The labels of a sample beside those that all share.
    pub(crate) fn labels(&self, point: &StoredPoint) -> impl Iterator<Item = (&str, &str)> {
        let range = point.labels.start as usize..point.labels.end as usize;
        let labels = self.labels.get(range).unwrap_or_default().iter();
        labels.map(|(name, value)| (self.text(name), self.text(value)))
    }

    /// The value of a sample.
    pub(crate) fn value(&self, point: &StoredPoint) -> Option<PointValue<'_>> {
        match point.value {
            StoredValue::Number(number) => Some(PointValue::Number(number)),
            StoredValue::Histogram(index) => {
                let (bounds, histogram) = self.histograms.get(index as usize)?;
                Some(PointValue::Histogram(bounds, histogram))
            }
        }
    }

    pub(super) fn add_number(&mut self, metric: u16, labels: &[(&str, &str)], number: Number) {
        self.add(metric, labels, StoredValue::Number(number));
    }

    pub(super) fn add_histogram(
        &mut self,
        metric: u16,
        labels: &[(&str, &str)],
        bounds: &[f64],
        histogram: &Histogram,
    ) {
        self.add(metric, labels, StoredValue::Histogram(self.histograms.len() as u32));
        self.histograms.push((bounds.to_owned(), histogram.clone()));
    }

    fn add(&mut self, metric: u16, labels: &[(&str, &str)], value: StoredValue) {
        let start = self.labels.len() as u32;
        for (name, value) in labels {
            let label = (self.store(name), self.store(value));
            self.labels.push(label);
        }
        let labels = start..self.labels.len() as u32;
        self.points.push(StoredPoint { metric, labels, value });
    }

    fn store(&mut self, text: &str) -> Range<u32> {
        let start = self.text.len() as u32;
        self.text.push_str(text);
        start..self.text.len() as u32
    }

    fn text(&self, range: &Range<u32>) -> &str {
        self.text.get(range.start as usize..range.end as usize).unwrap_or_default()
    }
}
