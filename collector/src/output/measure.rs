//! Values of measures, and the list of all measures, for people.

use std::fmt::Write as _;

use tare_model::{MEASURES, Measure, Unit};

use crate::output::{
    text::align,
    units::{bytes_size, duration, human_size, percent},
};

/// A value of a measure in its unit.
pub fn shown(measure: &Measure, value: f64) -> String {
    // Conversions of floats saturate.
    match measure.unit {
        _ if value.is_infinite() => "off the scale".to_owned(),
        Unit::Percent => percent(value),
        Unit::Bytes => bytes_size(value as u64),
        Unit::BytesPerSecond => format!("{}/s", human_size(value as u64)),
        Unit::Seconds if value == 0.0 => "0s".to_owned(),
        Unit::Seconds => duration(value),
        Unit::Count => format!("{value:.0}"),
    }
}

/// All measures and their meaning.
pub fn list() -> String {
    let mut lines = "MEASURE\tMEANING\n".to_owned();
    for measure in MEASURES {
        // Writing to a string does not fail.
        let _ = writeln!(lines, "{}\t{}", measure.name, measure.meaning);
    }
    align(&lines)
}
