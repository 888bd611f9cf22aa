//! A summary of repeated measurements, as the page shows it.

use std::fmt;

/// Median, minimum and maximum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    min: f64,
    max: f64,
}

impl Summary {
    /// `None` without values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => f64::midpoint(values[middle - 1], values[middle]),
        };
        Some(Self { median, min, max })
    }
}

/// As `12 (11–14)`.
impl fmt::Display for Summary {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, min, max } = self;
        if min == max {
            return write!(to, "{}", short(*median));
        }
        write!(to, "{} ({}–{})", short(*median), short(*min), short(*max))
    }
}

/// Three significant digits, and thousands separated.
pub(crate) fn short(value: f64) -> String {
    let digits = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let (whole, part) = text.split_at(text.find('.').unwrap_or(text.len()));
    let (sign, whole) = whole.split_at(usize::from(whole.starts_with('-')));
    let mut grouped = String::new();
    for (n, digit) in whole.chars().enumerate() {
        if n > 0 && (whole.len() - n) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{part}")
}

/// A summary, or a dash where nothing was measured.
pub(crate) fn or_dash(summary: Option<Summary>) -> String {
    summary.map_or_else(|| "–".to_owned(), |summary| summary.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_shows_median_minimum_and_maximum() {
        assert_eq!(Summary::of([]), None);
        assert_eq!(Summary::of([3.0, 1.0, 2.0]).unwrap().to_string(), "2.00 (1.00–3.00)");
        assert_eq!(Summary::of([4.0, 2.0]).unwrap().median, 3.0);
        assert_eq!(Summary::of([5.0]).unwrap().to_string(), "5.00");
    }

    #[test]
    fn numbers_have_three_significant_digits() {
        let shown = [0.123, 12.34, 123.4, 1234.5, 1_234_567.0, -1234.0].map(short);
        assert_eq!(shown, ["0.12", "12.3", "123", "1,234", "1,234,567", "-1,234"]);
    }
}
