//! From the kernel's units to those of the contract.

use std::time::Duration;

/// Seconds.
pub fn seconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64()
}

/// Seconds.
pub fn microseconds(microseconds: u64) -> f64 {
    Duration::from_micros(microseconds).as_secs_f64()
}

/// The text of a setting; `None` if it is empty or the file was not there.
pub fn optional_text(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}
